"""What gateways have leased of their payers' balances, in SQL.

When a lease ends the database's clock says: one gateway whose own is minutes off would take back
what all others hold, and what they serve would be nobody's bill.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.models import utc_now
from garage_ai.ledger.books import Lease, LeaseId, Position
from garage_ai.ledger.models import AccountId
from garage_ai.ledger.pages import absorb, chunks, lease_of, lock, read_leases, write_positions
from garage_ai.storage import Storage
from garage_ai.storage.moments import seconds_now
from garage_ai.storage.tables import Utc, leases, unaccounted

_log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 120.0
"""How long a lease is good without a renewal; a gateway renews its own every few seconds."""

GRACE_SECONDS: Final = 30.0
"""How much later it is taken back: its renewal may be on the way."""

SHARE: Final = 4
"""One lease takes at most this part of what is available, if that is enough: more than one
gateway may be asked."""

_SWEPT: Final = 100
_KEPT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Wish:
    """How much a lease should hold in all, in nGAI.

    With less than `least` it helps nobody; `needed` is asked for right now, `wanted` is for what
    will probably be asked next. A lease that `gives_back` becomes as small as that.
    """

    least: int
    needed: int
    wanted: int
    gives_back: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Which lease of which payer should hold how much."""

    name: LeaseId
    payer: AccountId
    wish: Wish


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease as it is now, None where there was nothing to lease.

    So much of the balance is still available, and so much of it leased elsewhere.
    """

    lease: Lease | None
    available: int
    elsewhere: int = 0


class Leases:
    """The leases of one gateway, and the sweeping up after others."""

    def __init__(self, storage: Storage, gateway: str, *, seconds: float = LEASE_SECONDS) -> None:
        self._storage = storage
        self.gateway = gateway
        self.seconds = seconds

    async def extend(self, asked: Sequence[Request]) -> list[Granted]:
        """Open leases or make them larger, as far as the payers' balances go; in one transaction.

        Each payer is named once. Asking again after an error is harmless: a wish is for the whole
        of the lease. Raises: StorageError.
        """
        payers = sorted(request.payer for request in asked)
        async with self._storage.write() as connection:
            before = await lock(self._storage, connection, payers)
            positions = dict(before)
            known = await read_leases(connection, [request.name for request in asked])
            poor = [r.payer for r in asked if _is_poor(r, known.get(r.name), positions)]
            if poor:
                await absorb(connection, positions, poor)
            until = await _now(connection) + timedelta(seconds=self.seconds)
            granted = [self._grow(r, known.get(r.name), positions, until) for r in asked]
            await write_positions(connection, positions, before)
            await self._write(connection, [each.lease for each in granted], known)
        return granted

    def _grow(
        self,
        request: Request,
        lease: Lease | None,
        positions: dict[AccountId, Position],
        until: datetime,
    ) -> Granted:
        payer, now = request.payer, positions[request.payer]
        if lease is not None and lease.state != "open":
            return Granted(lease, now.available)
        has = lease.amount if lease is not None else 0
        more = share_of(now.available, has, request.wish)
        positions[payer] = now.lent(more)
        if lease is not None:
            lease = msgspec.structs.replace(lease, amount=has + more, expires_at=until)
        elif more:
            lease = Lease(request.name, self.gateway, payer, more, 0, until)
        rest = lease.rest if lease is not None else 0
        return Granted(lease, positions[payer].available, max(positions[payer].leased - rest, 0))

    async def _write(
        self,
        connection: AsyncConnection,
        now: Sequence[Lease | None],
        known: dict[LeaseId, Lease],
    ) -> None:
        """Write what is new and what has changed, in the order of the leases' names."""
        found = sorted((each for each in now if each is not None), key=lambda each: each.id)
        new = [_row(each) for each in found if each.id not in known]
        if new:
            await connection.execute(insert(leases), new)
        grown = [
            {"row": each.id, "amount": each.amount, "until": each.expires_at}
            for each in found
            if each.id in known and each != known[each.id]
        ]
        if grown:
            await connection.execute(_GROWN, grown)

    async def renew(self, ids: Collection[LeaseId]) -> set[LeaseId]:
        """Go on with leases; give those that are still open. Raises: StorageError."""
        held: set[LeaseId] = set()
        for some in chunks(sorted(ids)):
            mine = leases.c.id.in_(some), leases.c.state == "open"
            rows = select(leases.c.id).where(*mine).order_by(leases.c.id).with_for_update()
            async with self._storage.write() as connection:
                found = (await connection.execute(rows)).scalars().all()
                until = await _now(connection) + timedelta(seconds=self.seconds)
                await connection.execute(update(leases).where(*mine).values(expires_at=until))
            held.update(map(LeaseId, found))
        return held

    async def close(self, ids: Collection[LeaseId]) -> None:
        """Give back what leases have not settled; twice is once. Raises: StorageError."""
        for some in chunks(sorted(ids)):
            async with self._storage.write() as connection:
                found = await read_leases(connection, some)
                before = await lock(
                    self._storage, connection, sorted({each.payer for each in found.values()})
                )
                positions = dict(before)
                # Read again: only now nobody else changes them.
                for lease in (await read_leases(connection, some)).values():
                    if lease.state == "open":
                        positions[lease.payer] = positions[lease.payer].lent(-lease.rest)
                await write_positions(connection, positions, before)
                await connection.execute(
                    update(leases)
                    .where(leases.c.id.in_(some), leases.c.state == "open")
                    .values(state="closed")
                )

    async def sweep(self, grace: float = GRACE_SECONDS) -> list[Lease]:
        """Take leases back whose gateways were not heard of, and book the rest `unaccounted`.

        Never its own, however old: after a night of the PC or of the database what it has served
        still waits to be settled in them. Raises: StorageError.
        """
        async with self._storage.read() as connection:
            cutoff = await _now(connection) - timedelta(seconds=grace)
            stale = (
                leases.c.state == "open",
                leases.c.expires_at < cutoff,
                leases.c.gateway != self.gateway,
            )
            rows = select(leases).where(*stale).order_by(leases.c.expires_at).limit(_SWEPT)
            found = [lease_of(row) for row in await connection.execute(rows)]
        swept = [await self._take_back(lease, cutoff) for lease in found]
        return [lease for lease in swept if lease is not None]

    async def forget(self) -> None:
        """Delete leases that ended long ago; what they left behind stays. Raises: StorageError."""
        async with self._storage.write() as connection:
            old = leases.c.state != "open", leases.c.expires_at < await _now(connection) - _KEPT
            await connection.execute(leases.delete().where(*old))

    async def _take_back(self, lease: Lease, cutoff: datetime) -> Lease | None:
        async with self._storage.write() as connection:
            before = await lock(self._storage, connection, [lease.payer])
            expired = await connection.execute(
                update(leases)
                .where(
                    leases.c.id == lease.id,
                    leases.c.state == "open",
                    leases.c.expires_at < cutoff,
                )
                .values(state="expired")
            )
            if not expired.rowcount:
                return None  # its gateway is back, or another one has swept
            lease = (await read_leases(connection, [lease.id]))[lease.id]
            positions = {lease.payer: before[lease.payer].lent(-lease.rest)}
            await write_positions(connection, positions, before)
            if lease.rest:
                await connection.execute(
                    insert(unaccounted).values(
                        lease=lease.id,
                        gateway=lease.gateway,
                        payer=lease.payer,
                        amount=lease.rest,
                        at=utc_now(),
                    )
                )
        _log.warning("lease_expired", gateway=lease.gateway, lease=lease.id, unaccounted=lease.rest)
        return lease


