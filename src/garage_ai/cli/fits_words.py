"""What `gai models --fits` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "option.fits": (
        "Say which published models would fit on this PC, how, and how fast; nothing is loaded.",
        "Visa vilka publicerade modeller som får plats här, hur och hur snabbt; inget läses in.",
    ),
    "option.card": (
        "With --fits: ask for this card instead, once for each, as 'RTX 3090'.",
        "Med --fits: fråga för det här kortet i stället, en gång för varje, som 'RTX 3090'.",
    ),
    "option.vram": (
        "With --fits: ask for a card with so many GiB instead, once for each.",
        "Med --fits: fråga för ett kort med så många GiB i stället, en gång för varje.",
    ),
    "option.context": (
        "With --fits: tokens of context to hope for; 32768 if not given.",
        "Med --fits: kontext i token att hoppas på; annars 32768.",
    ),
    "option.sequences": (
        "With --fits: requests at a time to hope for; 8 if not given.",
        "Med --fits: samtidiga förfrågningar att hoppas på; annars 8.",
    ),
    "needs_fits": (
        "--card, --vram, --context and --sequences belong to --fits.",
        "--card, --vram, --context och --sequences hör till --fits.",
    ),
    "no_such_card": (
        "There is no card {card!r} in the table; known: {known}.",
        "Kortet {card!r} finns inte i tabellen; kända: {known}.",
    ),
    "no_such_card.next": (
        "Give its memory instead: --vram 12",
        "Ange minnet i stället: --vram 12",
    ),
    "on": ("on: {places}", "på: {places}"),
    "processor": ("the processor, {room} GiB of memory", "processorn, {room} GiB minne"),
    "card": ("{name} ({room} GiB)", "{name} ({room} GiB)"),
    "estimate": (
        "Computed from published figures, not measured: memory may differ by a GiB, speed by half.",
        "Beräknat ur publicerade uppgifter, inte mätt: minnet kan skilja en GiB, farten det halva.",
    ),
    "measured": ("measured here, at most:", "mätt här, som mest:"),
    "here": (" (measured here)", " (mätt här)"),
    "column.device": ("on", "på"),
    "too_large": (
        "does not fit: {form} needs {needed} GiB, there are {room}",
        "får inte plats: {form} behöver {needed} GiB, det finns {room}",
    ),
    "too_old": (
        "the card is too old for every form it comes in",
        "kortet är för gammalt för alla former den finns i",
    ),
    "no_card": ("needs a card", "behöver ett kort"),
    "no_form": ("comes in no form known here", "finns inte i någon form som är känd här"),
    "column.form": ("form", "form"),
    "column.engine": ("engine", "motor"),
    "column.at_once": ("at once", "samtidigt"),
    "column.memory": ("GiB", "GiB"),
    "column.speed": ("tokens/s, estimate", "token/s, uppskattat"),
    "column.cards": ("cards", "kort"),
    "column.model": ("model", "modell"),
    "column.context": ("context", "kontext"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the owner's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
