"""What keeps llama.cpp from a card, in Swedish, by the words that it has in English."""

from typing import Final

CARDS: Final[dict[str, str]] = {
    "The NVIDIA card cannot be used: {problem}.": "NVIDIA-kortet kan inte användas: {problem}.",
    "Driver {driver} speaks CUDA {cuda}; llama.cpp on a card needs {needed}, so driver 570 or "
    "newer.": (
        "Drivrutin {driver} talar CUDA {cuda}; llama.cpp på ett kort behöver {needed}, alltså "
        "drivrutin 570 eller nyare."
    ),
    "{card} ({uuid}) has compute capability {compute}; {needed} is the least.": (
        "{card} ({uuid}) har compute capability {compute}; {needed} är det minsta."
    ),
    "--gpu {word} is no card. It takes a UUID as `gai node doctor` shows it, auto or none.": (
        "--gpu {word} är inget kort. Ange ett UUID som `gai node doctor` visar, auto eller none."
    ),
    "--gpu auto and --gpu none stand alone.": "--gpu auto och --gpu none står ensamma.",
    "There is no card {uuid} here. There is: {here}.": (
        "Det finns inget kort {uuid} här. Det finns: {here}."
    ),
    "The CDI description does not name the card by its UUID. Fix: sudo nvidia-ctk cdi generate "
    "--device-name-strategy=index --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml": (
        "CDI-beskrivningen namnger inte kortet med dess UUID. Rätta till det: sudo nvidia-ctk cdi "
        "generate --device-name-strategy=index --device-name-strategy=uuid "
        "--output=/etc/cdi/nvidia.yaml"
    ),
    "{card} is here, and llama.cpp without a sandbox computes on the processor alone. Give it one: "
    "--sandbox auto": (
        "{card} finns här, och llama.cpp utan sandlåda räknar bara på processorn. Ge den en: "
        "--sandbox auto"
    ),
    "--gpu-layers is for a card, and llama.cpp is to use none here.": (
        "--gpu-layers är för ett kort, och llama.cpp ska inte använda något här."
    ),
    "llama.cpp is not installed: pip install 'garage-ai[local]'.": (
        "llama.cpp är inte installerat: pip install 'garage-ai[local]'."
    ),
    "llama.cpp's image for cards, {image}, is not here and cannot be pulled. Look at the "
    "connection and try again, or serve on the processor: --gpu none": (
        "llama.cpp:s avbild för kort, {image}, finns inte här och går inte att hämta. Se efter "
        "anslutningen och försök igen, eller kör på processorn: --gpu none"
    ),
    "In its sandbox llama.cpp finds {found} of {all} cards ({detail}). How to put that right: gai "
    "node doctor. If it finds nothing amiss, update the driver and nvidia-container-toolkit.": (
        "I sin sandlåda hittar llama.cpp {found} av {all} kort ({detail}). Hur det rättas till: "
        "gai node doctor. Hittar den inget fel, uppdatera drivrutinen och nvidia-container-toolkit."
    ),
    "Only a group of this PC may open {device}, and nobody in a container without root is in it. "
    "Fix: echo options nvidia NVreg_DeviceFileMode=0666 | sudo tee /etc/modprobe.d/zz-nvidia.conf, "
    "then restart the PC.": (
        "Bara en grupp på datorn får öppna {device}, och ingen i en container utan root är med i "
        "den. Rätta till det: echo options nvidia NVreg_DeviceFileMode=0666 | sudo tee "
        "/etc/modprobe.d/zz-nvidia.conf, starta sedan om datorn."
    ),
    "Podman {version} cannot read the CDI description of the card. How to put that right: gai node "
    "doctor": (
        "Podman {version} kan inte läsa CDI-beskrivningen av kortet. Hur det rättas till: gai node "
        "doctor"
    ),
    "Containers are not told of the card: there is no CDI description of it. Install "
    "nvidia-container-toolkit, then: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml": (
        "Containrar får inte veta om kortet: det saknas en CDI-beskrivning av det. Installera "
        "nvidia-container-toolkit, sedan: sudo nvidia-ctk cdi generate "
        "--output=/etc/cdi/nvidia.yaml"
    ),
    "llama.cpp on a card needs its sandbox.": "llama.cpp på ett kort behöver sin sandlåda.",
    "The card that llama.cpp is to compute on is gone.": (
        "Kortet som llama.cpp skulle räkna på är borta."
    ),
    "The model {name} cannot be used: {error}": "Modellen {name} kan inte användas: {error}",
    "There is no model {name}. Known: {known}; or give a .gguf file.": (
        "Det finns ingen modell {name}. Kända: {known}; eller ange en .gguf-fil."
    ),
    "{name} needs about {needed:.1f} GB of memory; {free:.1f} GB are free.": (
        "{name} behöver ungefär {needed:.1f} GB minne; {free:.1f} GB är lediga."
    ),
    "{name} needs {needed:.1f} GiB at the least; {cards} has room for {room:.1f} now. Close what "
    "uses the card, or take a smaller quantisation or model.": (
        "{name} behöver minst {needed:.1f} GiB; {cards} har plats för {room:.1f} nu. Stäng det som "
        "använder kortet, eller ta en mindre kvantisering eller modell."
    ),
    "{name} needs {needed:.1f} GiB at the least; {cards} has room for {room:.1f} now. Close what "
    "uses the card, or take a smaller quantisation or model. {layers} of {of} layers would fit: "
    "with --gpu-layers {layers} the rest is on the processor, and every answer takes several times "
    "longer.": (
        "{name} behöver minst {needed:.1f} GiB; {cards} har plats för {room:.1f} nu. Stäng det som "
        "använder kortet, eller ta en mindre kvantisering eller modell. {layers} av {of} lager "
        "skulle få plats: med --gpu-layers {layers} ligger resten på processorn, och varje svar "
        "tar flera gånger längre."
    ),
    "llama.cpp serves one model: give --model once.": (
        "llama.cpp kör en modell: ange --model en gång."
    ),
    "--gpu-layers is for --engine llamacpp.": "--gpu-layers är för --engine llamacpp.",
    "--gpu is for llamacpp, and names cards for vllm in its sandbox.": (
        "--gpu är för llamacpp, och namnger kort för vllm i sin sandlåda."
    ),
    "--engine-url belongs to --engine external.": "--engine-url hör till --engine external.",
}

__all__ = ["CARDS"]
