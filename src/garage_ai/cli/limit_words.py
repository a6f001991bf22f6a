"""What `gai key limit` and `gai member limit` say, in English and Swedish."""

from typing import Final

from garage_ai.cli.words import language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help.key": (
        "Show what a key may use, or change it. 0 is nothing at all, `off` no limit.",
        "Visa vad en nyckel får använda, eller ändra det. 0 är ingenting, `off` ingen gräns.",
    ),
    "help.member": (
        "Show or change what a member's keys may use. 0 is nothing at all, `off` no limit.",
        "Visa eller ändra vad en medlem får använda. 0 är ingenting, `off` ingen gräns.",
    ),
    "option.member": (
        "The member's id, as `gai member list` shows.",
        "Medlemmens id ur `gai member list`.",
    ),
    "option.rpm": ("Requests in any minute.", "Förfrågningar under en minut."),
    "option.tpm": ("Tokens in any minute.", "Token under en minut."),
    "option.streams": ("Requests at a time.", "Förfrågningar samtidigt."),
    "option.daily_tokens": ("Tokens of a day (UTC).", "Token per dygn (UTC)."),
    "option.monthly_tokens": ("Tokens of a month (UTC).", "Token per månad (UTC)."),
    "option.daily_gai": (
        "GAI of a day, to nine decimals.",
        "GAI per dygn, med upp till nio decimaler.",
    ),
    "option.monthly_gai": (
        "GAI of a month, to nine decimals.",
        "GAI per månad, med upp till nio decimaler.",
    ),
    "option.model": (
        "Model that may be used; once for each. Replaces the list.",
        "Modell som får användas; en gång för varje. Ersätter listan.",
    ),
    "option.region": (
        "County that may answer; once for each. Replaces the list.",
        "Län som får svara; en gång för varje. Ersätter listan.",
    ),
    "option.expires": (
        "When it ends, as 2026-12-31 or 2026-12-31T15:00:00Z.",
        "När den slutar gälla, som 2026-12-31 eller 2026-12-31T15:00:00Z.",
    ),
    "error.number": (
        "{value} is neither a whole number nor `off`",
        "{value} är varken ett heltal eller `off`",
    ),
    "error.gai": (
        "{value} is neither an amount of GAI nor `off`",
        "{value} är varken ett belopp i GAI eller `off`",
    ),
    "error.moment": ("{value} is neither a time nor `off`", "{value} är varken en tid eller `off`"),
    "table.limit": ("limit", "gräns"),
    "table.value": ("allowed", "tillåtet"),
    "table.used": ("used", "använt"),
    "table.member": ("member", "medlem"),
    "expired": ("expired", "utgången"),
    "off": ("no limit", "ingen gräns"),
    "nothing": ("none", "ingen"),
    "name.rpm": ("requests a minute", "förfrågningar per minut"),
    "name.tpm": ("tokens a minute", "token per minut"),
    "name.streams": ("requests at a time", "förfrågningar samtidigt"),
    "name.daily_tokens": ("tokens a day", "token per dygn"),
    "name.monthly_tokens": ("tokens a month", "token per månad"),
    "name.daily_gai": ("GAI a day", "GAI per dygn"),
    "name.monthly_gai": ("GAI a month", "GAI per månad"),
    "name.models": ("models", "modeller"),
    "name.regions": ("regions", "regioner"),
    "name.expires_at": ("expires", "slutar gälla"),
}


def say(key: str, /, **values: object) -> str:
    """Give a message in the user's language. Raises: KeyError for one there is none of."""
    english, swedish = _WORDS[key]
    return (swedish if language() == "sv" else english).format(**values)


__all__ = ["say"]
