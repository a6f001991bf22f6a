"""The books for others to check: beancount's text, CSV and JSON, written line by line."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Final, Literal

from garage_ai.ledger.books import sides
from garage_ai.ledger.models import ADJUSTMENTS, ISSUANCE, AccountId, Transfer, in_gai

ExportFormat = Literal["beancount", "csv", "json"]

_OPENED: Final = "2000-01-01"
_COLUMNS: Final = (
    *("id", "at", "kind", "debit", "credit", "amount", "amount_gai", "request_id", "note"),
)


async def beancount(transfers: AsyncIterator[Transfer]) -> AsyncIterator[str]:
    """Write a file that `bean-check` accepts; it ends in what each account then has.

    An account above zero is one that the network owes so much.
    """
    yield 'option "title" "Garage AI"\noption "operating_currency" "GAI"\n'
    totals: dict[AccountId, int] = {}
    last = None
    async for transfer in transfers:
        for account, amount in sides(transfer):
            if account not in totals:
                yield f"{_OPENED} open {bean_account(account)} GAI\n"
            totals[account] = totals.get(account, 0) + amount
        last = transfer.at if last is None else max(last, transfer.at)
        yield _transaction(transfer)
    if last is not None:
        # A balance is that of the day's beginning, so it is told for the next day.
        day = (last + timedelta(days=1)).date()
        for account, total in sorted(totals.items()):
            yield f"{day} balance {bean_account(account)} {in_gai(total)} ~ 0 GAI\n"


async def as_csv(transfers: AsyncIterator[Transfer]) -> AsyncIterator[str]:
    """Write a table with a line of names first; `amount` is in nGAI."""
    yield _line(_COLUMNS)
    async for transfer in transfers:
        yield _line(tuple(_fields(transfer).values()))


async def as_json(transfers: AsyncIterator[Transfer]) -> AsyncIterator[str]:
    """Write one array; `amount` is in nGAI, as text."""
    yield "["
    comma = ""
    async for transfer in transfers:
        yield comma + json.dumps(_fields(transfer), ensure_ascii=False)
        comma = ",\n"
    yield "]\n"


EXPORTS: Final[dict[ExportFormat, Callable[[AsyncIterator[Transfer]], AsyncIterator[str]]]] = {
    "beancount": beancount,
    "csv": as_csv,
    "json": as_json,
}


def bean_account(account: AccountId) -> str:
    """Name an account as beancount wants it: parts that begin with a capital or a digit."""
    kind, _, owner = account.partition(":")
    root = "Equity" if account in {ISSUANCE, ADJUSTMENTS} else "Assets"
    names = [kind.capitalize(), *([_component(owner)] if owner else [])]
    return ":".join([root, *names])


def _component(owner: str) -> str:
    cleaned = "".join(each if each.isascii() and each.isalnum() else "-" for each in owner)
    return cleaned[:1].upper() + cleaned[1:] if cleaned[:1].isalnum() else f"X{cleaned}"


def _transaction(transfer: Transfer) -> str:
    amount = in_gai(transfer.amount)
    note = f'  note: "{_quoted(transfer.note)}"\n' if transfer.note else ""
    request = f'  request: "{_quoted(transfer.request_id)}"\n' if transfer.request_id else ""
    return (
        f'{transfer.at.date()} * "{transfer.kind}"\n'
        f'  id: "{_quoted(transfer.id)}"\n{request}{note}'
        f"  {bean_account(transfer.debit)}  -{amount} GAI\n"
        f"  {bean_account(transfer.credit)}  {amount} GAI\n"
    )


def _quoted(text: str) -> str:
    return "".join(
        f"\\{each}" if each in '"\\' else each if each.isprintable() else " " for each in text
    )


def _fields(transfer: Transfer) -> dict[str, str | None]:
    return {
        "id": transfer.id,
        "at": transfer.at.isoformat(),
        "kind": str(transfer.kind),
        "debit": transfer.debit,
        "credit": transfer.credit,
        "amount": str(int(transfer.amount)),
        "amount_gai": in_gai(transfer.amount),
        "request_id": transfer.request_id,
        "note": transfer.note,
    }


def _line(values: tuple[str | None, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()


__all__ = ["EXPORTS", "ExportFormat", "as_csv", "as_json", "bean_account", "beancount"]
