"""Why a node or its engine does not serve, in Swedish, by the words that both give it in English.

An agent says its reasons to gateways and logs too, in English alone; older agents did so as well.
What nobody here wrote (an engine's last words, an administrator's) stays as it is.
"""

import re
from functools import cache
from typing import Final

from garage_ai.cli.gang_words import SWEDISH
from garage_ai.cli.group_words import ERRORS
from garage_ai.cli.words import language
from garage_ai.node.group.reasons import REASONS as GANG_REASONS

REASONS: Final[dict[str, str]] = {
    # Why the node takes nothing new.
    "drained by its owner": "tömd av ägaren; `gai node resume` tar emot arbete igen",
    "drained by the network": "tömd av nätet",
    "paused by its owner": "pausad av ägaren",
    "the agent is stopping": "agenten håller på att stanna",
    "the node's credentials are being renewed": "nodens behörighet förnyas",
    "the node's key is being replaced": "nodens nyckel byts ut",
    "its owner needs the PC": "ägaren behöver datorn",
    "the PC runs on battery": "datorn går på batteri",
    "the PC is too hot": "datorn är för varm",
    "its owner's network limit": "ägarens gräns för nätet",
    "outside its owner's hours": "utanför ägarens tider",
    "electricity is too expensive": "elen är för dyr",
    "its owner's limit on electricity": "ägarens gräns för el",
    "waiting for memory: {much} needed, {room} free": (
        "väntar på minne: {much} behövs, {room} ledigt"
    ),
    # Why a folder cannot be used.
    "it is shared by all users of this PC": "den delas av alla som använder datorn",
    "it holds what is not of Garage AI; choose a folder of its own": (
        "den har annat i sig än Garage AI; välj en egen mapp"
    ),
    "its disk keeps no rights, so that others may read keys there; choose a folder on a disk of "
    "Linux": (
        "dess disk håller inga rättigheter, så att andra kan läsa nycklar där; välj en mapp på en "
        "disk för Linux"
    ),
    # Why the engine is not ready.
    "what runs ends before another engine is made": "det som pågår slutar innan en ny motor görs",
    "the engine is starting": "motorn startar",
    "the engine is loading": "motorn laddar",
    "the engine is failed": "motorn fungerar inte",
    "the engine is not running": "motorn är inte igång",
    "looking for the engine at {url}": "söker motorn på {url}",
    "{url} does not list {names}": "{url} har inte {names} i sin lista",
    "{url} answers {n}; set GAI_ENGINE_KEY if it wants a key": (
        "{url} svarar {n}; sätt GAI_ENGINE_KEY om den vill ha en nyckel"
    ),
    "{url} answers {n}": "{url} svarar {n}",
    "{url} is no list of models": "{url} är ingen lista över modeller",
    "the server no longer has the model": "servern har inte modellen längre",
    "the engine ended with {how}; it said: {words}": "motorn slutade med {how}; den sade: {words}",
    "the engine ended with {how}": "motorn slutade med {how}",
    "the engine cannot be started: {words}": "motorn kan inte startas: {words}",
    "the engine cannot be reached: {words}": "motorn går inte att nå: {words}",
    "the engine was not ready within {n} s": "motorn var inte redo inom {n} s",
    "the engine answers {n} to one token: {words}": "motorn svarar {n} på en enda token: {words}",
    "no connection to the engine in time": "ingen förbindelse med motorn i tid",
    "no answer within {n} s": "inget svar inom {n} s",
    "the engine answered with a redirect ({n})": "motorn svarade med en omdirigering ({n})",
    "the engine's answer is far too long": "motorns svar är alldeles för långt",
    "the engine closed the connection in the middle": "motorn stängde förbindelsen mitt i",
    "the engine's answer is broken: {words}": "motorns svar är trasigt: {words}",
    "the engine's answer is all head": "motorns svar är bara huvud",
    "a card's memory does not suffice ({words}); close what uses it, or lower --context or "
    "--slots": (
        "ett korts minne räcker inte ({words}); stäng det som använder det, eller sänk --context "
        "eller --slots"
    ),
    "the group is not at work here": "gruppen är inte igång här",
    "llama.cpp found {n} of {m} cards; what would be on them is on the processor": (
        "llama.cpp hittade {n} av {m} kort; det som skulle ligga på dem ligger på processorn"
    ),
    "llama.cpp put no weights on a card it was given": (
        "llama.cpp lade inga vikter på ett kort som den fick"
    ),
    "llama.cpp put {n} of {m} layers on cards, not {k}": (
        "llama.cpp lade {n} av {m} lager på kort, inte {k}"
    ),
    # vLLM while it loads; the words of its log stay its own.
    "vLLM ended with {how}: {words}": "vLLM slutade med {how}: {words}",
    "vLLM was not ready within {n} s": "vLLM var inte redo inom {n} s",
    "vLLM has said nothing for {n} s while it loaded": "vLLM sade inget på {n} s medan den laddade",
    "vLLM answers {n} to one token: {words}": "vLLM svarar {n} på en enda token: {words}",
    "vLLM has computed nothing for {n} s, with requests at work": (
        "vLLM har inte räknat något på {n} s, fast förfrågningar pågår"
    ),
    "vLLM no longer answers: {words}": "vLLM svarar inte längre: {words}",
    "{words}; about {n} s left": "{words}; ungefär {n} s kvar",
    "starting": "startar",
    "loading weights": "laddar vikter",
    "loading weights {n}/{m}": "laddar vikter {n}/{m}",
    "weights are loaded": "vikterna är laddade",
    "compiling": "kompilerar",
    "capturing CUDA graphs": "spelar in CUDA-grafer",
    "capturing CUDA graphs {n} %": "spelar in CUDA-grafer {n} %",
    "making the cache": "gör cachen",
    "warming up": "värmer upp",
    "other programs hold the card's memory; close them, or lower --memory-share ({words})": (
        "andra program håller kortets minne; stäng dem, eller sänk --memory-share ({words})"
    ),
    "the card's memory does not suffice; lower --context or --slots ({words})": (
        "kortets minne räcker inte; sänk --context eller --slots ({words})"
    ),
    "no room is left for the cache; lower --context, or raise --memory-share ({words})": (
        "ingen plats är kvar för cachen; sänk --context, eller höj --memory-share ({words})"
    ),
    # What the network tells.
    "The name {name} is taken; an administrator must approve it.": (
        "Namnet {name} är upptaget; en administratör måste godkänna det."
    ),
    "The clock is {skew} s off; please set it.": "Klockan går {skew} s fel; ställ den.",
    "The network gives this node work again.": "Nätet ger noden arbete igen.",
    "This network serves only from engines in a sandbox whose limits hold: run the node with "
    "--sandbox auto, or let an administrator admit it as it is.": (
        "Det här nätet arbetar bara med motorer i en sandlåda vars gränser håller: kör noden med "
        "--sandbox auto, eller låt en administratör släppa in den som den är."
    ),
    "This network works with agents from version {oldest} on, and this one is {now}. Update it "
    "with: gai node update": (
        "Det här nätet arbetar med agenter från version {oldest}, och den här är {now}. "
        "Uppdatera den med: gai node update"
    ),
    "of an unknown version": "av en okänd version",
    "The node does not say from which image its engine's container is made.": (
        "Noden säger inte från vilken avbild motorns container är gjord."
    ),
    "An administrator has revoked the engine's image {url}, or its base.": (
        "En administratör har återkallat motorns avbild {url}, eller det den bygger på."
    ),
    "The engine's image {url} is not approved yet; an administrator does it with: {command}": (
        "Motorns avbild {url} är inte godkänd än; en administratör godkänner den med: {command}"
    ),
    # What keeps `gai up` from its work.
    "{words} cannot be used: {why}": "{words} går inte att använda: {why}",
    "cannot listen on {url}: {words}": "det går inte att lyssna på {url}: {words}",
    "port {n} is for root alone, or a program with CAP_NET_BIND_SERVICE; choose a higher one with "
    "{option}": (
        "port {n} är bara för root eller ett program med CAP_NET_BIND_SERVICE; välj en högre med "
        "{option}"
    ),
    "--public brings TLS and --insecure goes without: give one of them": (
        "--public ger TLS och --insecure är utan: ange bara ett av dem"
    ),
    "--cert and --key belong together": "--cert och --key hör ihop",
    "--cert and --key need --public HOST": "--cert och --key behöver --public VÄRD",
    "--public takes a host name or an address alone, as gpu.example.org": (
        "--public är ett värdnamn eller en adress och inget mer, som gpu.example.org"
    ),
    "--port and --nats-port collide; the port after --nats-port is used too": (
        "--port och --nats-port krockar; även porten efter --nats-port används"
    ),
    "{url} is not known here ({words}), but our own processes dial that name, which is the "
    "certificate's; a line '127.0.0.1 {name}' in /etc/hosts is enough": (
        "{url} är okänt här ({words}), men våra egna processer ringer det namnet, som är "
        "certifikatets; en rad '127.0.0.1 {name}' i /etc/hosts räcker"
    ),
    # What a node that leaves had.
    "service {url}": "tjänsten {url}",
    "containers of {url}: {n}": "containrar hos {url}: {n}",
    "image {url} of {program}": "avbilden {url} hos {program}",
    "image {url}": "avbilden {url}",
    # What does not fit.
    "{words} does not fit in this PC's memory at any size: {why}. Free memory, or choose a "
    "smaller model: gai models --fits": (
        "{words} får inte plats i datorns minne i någon storlek: {why}. Frigör minne eller välj en "
        "mindre modell: gai models --fits"
    ),
    "it ran out of memory with {words}": "minnet tog slut med {words}",
    "{words} took {much} when measured here, and {room} are free": (
        "{words} tog {much} när det mättes här, och {room} är ledigt"
    ),
    "{n} requests of {m} tokens": "{n} förfrågningar om {m} token",
}
"""`{url}` stands for one word, `{n}`, `{m}` and `{k}` for numbers, all else for any words."""

