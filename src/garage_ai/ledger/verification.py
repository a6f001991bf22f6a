"""The books checked from their first entry: what balances should be, and what they are."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, literal, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.models import Action, Actor, Detail, Entry
from garage_ai.audit.service import AuditLog
from garage_ai.ledger.agreement import disagreements
from garage_ai.ledger.books import Position, digest_of, sides
from garage_ai.ledger.errors import InvalidTransfer
from garage_ai.ledger.models import ADJUSTMENTS, AccountId, Kind, Transfer
from garage_ai.ledger.pages import lock, transfer_of, write_positions
from garage_ai.ledger.rules import check_transfer, may_go_below_zero
from garage_ai.storage import Storage
from garage_ai.storage.tables import (
    balances,
    leases,
    queued_entries,
    transfers,
    unaccounted,
)

_Positions = dict[AccountId, Position]

VERIFY_SECONDS: Final = 3600.0
_BATCH: Final = 1000

MAX_FINDINGS: Final = 100
"""So many are told; if there are more, the first ones say enough."""

_LOGGED: Final = 20
"""Balances that are named in the log of acts when they are made again; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the books that cannot be: which row, and what is wrong with it."""

    row: str
    what: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An account whose balance was not as entries and leases make it."""

    account: AccountId
    before: Position
    after: Position


@dataclass(slots=True)
class Verification:
    """What a look through the whole books gave.

    `unaccounted` is the bound, in nGAI, of what gateways may have served without a bill before
    they were gone; `adjusted` is what adjustments made, less what they took. Both are told, and no
    fault of the books.
    """

    transfers: int = 0
    accounts: int = 0
    queued: int = 0
    open_leases: int = 0
    unaccounted_leases: int = 0
    unaccounted: int = 0
    adjustments: int = 0
    adjusted: int = 0
    findings: list[Finding] = field(default_factory=list)
    faults: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return self.faults == 0

    def found(self, row: str, what: str) -> None:
        """Note a finding."""
        self.faults += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(row, what))


async def verify(storage: Storage) -> Verification:
    """Check every transfer by itself, and all of them together against what follows from them.

    A changed, missing, added or doubled row is found in the ledger's tables, and so is a charge in
    usage or a reward that was posted, unless whoever changed it made all the others fit: against
    that, keep an export. Raises: StorageError.
    """
    seen = Verification()
    async with storage.read(VERIFY_SECONDS) as connection:
        computed, found, leased = _Positions(), _Positions(), dict[AccountId, int]()
        with _readable(seen, "transfers"):
            await _enter(connection, seen, computed)
        with _readable(seen, "balances"):
            await _project(connection, seen, found)
        with _readable(seen, "leases"):
            await _lease(connection, seen, leased)
        rows = await connection.execute(
            select(func.count(), func.coalesce(func.sum(unaccounted.c.amount), 0)).select_from(
                unaccounted
            )
        )
        count, amount = rows.one()
        seen.unaccounted_leases, seen.unaccounted = int(count), int(amount)
        async for row, what in disagreements(connection):
            seen.found(row, what)
    _compare(computed, found, leased, seen)
    return seen


async def rebuild(storage: Storage, *, by: Actor) -> list[Rebuilt]:
    """Make the balances again from transfers and leases; give those that were wrong.

    What is queued stays queued. Transfers are not touched: what is wrong with one of them, an
    adjustment puts right. Where a balance changes, the log of acts tells so. Raises: StorageError.
    """
    async with storage.write(VERIFY_SECONDS, in_turn=True) as connection:
        names = (await connection.execute(_ACCOUNTS)).scalars().all()
        before = await lock(storage, connection, [AccountId(name) for name in names])
        rows = await connection.execute(_SHOULD)
        after = {
            AccountId(row.account): Position(int(row.amount), int(row.leased), int(row.entries))
            for row in rows
        }
        # An account that came up in between is right by itself.
        after = {account: after.get(account, Position()) for account in before}
        await write_positions(connection, after, before)
        wrong = [
            Rebuilt(account, before[account], after[account])
            for account in sorted(before)
            if after[account] != before[account]
        ]
        if wrong:
            await AuditLog(storage).record(connection, _act(wrong, by))
    return wrong


def _act(wrong: list[Rebuilt], by: Actor) -> Entry:
    details: dict[str, Detail] = {"accounts": len(wrong)}
    for each in wrong[:_LOGGED]:
        details[each.account] = f"{_said(each.before)} to {_said(each.after)}"
    return Entry(Action.LEDGER_REBUILT, by, "balances", details=details)


def _said(position: Position) -> str:
    return f"{position.amount} ({position.leased} leased, {position.entries} entries)"


@contextmanager
def _readable(seen: Verification, rows: str) -> Iterator[None]:
    """Note a row that holds what is no number or moment: SQLite keeps whatever is written there."""
    try:
        yield
    except (TypeError, ValueError) as error:
        seen.found(rows, f"a row cannot be read: {error}")


