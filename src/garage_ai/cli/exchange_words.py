"""What is said of an exchange with a gateway that went wrong, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "cut": ("the connection ended before it.", "förbindelsen slutade före det."),
    "leads_on": ("{url} leads on to {place}.", "{url} leder vidare till {place}."),
    "leads_on.next": (
        "Name the address that it leads to: --gateway URL, or GAI_GATEWAY.",
        "Ange adressen som den leder till: --gateway URL, eller GAI_GATEWAY.",
    ),
    "once": (
        "It may have been done: asked again with --idempotency-key {key} it is not done twice.",
        "Det kan ha blivit gjort: med --idempotency-key {key} nästa gång görs det inte två gånger.",
    ),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