def share_of(available: int, has: int, wish: Wish) -> int:
    """Decide how much a lease grows: what is needed, and of what is wanted a fair part.

    One that gives back grows by less than nothing.
    """
    if wish.gives_back:
        return min(wish.wanted - has, 0)
    most = max(available, 0)
    if has + most < wish.least:
        return 0
    fair = max(wish.needed - has, most // SHARE)
    return max(0, min(wish.wanted - has, fair, most))


async def _now(connection: AsyncConnection) -> datetime:
    return datetime.fromtimestamp(await seconds_now(connection), UTC)


def _is_poor(request: Request, lease: Lease | None, positions: dict[AccountId, Position]) -> bool:
    """Tell whether what is queued for a payer could matter."""
    has = lease.amount if lease is not None else 0
    return positions[request.payer].available < request.wish.wanted - has


def _row(lease: Lease) -> dict[str, object]:
    return {
        "id": lease.id,
        "gateway": lease.gateway,
        "payer": lease.payer,
        "amount": lease.amount,
        "settled": lease.settled,
        "expires_at": lease.expires_at,
        "state": lease.state,
    }


_GROWN: Final = (
    update(leases)
    .where(leases.c.id == bindparam("row"))
    .values({"amount": bindparam("amount"), "expires_at": bindparam("until", type_=Utc())})
)


__all__ = [
    "GRACE_SECONDS",
    "LEASE_SECONDS",
    "SHARE",
    "Granted",
    "Leases",
    "Request",
    "Wish",
    "share_of",
]