async def _enter(connection: AsyncConnection, seen: Verification, computed: _Positions) -> None:
    """Add up all transfers, checking each."""
    statement = select(transfers).order_by(transfers.c.seq)
    async with connection.stream(statement.execution_options(yield_per=_BATCH)) as rows:
        async for row in rows:
            seen.transfers += 1
            try:
                transfer = transfer_of(row)
                check_transfer(transfer)
            except (InvalidTransfer, TypeError, ValueError) as error:
                seen.found(f"transfer {row.id}", str(error))
                continue
            if digest_of(transfer) != row.digest:
                seen.found(f"transfer {row.id}", "is not what was entered: its digest differs")
            if transfer.kind is Kind.ADJUSTMENT:
                seen.adjustments += 1
                seen.adjusted += transfer.amount * (1 if transfer.debit == ADJUSTMENTS else -1)
            for account, amount in sides(transfer):
                computed[account] = computed.get(account, Position()).moved(amount)


async def _project(connection: AsyncConnection, seen: Verification, found: _Positions) -> None:
    """Take balances with what is queued for them."""
    async for row in await connection.stream(select(balances)):
        numbers = map(int, (row.amount, row.leased, row.entries))
        found[AccountId(row.account)] = Position(*numbers)
        seen.accounts += 1
    async for row in await connection.stream(select(queued_entries)):
        account = AccountId(row.account)
        found[account] = found.get(account, Position()).moved(row.amount, row.entries)
        seen.queued += row.entries


async def _lease(
    connection: AsyncConnection, seen: Verification, leased: dict[AccountId, int]
) -> None:
    """Add up what open leases have not settled."""
    async for row in await connection.stream(select(leases)):
        if not 0 <= row.settled <= row.amount:
            seen.found(f"lease {row.id}", f"has settled {row.settled} of {row.amount}")
        if row.state == "open":
            seen.open_leases += 1
            payer = AccountId(row.payer)
            leased[payer] = leased.get(payer, 0) + row.amount - row.settled


def _compare(
    computed: dict[AccountId, Position],
    found: dict[AccountId, Position],
    leased: dict[AccountId, int],
    seen: Verification,
) -> None:
    for account in sorted({*computed, *found, *leased}):
        should = computed.get(account, Position())
        for what in _faults(account, should, found.get(account, Position()), leased):
            seen.found(f"account {account}", what)
    total = sum(position.amount for position in found.values())
    if total:
        seen.found("all accounts", f"add up to {total} nGAI instead of nothing")


def _faults(
    account: AccountId, should: Position, now: Position, leased: dict[AccountId, int]
) -> Iterator[str]:
    if now.amount != should.amount:
        yield f"has {now.amount} nGAI, its transfers make {should.amount}"
    if now.entries != should.entries:
        yield f"counts {now.entries} entries, there are {should.entries}"
    if now.leased != leased.get(account, 0):
        yield f"has leased {now.leased} nGAI, its open leases hold {leased.get(account, 0)}"
    if not may_go_below_zero(account) and not 0 <= now.leased <= now.amount:
        yield f"has {now.amount} nGAI, of which {now.leased} are leased"


async def stream_transfers(
    storage: Storage, account: AccountId | None = None
) -> AsyncIterator[Transfer]:
    """Give all transfers, or those of one account, oldest first, a few in memory at a time.

    Those that are there when it begins. Raises: StorageError.
    """
    after = 0
    async with storage.read() as connection:
        last = int(await connection.scalar(select(func.max(transfers.c.seq))) or 0)
    await storage.writes_ended()
    # Each side by its own index: both at once would read all that is left for every batch.
    columns = (transfers.c.debit, transfers.c.credit)
    sides = [true()] if account is None else [column == account for column in columns]
    while True:
        found = {}
        # A transaction of its own for each batch: none is held while somebody reads slowly.
        async with storage.read() as connection:
            for side in sides:
                page = select(transfers).where(
                    transfers.c.seq > after, transfers.c.seq <= last, side
                )
                for row in await connection.execute(page.order_by(transfers.c.seq).limit(_BATCH)):
                    found[row.seq] = row
        batch = sorted(found)[:_BATCH]
        for seq in batch:
            yield transfer_of(found[seq])
        if len(batch) < _BATCH:
            return
        after = batch[-1]


_NONE: Final = literal(0)
_ENTRIES: Final = union_all(
    select(
        transfers.c.debit.label("account"),
        (-transfers.c.amount).label("amount"),
        literal(1).label("entries"),
        _NONE.label("leased"),
    ),
    select(transfers.c.credit, transfers.c.amount, literal(1), _NONE),
    select(queued_entries.c.account, -queued_entries.c.amount, -queued_entries.c.entries, _NONE),
    select(leases.c.payer, _NONE, _NONE, leases.c.amount - leases.c.settled).where(
        leases.c.state == "open"
    ),
).subquery()

# One statement, so that nothing comes in between its parts.
_SHOULD: Final = select(
    _ENTRIES.c.account,
    func.sum(_ENTRIES.c.amount).label("amount"),
    func.sum(_ENTRIES.c.entries).label("entries"),
    func.sum(_ENTRIES.c.leased).label("leased"),
).group_by(_ENTRIES.c.account)

# Sorted by the server, whose alphabet is not Python's.
_ACCOUNTS: Final = (
    select(_ENTRIES.c.account).union(select(balances.c.account)).order_by(_ENTRIES.c.account.name)
)


__all__ = [
    "Finding",
    "Rebuilt",
    "Verification",
    "rebuild",
    "stream_transfers",
    "verify",
]
