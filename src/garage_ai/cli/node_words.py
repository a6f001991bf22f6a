"""What `gai node` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": ("Lend this PC to a network.", "Låna ut den här datorn till ett nät."),
    "help.token": (
        "Make an enrolment token, one use (needs an admin key).",
        "Gör en inbjudan som gäller en gång (kräver en administratörsnyckel).",
    ),
    "help.join": (
        "Enrol this PC with a token, then serve in the foreground.",
        "Skriv in den här datorn med en inbjudan och börja sedan arbeta.",
    ),
    "help.run": (
        "Serve again with the identity kept in the data folder.",
        "Arbeta igen med identiteten i datamappen.",
    ),
    "help.status": ("Show how the agent is doing.", "Visa hur det går för agenten."),
    "help.pause": (
        "Take no work until `resume`, also after a restart.",
        "Ta inget arbete förrän `resume`, inte heller efter en omstart.",
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
    "help.leave": (
        "Leave the network for good and forget the identity.",
        "Lämna nätet för gott och glöm identiteten.",
    ),
    "option.region": (
        "County of the node, for instance SE-AB.",
        "Nodens län, till exempel SE-AB.",
    ),
    "option.engine": (
        "llamacpp, or external for a server you run yourself.",
        "llamacpp, eller external för en server du själv kör.",
    ),
    "option.engine_url": (
        "Address of your own OpenAI server, http://HOST:PORT/v1; GAI_ENGINE_KEY holds its key.",
        "Adressen till din egen OpenAI-server, http://HOST:PORT/v1; GAI_ENGINE_KEY är dess nyckel.",
    ),
    "option.model": (
        "Model to serve; a name in the catalogue or a .gguf file, or what the server calls it.",
        "Modell att köra; ett namn i katalogen eller en .gguf-fil, eller serverns namn på den.",
    ),
    "option.slots": (
        "Requests at a time; 8, or 32 for external.",
        "Förfrågningar samtidigt; 8, eller 32 för external.",
    ),
    "option.context": ("Tokens of context for each slot.", "Kontext i token för varje plats."),
    "option.threads": ("Processor threads of the engine.", "Motorns processortrådar."),
    "option.data_dir": (
        "Folder of the node: identity, logs, models.",
        "Nodens mapp: identitet, loggar, modeller.",
    ),
    "option.gateway": ("Base URL of the gateway.", "Gatewayens bas-URL."),
    "option.name": ("What the network calls this PC.", "Vad nätet kallar den här datorn."),
    "argument.url": ("Base URL of the gateway.", "Gatewayens bas-URL."),
    "argument.token": ("The enrolment token.", "Inbjudan."),
    "title": ("Garage AI node, folder {folder}", "Garage AI-nod, mapp {folder}"),
    "step.check": ("checking the engine", "kontrollerar motorn"),
    "step.identity": ("reading the identity", "läser identiteten"),
    "step.enrol": ("enrolling", "skriver in noden"),
    "step.model": ("preparing the model", "förbereder modellen"),
    "step.network": ("connecting to the network", "ansluter till nätet"),
    "done.check": ("engine: {detail}", "motor: {detail}"),
    "done.identity": ("identity: {detail}", "identitet: {detail}"),
    "done.enrol": ("enrolled as {detail}", "inskriven som {detail}"),
    "done.model": ("model: {detail}", "modell: {detail}"),
    "done.network": ("connected to {detail}", "ansluten till {detail}"),
    "fetch.checking": ("checking", "kontrollerar"),
    "fetch.waiting": ("waiting for", "väntar på"),
    "fetch.fetching": ("fetching", "hämtar"),
    "link.down": (
        "the link to the network is down, trying again: {error}",
        "förbindelsen med nätet är bruten, försöker igen: {error}",
    ),
    "state.joining": ("not serving yet: {reason}", "arbetar inte än: {reason}"),
    "state.ready": ("serving {models}; Ctrl-C stops", "erbjuder {models}; Ctrl-C stoppar"),
    "state.loading": ("the engine is not ready: {reason}", "motorn är inte redo: {reason}"),
    "state.draining": ("taking nothing new: {reason}", "tar inget nytt: {reason}"),
    "state.paused": (
        "paused; `gai node resume` takes work again",
        "pausad; `gai node resume` tar emot arbete igen",
    ),
    "stopping": (
        "finishing {running} requests, {seconds:.0f} s at most; Ctrl-C again stops at once",
        "gör klart {running} förfrågningar, högst {seconds:.0f} s; Ctrl-C igen stoppar genast",
    ),
    "stopped": ("stopped", "stoppad"),
    "left": (
        "{node} has left {gateway}; its identity is removed",
        "{node} har lämnat {gateway}; identiteten är borttagen",
    ),
    "rotated": (
        "{node} has a new key, {key}; the old one is refused from now on",
        "{node} har en ny nyckel, {key}; den gamla avvisas från och med nu",
    ),
    "rotate.waiting": (
        "the agent finishes {running} requests first; Ctrl-C leaves the rest to it",
        "agenten gör klart {running} förfrågningar först; Ctrl-C överlåter resten åt den",
    ),
    "rotate.under_way": (
        "The agent has not changed its key yet; it goes on, and `gai node rotate` tells how.",
        "Agenten har inte bytt nyckel än; den fortsätter, och `gai node rotate` berättar hur.",
    ),
    "token.made": (
        "good for one node; on its PC:  gai node join {url} TOKEN",
        "gäller för en nod; på den datorn:  gai node join {url} TOKEN",
    ),
    "status.node": ("node", "nod"),
    "status.state": ("state", "läge"),
    "status.engine": ("engine", "motor"),
    "status.model": ("model", "modell"),
    "status.running": ("running", "pågår"),
    "status.since": ("since start", "sedan start"),
    "status.link": ("network", "nät"),
    "status.notice": ("notice", "meddelande"),
    "status.version": ("version", "version"),
    "status.totals": (
        "{answered} answered, {failed} failed, {cancelled} cancelled, {refused} refused",
        "{answered} besvarade, {failed} misslyckade, {cancelled} avbrutna, {refused} avböjda",
    ),
    "agent_still_there": (
        "The agent (pid {pid}) has not stopped yet; try again in a moment.",
        "Agenten (pid {pid}) har inte stannat än; försök igen om en stund.",
    ),
    # What follows an error of a code, in the owner's language; the error itself is in English.
    "next.superseded": (
        "",
        "En nyare kopia av nodens identitet har tagit över. Skriv in varje dator för sig.",
    ),
    "next.removed": (
        "",
        "Noden är borttagen ur nätet. Be om en ny inbjudan för att vara med igen.",
    ),
    "next.not_enrolled": (
        "",
        "Mappen har ingen nod. Skriv in datorn med: gai node join URL INBJUDAN",
    ),
    "next.already_running": ("", "En annan agent arbetar redan från mappen."),
    "next.no_agent": ("", "Ingen agent är igång. Starta den med: gai node run"),
    "next.gateway_away": ("", "Gatewayen svarar inte. Kontrollera adressen och försök igen."),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


def has(key: str) -> bool:
    """Tell whether there is such a message."""
    return key in _WORDS


__all__ = ["has", "say"]
