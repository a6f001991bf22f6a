"""`gai ledger`: the books."""

import contextlib
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.amounts import in_units
from garage_ai.cli.errors import Failed
from garage_ai.cli.ledger_words import say
from garage_ai.cli.once import once
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client

if TYPE_CHECKING:
    from garage_ai.cli.ledger_shapes import Entry

app = typer.Typer(help=say("help"), no_args_is_help=True)

Account = Annotated[str | None, typer.Argument(metavar="ACCOUNT", help=say("argument.account"))]

_PLACES: Final = 9


class Format(StrEnum):
    """What the books can be written as."""

    BEANCOUNT = "beancount"
    CSV = "csv"
    JSON = "json"


def amount(text: str) -> int:
    """Read GAI as nGAI. Raises: BadParameter."""
    try:
        nano = in_units(text, 10**_PLACES)
    except ValueError:
        nano = 0
    if not nano:
        raise typer.BadParameter(say("amount.wrong"))
    return nano


def gai(nano: str) -> str:
    """Write nGAI in GAI."""
    return f"{Decimal(nano).scaleb(-_PLACES):.{_PLACES}f}"


@app.command(help=say("help.balance"))
def balance(
    account: Account = None,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what an account has."""
    found = client(gateway, api_key, data_dir).balance(account)
    if as_json:
        output.write_json(found)
        return
    words = say(
        "balance",
        account=output.harmless(found.account),
        available=found.available_gai,
        reserved=gai(found.reserved),
    )
    output.write(words)


@app.command(help=say("help.statement"))
def statement(
    account: Account = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=say("option.limit"))] = 50,
    before: Annotated[
        int | None, typer.Option("--before", metavar="N", help=say("option.before"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List entries."""
    found = client(gateway, api_key, data_dir).statement(account, limit, before)
    if as_json:
        output.write_json(found)
        return
    if not found.transfers:
        output.remark(say("statement.none"), style=None)
        return
    columns = [say(f"table.{column}") for column in ("at", "kind", "gai", "other", "note")]
    output.write_table(columns, [_row(found.account, each) for each in found.transfers])
    if found.before is not None:
        output.remark(say("statement.more", before=found.before))


@app.command(help=say("help.verify"))
def verify(
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check the books."""
    seen = client(gateway, api_key, data_dir).verify_ledger()
    if as_json:
        output.write_json(seen)
    elif seen.sound:
        output.write(say("verify.sound", transfers=seen.transfers, accounts=seen.accounts))
    if seen.adjustments and not as_json:
        words = {"count": seen.adjustments, "amount": gai(seen.adjusted)}
        output.remark(say("verify.adjusted", **words), style=None)
    if seen.unaccounted_leases and not as_json:
        words = {"leases": seen.unaccounted_leases, "amount": gai(seen.unaccounted)}
        output.remark(say("verify.unaccounted", **words), style=None)
    if not seen.sound:
        found = [output.harmless(f"{each.row} {each.what}") for each in seen.findings]
        raise Failed("\n".join([say("verify.faults", faults=seen.faults), *found]))


@app.command(help=say("help.rebuild"))
def rebuild(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Make balances again in the database itself."""
    from garage_ai.cli.db_run import home_of, run
    from garage_ai.cli.ledger_rebuild import plain, rebuild

    wrong = run(rebuild(home_of(data_dir).database_url))
    if as_json:
        output.write_json({"accounts": [plain(each) for each in wrong]})
        return
    if not wrong:
        output.write(say("rebuilt.none"))
        return
    columns = [
        say(f"table.{name}") for name in ("account", "was", "is", "reserved_was", "reserved")
    ]
    rows = [
        (
            each.account,
            *(gai(str(nano)) for nano in (each.before.amount, each.after.amount)),
            *(gai(str(nano)) for nano in (each.before.leased, each.after.leased)),
        )
        for each in wrong
    ]
    output.write_table(columns, rows)
    output.remark(say("rebuilt", count=len(wrong)), style=None)


@app.command(help=say("help.export"))
def export(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help=say("argument.exported"))
    ] = None,
    *,
    form: Annotated[Format, typer.Option("--format", help=say("option.format"))] = Format.BEANCOUNT,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Write entries to stdout."""
    pieces = client(gateway, api_key, data_dir).export_ledger(form.value, account)
    with contextlib.closing(pieces):
        for piece in pieces:
            if not output.write(piece, end=""):
                return


@app.command(help=say("help.adjust"), context_settings={"ignore_unknown_options": True})
def adjust(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help=say("argument.adjusted"))],
    nano: Annotated[int, typer.Argument(metavar="GAI", parser=amount, help=say("argument.amount"))],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=say("option.reason"))],
    key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help=say("option.key"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Enter an adjustment."""
    asked = client(gateway, api_key, data_dir)
    with once(key) as name:
        made = asked.adjust(account, nano, reason, name)
    if as_json:
        output.write_json(made)
        return
    output.write(say("adjusted", id=made.id, amount=gai(str(nano)), account=account))


def _row(account: str, entry: "Entry") -> tuple[str, ...]:
    paid = entry.debit == account
    # Whoever uses an own node pays itself: what goes out comes in, and the balance stays.
    sign = ("±" if entry.credit == account else "-") if paid else ""
    return (
        output.minute(entry.at),
        entry.kind,
        sign + gai(entry.amount),
        entry.credit if paid else entry.debit,
        " ".join(filter(None, (entry.request_id, entry.note))),
    )


__all__ = ["Format", "amount", "app", "gai"]
