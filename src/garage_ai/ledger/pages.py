"""The part of the books that a transaction needs: read with its rows locked, and written back.

Whoever holds an account's row of `balances` owns its queued entries and its leases too. Rows are
locked in the order of their names and leases after them, so that no two transactions wait for each
other. On SQLite every writer is alone anyway.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Row, bindparam, delete, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.ledger.books import Books, Lease, LeaseId, Position, Queued, Sums, digest_of
from garage_ai.ledger.models import AccountId, Kind, NanoGai, Transfer
from garage_ai.storage import Change, NewRows, RowChange, RowLock, Storage
from garage_ai.storage.tables import balances, leases, queued_entries, transfers

_TRANSFER: Final = (
    *("id", "kind", "debit", "credit", "amount", "at", "request_id", "note", "digest"),
)
_QUEUED: Final = ("account", "amount", "entries")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inserts:
    """The inserts of many rows, compiled once for the database that is open."""

    transfers: NewRows
    queued: NewRows
    payers: RowLock
    positions: RowChange
    leases: RowChange

    @classmethod
    def of(cls, storage: Storage) -> "Inserts":
        """Compile them."""
        return cls(
            storage.new_rows(transfers, _TRANSFER),
            storage.new_rows(queued_entries, _QUEUED),
            storage.row_lock(balances.c.account),
            storage.row_change(_MOVED, ("row", "amount", "leased", "entries")),
            storage.row_change(_SPENT, ("row", "payer", "spent")),
        )

    def changes(self, sums: Sums) -> list[Change]:
        """Say what settlements add to rows that nobody has read.

        Of a lease that is not open, not the payer's, or not good for it, no row is written, and
        none of a transfer that is there.
        """
        paid = sorted(sums.paid.items())
        entered = sorted(sums.entered.items())
        return [
            self.payers.change([name for name, _ in paid]),
            self.positions.change(
                [(name, added.amount, -total, added.entries) for name, (total, added) in paid]
            ),
            self.leases.change([(*lease, spent) for lease, spent in sorted(sums.spent.items())]),
            self.transfers.change([_transfer_row(transfer) for _, transfer in entered]),
            self.queued.change(_queued_rows(sums.queued)),
        ]


class Collision(Exception):
    """Somebody else entered one of these ids in between; begin again and look for it first."""


async def lock(
    storage: Storage, connection: AsyncConnection, accounts: Sequence[AccountId]
) -> dict[AccountId, Position]:
    """Lock the rows of accounts, making those that are missing.

    More than fit into one statement come in the order of the server's alphabet. They are made
    before any is locked: nobody who waits for one that another has made then holds what that one
    is about to lock.
    """
    there: set[AccountId] = set()
    for some in chunks(accounts):
        named = select(balances.c.account).where(balances.c.account.in_(some))
        there.update(await connection.scalars(named))
    for account in sorted({*accounts} - there):
        empty = {"account": account, "amount": 0, "leased": 0, "entries": 0}
        await connection.execute(storage.insert_new(balances).values(empty))
    found: dict[AccountId, Position] = {}
    for some in chunks(accounts):
        statement = (
            select(balances)
            .where(balances.c.account.in_(some))
            .order_by(balances.c.account)
            .with_for_update()
        )
        for row in await connection.execute(statement):
            found[row.account] = Position(row.amount, row.leased, row.entries)
    return found


async def absorb(
    connection: AsyncConnection, positions: dict[AccountId, Position], accounts: Sequence[AccountId]
) -> int:
    """Add what is queued for locked accounts to their positions; give how many rows that were."""
    taken = 0
    for some in chunks(accounts):
        statement = select(queued_entries).where(queued_entries.c.account.in_(some))
        rows = (await connection.execute(statement)).all()
        for row in rows:
            positions[row.account] = positions[row.account].moved(row.amount, row.entries)
        if rows:
            one = delete(queued_entries).where(queued_entries.c.seq == bindparam("row"))
            await connection.execute(one, [{"row": row.seq} for row in rows])
        taken += len(rows)
    return taken


async def read_leases(
    connection: AsyncConnection, ids: Collection[LeaseId]
) -> dict[LeaseId, Lease]:
    """Give those leases that there are."""
    found: dict[LeaseId, Lease] = {}
    for some in chunks(sorted(ids)):
        for row in await connection.execute(select(leases).where(leases.c.id.in_(some))):
            found[row.id] = lease_of(row)
    return found


async def read_known(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Transfer]:
    """Give those transfers that are entered already."""
    known: dict[str, Transfer] = {}
    for some in chunks(sorted(set(ids))):
        for row in await connection.execute(select(transfers).where(transfers.c.id.in_(some))):
            known[row.id] = transfer_of(row)
    return known


async def write_books(
    connection: AsyncConnection,
    inserts: Inserts,
    books: Books,
    before: dict[AccountId, Position],
    leases_before: dict[LeaseId, Lease],
) -> None:
    """Write what has changed. Raises: Collision, StorageError."""
    entered = sorted(books.entered.values(), key=lambda transfer: transfer.id)
    rows = [_transfer_row(transfer) for transfer in entered]
    if rows and await inserts.transfers.add(connection, rows) != len(rows):
        raise Collision
    queued = _queued_rows(books.queued)
    if queued:
        await inserts.queued.add(connection, queued)
    await write_positions(connection, books.positions, before)
    changed = [
        {"row": lease.id, "settled": lease.settled}
        for lease in sorted(books.leases.values(), key=lambda lease: lease.id)
        if lease != leases_before.get(lease.id)
    ]
    if changed:
        await connection.execute(_SETTLED, changed)


async def write_positions(
    connection: AsyncConnection,
    positions: dict[AccountId, Position],
    before: dict[AccountId, Position],
) -> None:
    """Write the positions of locked accounts that have changed."""
    changed = [
        {"row": account, "amount": now.amount, "leased": now.leased, "entries": now.entries}
        for account, now in positions.items()
        if now != before[account]
    ]
    if changed:
        await connection.execute(_POSITION, changed)


def transfer_of(row: Row[tuple[object, ...]]) -> Transfer:
    """Give the transfer of a row."""
    return Transfer(
        row.id,
        Kind(row.kind),
        AccountId(row.debit),
        AccountId(row.credit),
        NanoGai(row.amount),
        row.at,
        row.request_id,
        row.note,
    )


def lease_of(row: Row[tuple[object, ...]]) -> Lease:
    """Give the lease of a row."""
    return Lease(
        LeaseId(row.id),
        row.gateway,
        AccountId(row.payer),
        row.amount,
        row.settled,
        row.expires_at,
        row.state,
    )


def chunks(items: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts that one statement can bind."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _queued_rows(queued: Mapping[AccountId, Queued]) -> list[tuple[object, ...]]:
    return [(account, each.amount, each.entries) for account, each in queued.items()]


def _transfer_row(transfer: Transfer) -> tuple[object, ...]:
    return (
        transfer.id,
        str(transfer.kind),
        transfer.debit,
        transfer.credit,
        int(transfer.amount),
        transfer.at,
        transfer.request_id,
        transfer.note,
        digest_of(transfer),
    )


_POSITION: Final = (
    update(balances)
    .where(balances.c.account == bindparam("row"))
    .values({name: bindparam(name) for name in ("amount", "leased", "entries")})
)
_MOVED: Final = (
    update(balances)
    .where(balances.c.account == bindparam("row"))
    .values({name: balances.c[name] + bindparam(name) for name in ("amount", "leased", "entries")})
)
_SPENT: Final = (
    update(leases)
    .where(
        leases.c.id == bindparam("row"),
        leases.c.payer == bindparam("payer"),
        leases.c.state == literal_column("'open'"),
        leases.c.amount - leases.c.settled >= bindparam("spent"),
    )
    .values({"settled": leases.c.settled + bindparam("spent")})
)
_SETTLED: Final = (
    update(leases).where(leases.c.id == bindparam("row")).values({"settled": bindparam("settled")})
)
