"""What `gai node --help` says, in English and Swedish."""

from typing import Final

HELP: Final[dict[str, tuple[str, str]]] = {
    "help": ("Lend this PC to a network.", "Låna ut den här datorn till ett nät."),
    "help.token": (
        "Make an enrolment token, one use: for an own node, or with an admin key for any member's.",
        "Gör en nodinbjudan: för en egen nod, eller med administratörsnyckel för andras.",
    ),
    "help.admit": (
        "Let a node serve without a sandbox, or one whose limits do not hold (needs an admin key).",
        "Låt en nod arbeta utan sandlåda eller med gränser som inte håller (för administratörer).",
    ),
    "help.remove": (
        "Cut a node off the network for good: an own one, or with an admin key any.",
        "Skär av en nod från nätet för gott: en egen, eller med administratörsnyckel vilken som.",
    ),
    "help.names": (
        "List the names that members serve models of their own under (needs an admin key).",
        "Lista namnen som medlemmar kör egna modeller under (kräver en administratörsnyckel).",
    ),
    "help.approve": (
        "Let a member serve a model under a name that is taken or waits (needs an admin key).",
        "Låt en medlem köra en modell under ett namn som väntar (kräver en administratörsnyckel).",
    ),
    "argument.name": ("The name, as `gai node names` shows.", "Namnet ur `gai node names`."),
    "argument.whose": ("The member's id, from there too.", "Medlemmens id, även det därifrån."),
    "help.forfeit": (
        "Give what is held back of a node to the community (needs an admin key).",
        "Ge det som hålls inne för en nod till alla (kräver en administratörsnyckel).",
    ),
    "option.reason": ("Why, for whoever reads the books.", "Varför, för den som läser böckerna."),
    "option.key": (
        "Asking again with the same key does nothing twice.",
        "Samma nyckel en gång till gör inget två gånger.",
    ),
    "option.allow_unsandboxed": (
        "The node may serve without a sandbox.",
        "Noden får arbeta utan sandlåda.",
    ),
    "argument.node": ("The node's id.", "Nodens id."),
    "help.join": (
        "Enrol this PC with a token, then serve in the foreground.",
        "Skriv in den här datorn med en nodinbjudan och börja sedan arbeta.",
    ),
    "help.run": (
        "Serve again with the identity kept in the data folder.",
        "Arbeta igen med identiteten i datamappen.",
    ),
    "help.status": ("Show how the agent is doing.", "Visa hur det går för agenten."),
    "help.pause": (
        "Take no work and free the memory until `resume`, also after a restart.",
        "Ta inget arbete och frigör minnet till `resume`, även efter en omstart.",
    ),
    "help.limits": (
        "Show when the node may serve, or set it; `off` takes a limit away.",
        "Visa när noden får arbeta, eller bestäm det; `off` tar bort en gräns.",
    ),
    "help.resume": ("Take work again.", "Ta emot arbete igen."),
    "help.drain": (
        "Finish what runs and take nothing new, until `resume` or a restart.",
        "Gör klart det som pågår och ta inget nytt, till `resume` eller en omstart.",
    ),
    "help.rotate": (
        "Give the node a new key and let the old one be refused; also ends a change cut short.",
        "Ge noden en ny nyckel och låt den gamla avvisas; slutför också ett avbrutet byte.",
    ),
    "help.doctor": (
        "Check what this PC can do, and say how to put right what it cannot.",
        "Kontrollera vad datorn klarar, och säg hur det som inte går rättas till.",
    ),
    "help.bench": (
        "Measure the engine, keep the result and send it to the network. Takes up to 3 minutes.",
        "Mät motorn, spara resultatet och skicka det till nätet. Tar upp till 3 minuter.",
    ),
    "help.sandbox": (
        "Show the command that runs the engine in its sandbox; --check tries to break out of it.",
        "Visa kommandot som kör motorn i sandlådan; --check försöker bryta sig ut ur den.",
    ),
    "help.image": (
        "Have the engine's image here: built of what is installed, for vllm the official one.",
        "Skaffa motorns avbild: byggd av det som är installerat, för vllm den officiella.",
    ),
    "option.image_engine": (
        "The image for llamacpp or for vllm.",
        "Avbilden för llamacpp eller för vllm.",
    ),
    "option.check": (
        "Try from inside what must not work, and show how it went.",
        "Prova inifrån det som inte får gå, och visa hur det gick.",
    ),
    "option.base": (
        "An image of yours that has python3 and libgomp1, or vLLM; nothing is fetched then.",
        "En egen avbild som har python3 och libgomp1, eller vLLM; då hämtas ingenting.",
    ),
    "option.runtime": (
        "What builds it: auto, podman or docker.",
        "Vad som bygger den: auto, podman eller docker.",
    ),
    "option.region": (
        "County of the node, for instance SE-AB.",
        "Nodens län, till exempel SE-AB.",
    ),
    "option.engine": (
        "llamacpp (if nothing was chosen), vllm, or external for a server you run yourself.",
        "llamacpp (om inget är valt), vllm, eller external för en server du själv kör.",
    ),
    "option.doctor_engine": (
        "Check for this engine; if not given, for the one chosen last.",
        "Kontrollera för den här motorn; annars för den som valdes senast.",
    ),
    "option.fix": (
        "Put right what needs no decision; at a terminal, offer to run the commands for the rest.",
        "Rätta till det som inte kräver ett beslut; vid en terminal, erbjud resten som kommandon.",
    ),
    "option.engine_url": (
        "Address of your own OpenAI server, http://HOST:PORT/v1; GAI_ENGINE_KEY holds its key.",
        "Adressen till din egen OpenAI-server, http://HOST:PORT/v1; GAI_ENGINE_KEY är dess nyckel.",
    ),
    "option.model": (
        (
            "Model to serve; a name in the catalogue or in the network's, a .gguf file, a folder "
            "of safetensors for vllm, or what the server calls it. If not given: on a card the "
            "best of the network's that fits, else the small one."
        ),
        (
            "Modell att köra; ett namn i katalogen eller i nätets, en .gguf-fil, en mapp med "
            "safetensors för vllm, eller serverns namn på den. Om den inte anges: på ett kort "
            "nätets bästa som ryms, annars den lilla."
        ),
    ),
    "option.slots": (
        "Requests at a time; 8, on a card what fits, 32 for external.",
        "Förfrågningar samtidigt; 8, på ett kort det som får plats, 32 för external.",
    ),
    "option.gpu": (
        (
            "Card to use, by its UUID (`gai node doctor` shows it), once for each; auto for the "
            "best; none for the processor."
        ),
        (
            "Kort att använda, med dess UUID (`gai node doctor` visar det), en gång för varje; "
            "auto för det bästa; none för processorn."
        ),
    ),
    "option.gpu_layers": (
        "Layers of the model on the card, for llamacpp; the rest on the processor, much slower.",
        "Modellens lager på kortet, för llamacpp; resten på processorn, mycket långsammare.",
    ),
    "gpu.no_uuid": (
        "{word} is no card: a UUID as `gai node doctor` shows it, auto or none.",
        "{word} är inget kort: ett UUID som `gai node doctor` visar, auto eller none.",
    ),
    "option.context": (
        "Tokens of context for each slot; 4096, on a card what fits.",
        "Kontext i token för varje plats; 4096, på ett kort det som får plats.",
    ),
    "option.threads": (
        "Processor threads of the engine; one for each core but one.",
        "Motorns processortrådar; en för varje kärna utom en.",
    ),
    "option.live": ("Show it anew every second.", "Visa det på nytt varje sekund."),
    "option.for": (
        "End the pause by itself after this time, such as 90m or 2h.",
        "Avsluta pausen av sig själv efter så lång tid, till exempel 90m eller 2h.",
    ),
    "option.now": (
        "Give up what runs at once instead of finishing it.",
        "Släpp det som pågår genast i stället för att göra klart.",
    ),
    "option.vllm_python": (
        "With --sandbox none: Python that vLLM is installed for; else that of `vllm` on PATH.",
        "Med --sandbox none: Python som har vLLM; annars den som `vllm` på PATH har.",
    ),
    "option.tensor_parallel": (
        "Cards that vLLM shares the model out to; else all equal ones that divide it.",
        "Kort som vLLM delar modellen mellan; annars alla lika som går jämnt upp.",
    ),
    "option.memory_share": (
        "Share of each card's memory for vLLM; else what is free now, less a reserve.",
        "Andel av varje korts minne för vLLM; annars det som är ledigt nu, minus en reserv.",
    ),
    "option.kv_cache_gib": (
        "Memory in GiB for vLLM's cache where it runs on the processor; 2.",
        "Minne i GiB för vLLM:s cache när den kör på processorn; 2.",
    ),
    "option.chat_template": (
        "Chat template for vLLM in place of the model's own.",
        "Chattmall för vLLM i stället för modellens egen.",
    ),
    "option.sandbox": (
        "Fence of the engine: auto (at first: podman or docker), podman, docker; none to develop.",
        "Motorns stängsel: auto (från början), podman, docker; none bara för utveckling.",
    ),
    "option.data_dir": (
        "Folder of the node: identity, logs, models; else ~/.local/share/garage-ai.",
        "Nodens mapp: identitet, loggar, modeller; annars ~/.local/share/garage-ai.",
    ),
    "option.gateway": (
        "New base URL of the gateway; the one kept from before if not given.",
        "Gatewayens nya bas-URL; annars den som gällde förut.",
    ),
    "option.name": (
        "What the network calls this PC; its host name if not given.",
        "Vad nätet kallar den här datorn; annars dess värdnamn.",
    ),
    "argument.url": ("Base URL of the gateway.", "Gatewayens bas-URL."),
    "argument.token": ("The enrolment token.", "Nodinbjudan."),
}

__all__ = ["HELP"]
