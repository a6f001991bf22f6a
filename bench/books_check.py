"""Whether books are sound, found out without the program that kept them: SQL and sums alone."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, Final

import msgspec

from bench.books_gateway import Order, member

__all__ = ["Checked", "Fate", "check", "rows_of"]

Rows = Callable[[str], Iterable[tuple[Any, ...]]]


class Fate(msgspec.Struct):
    """What the driver heard of an order: how it ended, and whether its entry was committed.

    Nothing, where the gateway was killed before it could say.
    """

    order: Order
    end: str = "lost"
    committed: bool = False


class Checked(msgspec.Struct):
    """What was found; everything but the last five must be nothing. Amounts are in nGAI."""

    sum_of_all: int = 0
    overdrawn: int = 0
    wrong_balances: int = 0
    lost_commits: int = 0
    doubled: int = 0
    wrong_amounts: int = 0
    entries_of_nobody: int = 0
    use_without_its_bill: int = 0
    left_leased: int = 0
    above_the_bound: int = 0
    entered: int = 0
    lost_in_the_window: int = 0
    unbilled: int = 0
    unaccounted: int = 0
    ends: dict[str, int] = {}

    @property
    def faults(self) -> int:
        """How many things are wrong."""
        return (
            bool(self.sum_of_all)
            + self.overdrawn
            + self.wrong_balances
            + self.lost_commits
            + self.doubled
            + self.wrong_amounts
            + self.entries_of_nobody
            + self.use_without_its_bill
            + bool(self.left_leased)
            + bool(self.above_the_bound)
        )


def check(rows: Rows, fates: Mapping[int, Fate]) -> Checked:
    """Compare the books with what was asked and heard."""
    seen = Checked(ends=dict(Counter(fate.end for fate in fates.values())))
    totals: Counter[str] = Counter()
    booked: dict[int, dict[str, tuple[str, str, int]]] = {}
    for name, debit, credit, amount in rows("SELECT id, debit, credit, amount FROM transfers"):
        seen.entered += 1
        totals[debit] -= amount
        totals[credit] += amount
        if not name.startswith("opening"):
            of_order = booked.setdefault(int(name[1:]), {})
            seen.doubled += name in of_order
            of_order[name] = (debit, credit, amount)
    _check_totals(rows, totals, seen)
    _check_use(rows, booked, seen)
    for number, fate in fates.items():
        _check_fate(fate, booked.pop(number, {}), seen)
    seen.entries_of_nobody = len(booked)
    [(seen.unaccounted,)] = rows("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM unaccounted")
    seen.above_the_bound = max(seen.unbilled - seen.unaccounted, 0)
    return seen


def _check_use(
    rows: Rows, booked: Mapping[int, dict[str, tuple[str, str, int]]], seen: Checked
) -> None:
    """Compare what usage says that requests cost with the entries of the same requests."""
    charges = {int(request[1:]): charge for request, charge in rows(_CHARGES)}
    billed = {
        number: sum(amount for _, _, amount in entries.values())
        for number, entries in booked.items()
        if any(name.startswith("u") for name in entries)
    }
    differ = (charges.get(number) != billed.get(number) for number in {*charges, *billed})
    seen.use_without_its_bill = sum(differ)


_CHARGES: Final = "SELECT request_id, charge FROM usage WHERE charge > 0"


def _check_totals(rows: Rows, totals: Counter[str], seen: Checked) -> None:
    kept: Counter[str] = Counter()
    for account, amount, leased in rows("SELECT account, amount, leased FROM balances"):
        kept[account] += amount
        seen.left_leased += leased
    for account, amount in rows("SELECT account, amount FROM queued_entries"):
        kept[account] += amount
    seen.sum_of_all = sum(kept.values())
    seen.wrong_balances = sum(kept[name] != totals[name] for name in {*kept, *totals})
    seen.overdrawn = sum(total < 0 for name, total in totals.items() if name != "issuance")


def _check_fate(fate: Fate, booked: dict[str, tuple[str, str, int]], seen: Checked) -> None:
    """Say whether the books hold what became of an order, and nothing else."""
    expected = _entries(fate.order)
    if booked and booked != expected:
        seen.wrong_amounts += 1
    if fate.committed and not booked:
        seen.lost_commits += 1
    if booked and fate.end in ("voided", "refused", "forgotten"):
        seen.wrong_amounts += 1
    if fate.end == "settled" and not booked:
        seen.lost_in_the_window += 1
        seen.unbilled += fate.order.spend


def _entries(order: Order) -> dict[str, tuple[str, str, int]]:
    payer, payee = (f"member:{member(each)}" for each in (order.payer, order.payee))
    if order.what == "grant":
        return {f"p{order.n}": ("issuance", payee, order.spend)}
    if order.what == "give":
        return {f"p{order.n}": (payer, payee, order.spend)}
    kept = order.spend // 10
    entries = {f"u{order.n}": (payer, payee, order.spend - kept)}
    return entries | ({f"f{order.n}": (payer, "fee", kept)} if kept else {})


def rows_of(url: str) -> Rows:
    """Read a database's rows with nothing but its driver."""
    if url.startswith("sqlite:///"):
        return lambda statement: _sqlite_rows(url.removeprefix("sqlite:///"), statement)
    return lambda statement: _postgresql_rows(url, statement)


def _sqlite_rows(path: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def _postgresql_rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    import asyncio

    import asyncpg

    async def read() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(read())
