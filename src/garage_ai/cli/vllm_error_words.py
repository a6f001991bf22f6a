"""What keeps vLLM from serving, in Swedish, by the words that it has in English."""

from typing import Final

VLLM: Final[dict[str, str]] = {
    "This vLLM runs on the CPU: there are no cards to share out.": (
        "Den här vLLM kör på processorn: det finns inga kort att dela mellan."
    ),
    "This vLLM is built for {device}, and no card that it can use was found. Check the driver with "
    "nvidia-smi.": (
        "Den här vLLM är byggd för {device}, och inget kort som den kan använda hittades. "
        "Kontrollera drivrutinen med nvidia-smi."
    ),
    "--kv-cache-gib is for the CPU; --memory-share bounds a card.": (
        "--kv-cache-gib är för processorn; --memory-share begränsar ett kort."
    ),
    "{name} does not fit: {form} needs {needed} GiB with {context} tokens of context, there are "
    "{room} on {count} x {card}. What would fit here: gai models --fits": (
        "{name} får inte plats: {form} behöver {needed} GiB med {context} token kontext, det finns "
        "{room} på {count} x {card}. Vad som får plats: gai models --fits"
    ),
    "{name} was made for {most} tokens; --context {wished} is too long.": (
        "{name} är gjord för {most} token; --context {wished} är för långt."
    ),
    "--tensor-parallel {wished}: this PC has {count} cards.": (
        "--tensor-parallel {wished}: den här datorn har {count} kort."
    ),
    (
        "--tensor-parallel {wished} cuts the model into parts that are no whole blocks of {block}, "
        "which {form} needs."
    ): (
        "--tensor-parallel {wished} delar modellen i delar som inte är hela block om {block}, "
        "vilket {form} kräver."
    ),
    "--tensor-parallel {wished} does not divide the model's {heads} heads.": (
        "--tensor-parallel {wished} går inte jämnt upp i modellens {heads} huvuden."
    ),
    "{form} needs a card of compute capability {needed}; {card} has {has}. Choose another "
    "quantisation.": (
        "{form} behöver ett kort med beräkningsförmåga {needed}; {card} har {has}. Välj en annan "
        "kvantisering."
    ),
    "vLLM runs a model of the kind {family} on cards of compute capability {needed} or newer, an "
    "RTX 30 or later; {card} has {has}. Serve it as a GGUF file: --engine llamacpp": (
        "vLLM kör en modell av sorten {family} på kort med beräkningsförmåga {needed} eller "
        "nyare, ett RTX 30 eller senare; {card} har {has}. Kör den som en GGUF-fil: "
        "--engine llamacpp"
    ),
    "{card} has {free} of {total} GiB free. Close what uses the card, or wait until it is free.": (
        "{card} har {free} av {total} GiB ledigt. Stäng det som använder kortet, eller vänta tills "
        "det är ledigt."
    ),
    "--engine-url belongs to --engine external.": "--engine-url hör till --engine external.",
    "vLLM serves one model: give --model once, a name or a folder.": (
        "vLLM kör en modell: ange --model en gång, ett namn eller en mapp."
    ),
    "In its sandbox vLLM comes from an image, not from an environment of yours: leave out "
    "--vllm-python and GAI_VLLM_PYTHON, or, for development, add --sandbox none.": (
        "I sandlådan kommer vLLM ur en avbild, inte ur en egen miljö: utelämna --vllm-python och "
        "GAI_VLLM_PYTHON, eller lägg, för utveckling, till --sandbox none."
    ),
    "The model {name} cannot be used: {error}": "Modellen {name} går inte att använda: {error}",
    "There is no model {name} for vLLM. Give a folder with config.json and weights as "
    ".safetensors files, as Hugging Face has them.": (
        "Det finns ingen modell {name} för vLLM. Ange en mapp med config.json och vikter som "
        ".safetensors-filer, så som Hugging Face har dem."
    ),
    "{name} has no weights as .safetensors files, which vLLM needs; serve it with "
    "--engine llamacpp.": (
        "{name} har inga vikter som .safetensors-filer, som vLLM behöver; kör den med "
        "--engine llamacpp."
    ),
    "The files of {name} lie in several folders: {folders}. Remove the incomplete one.": (
        "Filerna till {name} ligger i flera mappar: {folders}. Ta bort den ofullständiga."
    ),
    "There is no chat template {file}.": "Det finns ingen chattmall {file}.",
    "The image of your own that vLLM was to run from is gone ({image}). Name another, or none for "
    "the official one: gai node image --engine vllm": (
        "Den egna avbild som vLLM skulle köra från är borta ({image}). Ange en annan, eller ingen "
        "för den officiella: gai node image --engine vllm"
    ),
    "{program} has no image {image} here.": "{program} har ingen avbild {image} här.",
    "The image does not say what vLLM it has: {words}": (
        "Avbilden säger inte vilken vLLM den har: {words}"
    ),
    "This image's vLLM is built for the processor, and {card} would do nothing. Take the official "
    "one: gai node image --engine vllm": (
        "Avbildens vLLM är byggd för processorn, och {card} skulle inte göra något. Ta den "
        "officiella: gai node image --engine vllm"
    ),
    "{card} is too old for vLLM's image, which needs compute capability 7.5. Serve with "
    "--engine llamacpp.": (
        "{card} är för gammalt för vLLM:s avbild, som behöver beräkningsförmåga 7.5. Kör med "
        "--engine llamacpp."
    ),
}

__all__ = ["VLLM"]
