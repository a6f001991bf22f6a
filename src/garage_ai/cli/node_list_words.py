"""What `gai node list` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "List the network's nodes: what they serve, how fast they say they are and are seen to be.",
        "Lista nätets noder: vad de kör, hur snabba de säger sig vara och hur snabba de syns vara.",
    ),
    "none": ("No node has joined yet.", "Ingen nod har gått med än."),
    "column.node": ("node", "nod"),
    "column.name": ("name", "namn"),
    "column.state": ("state", "läge"),
    "column.model": ("model", "modell"),
    "column.at_work": ("at work", "arbetar"),
    "column.told": ("tokens/s, its word", "token/s, säger den"),
    "column.seen": ("tokens/s, seen", "token/s, uppmätt"),
    "column.figures": ("token figures", "tokenuppgifter"),
    "figures.off": ("off in {off} of {judged}", "fel i {off} av {judged}"),
    "column.ttft": ("first token, seen", "första token, uppmätt"),
    "column.kwh": ("kWh this month", "kWh i månaden"),
    "column.kronor": ("kr, about", "kr, ungefär"),
    "column.per_million": ("kr/M tokens, about", "kr/M token, ungefär"),
}


def say(key: str) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return swedish if language() == "sv" else english


__all__ = ["say"]
