"""Limits on the command line: the options that set them, and how they are shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.amounts import in_units
from garage_ai.cli.client import Client, Owner
from garage_ai.cli.limit_words import say
from garage_ai.cli.shapes import Limits

OFF: Final = "off"
_GAI: Final = 10**9
_COUNTED: Final = {
    "rpm": "requests",
    "tpm": "tokens",
    "daily_tokens": "daily_tokens",
    "monthly_tokens": "monthly_tokens",
    "daily_gai": "daily_gai",
    "monthly_gai": "monthly_gai",
}


def number(text: str) -> str:
    """Check a whole number or `off`."""
    if text != OFF and not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(say("error.number", value=repr(text)))
    return text


def gai(text: str) -> str:
    """Check an amount of GAI or `off`, and give it in nGAI."""
    if text == OFF:
        return text
    try:
        amount = in_units(text, _GAI)
    except ValueError:
        amount = -1
    if amount < 0:
        raise typer.BadParameter(say("error.gai", value=repr(text)))
    return str(amount)


def moment(text: str) -> str:
    """Check a moment or `off`; without a zone it is the time of this machine."""
    if text == OFF:
        return text
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(say("error.moment", value=repr(text))) from error


Rpm = Annotated[
    str | None, typer.Option("--rpm", metavar="N", parser=number, help=say("option.rpm"))
]
Tpm = Annotated[
    str | None, typer.Option("--tpm", metavar="N", parser=number, help=say("option.tpm"))
]
Streams = Annotated[
    str | None, typer.Option("--streams", metavar="N", parser=number, help=say("option.streams"))
]
DailyTokens = Annotated[
    str | None,
    typer.Option("--daily-tokens", metavar="N", parser=number, help=say("option.daily_tokens")),
]
MonthlyTokens = Annotated[
    str | None,
    typer.Option("--monthly-tokens", metavar="N", parser=number, help=say("option.monthly_tokens")),
]
DailyGai = Annotated[
    str | None,
    typer.Option("--daily-gai", metavar="GAI", parser=gai, help=say("option.daily_gai")),
]
MonthlyGai = Annotated[
    str | None,
    typer.Option("--monthly-gai", metavar="GAI", parser=gai, help=say("option.monthly_gai")),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help=say("option.model"))
]
Regions = Annotated[
    list[str] | None, typer.Option("--region", metavar="SE-AB", help=say("option.region"))
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="TIME", parser=moment, help=say("option.expires")),
]


def changes(**given: str | list[str] | None) -> dict[str, object]:
    """Give what the API is to be told: options that were not given are left out, `off` is null."""
    return {name: _told(name, value) for name, value in given.items() if value}


def _told(name: str, value: str | list[str]) -> object:
    if value in (OFF, [OFF]):
        return None
    return value if isinstance(value, list) or name.endswith(("_gai", "_at")) else int(value)


def act(
    asked: Client, kind: Owner, owner: str, changes: Mapping[str, object], *, as_json: bool
) -> None:
    """Change limits, or show them where nothing is to be changed."""
    if changes:
        changed = asked.limit(kind, owner, changes)
        _show(changed, {}, changed, as_json=as_json)
    else:
        shown = asked.limits(kind, owner)
        _show(shown.limits, shown.used, shown, as_json=as_json)


def _show(limits: Limits, used: Mapping[str, object], whole: object, *, as_json: bool) -> None:
    if as_json:
        output.write_json(whole)
        return
    rows = [
        (say(f"name.{name}"), allowed, _amount(name, used.get(_COUNTED.get(name, ""), "")))
        for name, allowed in _allowed(limits)
    ]
    output.write_table([say(f"table.{column}") for column in ("limit", "value", "used")], rows)


def _allowed(limits: Limits) -> list[tuple[str, str]]:
    return [(name, _value(name, getattr(limits, name))) for name in limits.__struct_fields__]


def _value(name: str, value: object) -> str:
    if value is None:
        return say("off")
    if isinstance(value, tuple):
        return ", ".join(value) or say("nothing")
    return output.minute(str(value)) if name == "expires_at" else _amount(name, value)


def _amount(name: str, value: object) -> str:
    """Write a number; amounts of GAI come as whole nGAI."""
    if not name.endswith("_gai") or value == "":
        return str(value)
    return f"{Decimal(str(value)) / _GAI:f}"


__all__ = [
    "DailyGai",
    "DailyTokens",
    "Expires",
    "Models",
    "MonthlyGai",
    "MonthlyTokens",
    "Regions",
    "Rpm",
    "Streams",
    "Tpm",
    "act",
    "changes",
]
