"""What `gai price` says, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "What models cost, in GAI for a million tokens.",
        "Vad modeller kostar, i GAI för en miljon tokens.",
    ),
    "help.list": (
        "List the prices that hold now, and those to come.",
        "Lista priserna som gäller nu, och dem som kommer.",
    ),
    "help.set": (
        "Set a price, which holds a minute later or from a moment on (admin).",
        "Sätt ett pris, som gäller en minut senare eller från en viss tid (admin).",
    ),
    "help.history": (
        "List every price there was or will be, newest first.",
        "Lista alla priser som funnits eller kommer, de nyaste först.",
    ),
    "argument.model": (
        "A model's name or digest; * for all that have no price of their own.",
        "En modells namn eller digest; * för alla som inte har ett eget pris.",
    ),
    "option.prompt": (
        "GAI for a million tokens of prompts.",
        "GAI för en miljon tokens i frågor.",
    ),
    "option.completion": (
        "GAI for a million tokens of answers.",
        "GAI för en miljon tokens i svar.",
    ),
    "option.batch": (
        "Percent of it that batches pay; 50 if nothing is said.",
        "Procent av det som batchar betalar; 50 om inget sägs.",
    ),
    "option.from": (
        "From when on it holds, as 2026-12-01 or 2026-12-01T08:00.",
        "Från när det gäller, som 2026-12-01 eller 2026-12-01T08:00.",
    ),
    "option.note": (
        "Why, or what the model is.",
        "Varför, eller vad modellen är.",
    ),
    "set": (
        "{model} has a new price from {since}",
        "{model} har ett nytt pris från {since}",
    ),
    "none": (
        "This model never had a price of its own.",
        "Modellen har aldrig haft ett eget pris.",
    ),
    "derived": ("derived", "beräknat"),
    "table.model": ("model", "modell"),
    "table.prompt": ("prompt GAI/M", "fråga GAI/M"),
    "table.completion": ("answer GAI/M", "svar GAI/M"),
    "table.batch": ("batch", "batch"),
    "table.from": ("from", "från"),
    "table.by": ("by", "av"),
    "table.note": ("note", "anteckning"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
