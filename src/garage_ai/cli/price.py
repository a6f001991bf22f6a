"""`gai price`: what models cost, and what they did."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.amounts import in_units
from garage_ai.cli.moments import moment
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.price_words import say

if TYPE_CHECKING:
    from garage_ai.cli.shapes import Price

app = typer.Typer(help=say("help"), no_args_is_help=True)

A_MILLION: Final = 1_000_000
"""nGAI for 1,000 tokens in a price of one GAI for a million tokens."""


def amount(text: str) -> int:
    """Read GAI for a million tokens as nGAI for 1,000. Raises: ValueError."""
    return in_units(text.replace(",", "."), A_MILLION)


def share(text: str) -> int:
    """Read percent as thousandths. Raises: ValueError."""
    thousandths = in_units(text.removesuffix("%").replace(",", "."), 10)
    if not 0 <= thousandths <= 1000:
        raise ValueError(text)
    return thousandths


def in_gai(nano: str) -> str:
    """Say nGAI for 1,000 tokens as GAI for a million."""
    return f"{Decimal(nano) / A_MILLION:f}"


Model = Annotated[str, typer.Argument(metavar="MODEL", help=say("argument.model"))]
OneModel = Annotated[str | None, typer.Argument(metavar="MODEL", help=say("argument.model"))]
Prompt = Annotated[
    int, typer.Option("--prompt", metavar="GAI", parser=amount, help=say("option.prompt"))
]
Completion = Annotated[
    int, typer.Option("--completion", metavar="GAI", parser=amount, help=say("option.completion"))
]
Since = Annotated[
    datetime | None,
    typer.Option("--from", metavar="TIME", parser=moment, help=say("option.from")),
]
Batch = Annotated[
    int | None, typer.Option("--batch", metavar="PERCENT", parser=share, help=say("option.batch"))
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help=say("option.note"))]


@app.command("list", help=say("help.list"))
def list_(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the prices that hold now, and those to come."""
    found = client(gateway, api_key, data_dir).prices()
    if as_json:
        output.write_json(found)
        return
    _table([*found.data, *found.coming])


@app.command("set", help=say("help.set"))
def set_(
    model: Model,
    *,
    prompt: Prompt,
    completion: Completion,
    batch: Batch = None,
    since: Since = None,
    note: Note = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a price to the list."""
    asked = client(gateway, api_key, data_dir)
    entry = asked.set_price(model, prompt, completion, effective_from=since, note=note, batch=batch)
    if as_json:
        output.write_json(entry)
        return
    output.write(
        say("set", model=output.harmless(model), since=output.second(entry.effective_from))
    )


@app.command(help=say("help.history"))
def history(
    model: OneModel = None,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List every price there was or will be, newest first."""
    found = client(gateway, api_key, data_dir).price_history(model)
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("none"), style=None)
        return
    _table(found)


def _table(entries: Sequence["Price"]) -> None:
    rows = [
        (
            _named(each),
            in_gai(each.prompt),
            in_gai(each.completion),
            f"{Decimal(each.batch_permille) / 10:f} %",
            output.minute(each.effective_from),
            each.set_by or say("derived"),
            each.note if each.set_by else "",
        )
        for each in entries
    ]
    columns = ("model", "prompt", "completion", "batch", "from", "by", "note")
    output.write_table([say(f"table.{column}") for column in columns], rows)


def _named(entry: "Price") -> str:
    """Name a model; what a gateway priced by itself has its name as its note."""
    return entry.name or ("" if entry.set_by else entry.note) or entry.model


__all__ = ["amount", "app", "in_gai", "share"]