STATES: Final[dict[str, str]] = {
    "joining": "går med",
    "ready": "redo",
    "dedicated": "för ett enda jobb",
    "draining": "gör klart",
    "paused": "pausad",
    "loading": "laddar",
    "stopped": "stoppad",
    "failed": "fungerar inte",
    "connecting": "ansluter",
    "connected": "ansluten",
    "refused": "avvisad",
    "closed": "stängd",
}
"""States of node, engine and link."""

_FIELD: Final = re.compile(r"\\\{(\w+)\\\}")
_NUMBERS: Final = frozenset({"n", "m", "k"})
_WORDS: Final = frozenset({"url", "node", "other"})


def reason_in_words(reason: str) -> str:
    """Say a reason in the owner's language; one that is not known stays as it was said."""
    return in_swedish(reason) if language() == "sv" else reason


def state_in_words(state: str) -> str:
    """Name a state in the owner's language."""
    return STATES.get(state, state) if language() == "sv" else state


def in_swedish(reason: str) -> str:
    """Say a reason in Swedish, and whatever known words stand inside it."""
    for pattern, swedish in _patterns():
        found = pattern.fullmatch(reason)
        if found is not None:
            values = {name: in_swedish(value) for name, value in found.groupdict().items()}
            return swedish.format(**values)
    return reason


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    # The longest first: `{url} answers {n}` would else take what says more.
    of_gangs = {english: SWEDISH[code] for code, english in GANG_REASONS.items()}
    longest = sorted({**REASONS, **ERRORS, **of_gangs}.items(), key=lambda pair: -len(pair[0]))
    return tuple((_pattern(english), swedish) for english, swedish in longest)


def _pattern(english: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def group(field: re.Match[str]) -> str:
        name = field[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        shape = r"[\d.]+" if name in _NUMBERS else r"\S+" if name in _WORDS else r".+"
        return f"(?P<{name}>{shape})"

    return re.compile(_FIELD.sub(group, re.escape(english)), re.DOTALL)


__all__ = ["REASONS", "STATES", "in_swedish", "reason_in_words", "state_in_words"]
