"""What `gai up` says of this PC's own node, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "stands_back": (
        "The node of this PC stands back ({reason}) and serves by itself once that is over.",
        "Den här datorns nod drar sig undan ({reason}) och arbetar av sig själv när det är över.",
    ),
    "stands_back.next": (
        "Until then only nodes of others answer. More: gai node status",
        "Till dess svarar bara andras noder. Mer: gai node status",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
