"""What keeps a PC, its options or its sandbox from serving, in Swedish, by its English words."""

from typing import Final

SETUP: Final[dict[str, str]] = {
    "Only a model that makes text can be measured.": (
        "Bara en modell som skriver text går att mäta."
    ),
    "{problem}": "{problem}",
    "The engine at {url} cannot be used: {problem}": (
        "Motorn på {url} går inte att använda: {problem}"
    ),
    "The engine answered none of the requests; see its log.": (
        "Motorn svarade inte på någon av frågorna; se dess logg."
    ),
    "The engine is not ready: {reason}": "Motorn är inte redo: {reason}",
    "the engine's key holds a character that no header can carry": (
        "motorns nyckel har ett tecken som inte kan stå i ett HTTP-huvud"
    ),
    "not an engine's address: {engine_url}; give http://HOST:PORT/v1": (
        "{engine_url} är ingen adress till en motor; ange http://VÄRD:PORT/v1"
    ),
    "not an engine's address: {base}": "{base} är ingen adress till en motor",
    "llama.cpp on a card runs in a container, not in {folder}.": (
        "llama.cpp på ett kort körs i en container, inte i {folder}."
    ),
    "A card has come since the engine began on the processor.": (
        "Ett kort har kommit till sedan motorn började på processorn."
    ),
    "{script} does not say which Python it runs with; give --vllm-python.": (
        "{script} säger inte vilken Python den kör med; ange --vllm-python."
    ),
    "vLLM was not found: there is no `vllm` on PATH. Say which Python has it with "
    "--vllm-python or {VLLM_PYTHON}.": (
        "vLLM hittades inte: det finns ingen `vllm` i PATH. Ange vilken Python som har den med "
        "--vllm-python eller {VLLM_PYTHON}."
    ),
    "This Python has no vLLM.": "Den här Python har ingen vLLM.",
    "vLLM does not say its version ({version!r}); {floor} is needed.": (
        "vLLM säger inte vilken version den är ({version!r}); {floor} behövs."
    ),
    "vLLM {version} is too old: {floor} or newer is needed.": (
        "vLLM {version} är för gammal: {floor} eller nyare behövs."
    ),
    "vLLM {version} must not be used: {reason}": "vLLM {version} får inte användas: {reason}",
    "{python} is no Python that can be run.": "{python} är ingen Python som går att köra.",
    "{python} cannot be run: {error}.": "{python} går inte att köra: {error}.",
    "{python} did not say within {seconds:g} s what it has.": (
        "{python} sade inte inom {seconds:g} s vad den har."
    ),
    "{python} could not say what vLLM it has; try: vllm --version": (
        "{python} kunde inte säga vilken vLLM den har; prova: vllm --version"
    ),
    "{text!r} is not a number; write it as 50 or 1.5.": (
        "{text!r} är inget tal; skriv 50 eller 1,5."
    ),
    "{path} is a path; a program is named by its file alone: --pause-on {name}": (
        "{path} är en sökväg; ett program anges med bara filens namn: --pause-on {name}"
    ),
    "A price needs an area: --price-area SE1, SE2, SE3 or SE4.": (
        "Ett pris behöver ett elområde: --price-area SE1, SE2, SE3 eller SE4."
    ),
    "{folder} cannot be used: {error}": "{folder} går inte att använda: {error}",
    "That is no possible limit: {error}.": "Den gränsen är inte möjlig: {error}.",
    "{text!r} is not a time; write it as 2h, 90m or 1h30m.": (
        "{text!r} är ingen tid; skriv den som 2h, 90m eller 1h30m."
    ),
    "{text!r} is not an amount of data; write it as 500MB or 50GB.": (
        "{text!r} är ingen datamängd; skriv den som 500MB eller 50GB."
    ),
    "{text!r} are not hours; write them as 'mon-fri 22:00-07:00; sat,sun 00:00-24:00'.": (
        "{text!r} är inga tider; skriv dem som 'mon-fri 22:00-07:00; sat,sun 00:00-24:00'."
    ),
    "The hours are too long a text.": "Tiderna är en för lång text.",
    "{path} is the home of node {node} of {gateway}. Leave that network first (gai node "
    "leave), or use another --data-dir.": (
        "I {path} bor noden {node} i nätverket {gateway}. Lämna det först (gai node leave), "
        "eller välj en annan --data-dir."
    ),
    "Enrolling needs a token; an administrator makes one: gai node token": (
        "För att gå med behövs en nodinbjudan; en administratör gör en: gai node token"
    ),
    "A container cannot be given {text!r}: its name has a comma or a quote.": (
        "En container kan inte få {text!r}: namnet har ett komma eller ett citattecken."
    ),
    "{program} has no image {base!r} here.": "{program} har ingen avbild {base!r} här.",
    "The engine's image cannot be built: {words}": "Motorns avbild går inte att bygga: {words}",
    "{program} built {tag} and does not find it.": "{program} byggde {tag} och hittar den inte.",
    "{source} cannot be read: {error}": "{source} går inte att läsa: {error}",
    "{source} is not what was installed; install it again.": (
        "{source} är inte det som installerades; installera det igen."
    ),
    "The probe did not get to its end: {words}": "Provet kom inte till sitt slut: {words}",
    "The probe said what no probe says: {error}": (
        "Provet sade något som inget prov säger: {error}"
    ),
    "{argv} cannot be started: {error}.": "{argv} går inte att starta: {error}.",
    "`{argv}` did not end within {seconds:g} s.": ("`{argv}` blev inte färdig inom {seconds:g} s."),
    "{program} cannot list containers: {words}": "{program} kan inte lista containrar: {words}",
    "{program} cannot remove a container: {words}": (
        "{program} kan inte ta bort en container: {words}"
    ),
    "`{name} info` fails: {words}. How to put that right: gai node doctor": (
        "`{name} info` misslyckas: {words}. Hur det rättas till: gai node doctor"
    ),
    "podman speaks to a service (CONTAINER_HOST, CONTAINER_CONNECTION or `podman system "
    "connection`), which could run an engine elsewhere and after the agent's end; unset it.": (
        "podman talar med en tjänst (CONTAINER_HOST, CONTAINER_CONNECTION eller `podman system "
        "connection`), som kan köra en motor någon annanstans och efter agentens slut; ta bort det."
    ),
    "{programs} not found: an engine needs one of them for its sandbox. On Debian or Ubuntu: "
    "sudo apt install podman uidmap slirp4netns": (
        "{programs} hittades inte: en motor behöver ett av dem till sin sandlåda. På Debian "
        "eller Ubuntu: sudo apt install podman uidmap slirp4netns"
    ),
    "{name} {text} is too old: {floor} is the oldest that fences an engine in. Take a newer "
    "one, or docker beside it.": (
        "{name} {text} är för gammal: {floor} är den äldsta som kan stänga in en motor. Ta en "
        "nyare, eller docker bredvid."
    ),
    "{name} runs without seccomp here; its default profile is needed.": (
        "{name} kör utan seccomp här; dess standardprofil behövs."
    ),
    "`{name} info` says what no {name} says: {error}.": (
        "`{name} info` säger något som ingen {name} säger: {error}."
    ),
    "This user has no subordinate ids, by which a container's user is nobody here. Fix: sudo "
    "usermod --add-subuids {range} --add-subgids {range} $USER && podman system migrate": (
        "Användaren har inga underordnade id:n, och med dem är containerns användare ingen "
        "här. Åtgärd: sudo usermod --add-subuids {range} --add-subgids {range} $USER && podman "
        "system migrate"
    ),
    "{exact} cannot be pulled: {words}. An image of your own will do as well: gai node image "
    "--help": (
        "{exact} går inte att hämta: {words}. En egen avbild går också bra: gai node image --help"
    ),
    "{program} does not tell the digest of {exact}.": (
        "{program} säger inte vilken kontrollsumma {exact} har."
    ),
    "{program} describes {reference} oddly: {error}": (
        "{program} beskriver {reference} på ett okänt sätt: {error}"
    ),
    "{path} cannot be used: {error}; remove it.": (
        "{path} går inte att använda: {error}; ta bort den."
    ),
    "The engine's own user inside the sandbox cannot read {path}. Fix: chmod o+r '{path}'": (
        "Motorns egen användare i sandlådan kan inte läsa {path}. Åtgärd: chmod o+r '{path}'"
    ),
    "Podman's profile of system calls allows what it does not name.": (
        "Podmans profil för systemanrop tillåter det som den inte nämner."
    ),
    "Podman's profile of system calls is of no known form: {error}": (
        "Podmans profil för systemanrop har ingen känd form: {error}"
    ),
    "Podman's profile of system calls cannot be read ({own}: {error}). It comes with the "
    "package containers-common, or golang-github-containers-common.": (
        "Podmans profil för systemanrop går inte att läsa ({own}: {error}). Den följer med "
        "paketet containers-common, eller golang-github-containers-common."
    ),
    "A service cannot have {text!r} in its command: use another folder.": (
        "En tjänst kan inte ha {text!r} i sitt kommando: använd en annan mapp."
    ),
    "An external engine needs --engine-url http://HOST:PORT/v1.": (
        "En extern motor behöver --engine-url http://VÄRD:PORT/v1."
    ),
    "An external engine needs --model NAME, once for each model.": (
        "En extern motor behöver --model NAMN, en gång för varje modell."
    ),
    "There is no engine {engine!r}; choose llamacpp, vllm or external.": (
        "Det finns ingen motor {engine!r}; välj llamacpp, vllm eller external."
    ),
}

__all__ = ["SETUP"]
