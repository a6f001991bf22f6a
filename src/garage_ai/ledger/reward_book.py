"""What was decided to give: decided once, by whichever gateway comes first, and posted until it is.

The amount of a reward rests on balances that move, so it is written down before it is posted; a
retry then says the same as the first time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import structlog
from sqlalchemy import ColumnElement, exists, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.audit.models import Entry
from garage_ai.audit.service import AuditLog
from garage_ai.ledger.errors import LedgerError, Overdraft
from garage_ai.ledger.models import (
    AccountId,
    Kind,
    NanoGai,
    Transfer,
    escrow_account,
    node_of,
)
from garage_ai.ledger.rewards import Rules
from garage_ai.storage import OPERATOR, MemberId, Storage
from garage_ai.storage.tables import TURNS, Utc, rewards
from garage_ai.wire.ids import NodeId

_log = structlog.get_logger(__name__)

_BATCH: Final = 200


class Poster(Protocol):
    """What rewards need of the ledger: transfers that are entered once."""

    async def post(self, transfers: Sequence[Transfer]) -> int:
        """Enter transfers, all or none; those entered before are passed over."""
        ...


@dataclass(frozen=True, slots=True)
class Reward:
    """A transfer to be; an amount of zero says that it was decided to give nothing."""

    id: str
    period: str
    kind: Kind
    debit: AccountId
    credit: AccountId
    amount: NanoGai
    note: str = ""


class Turns(NamedTuple):
    """How often a node was released or forfeited, and when it last was."""

    released: datetime | None = None
    forfeited: datetime | None = None
    number: int = 0


class RewardBook:
    """Rewards, decided and posted."""

    def __init__(self, storage: Storage, poster: Poster) -> None:
        self._storage = storage
        self._poster = poster
        self._inserts = storage.new_rows(rewards, (*Reward.__slots__, "decided_at", "posted_at"))

    async def decide(
        self,
        given: Sequence[Reward],
        now: datetime,
        *,
        once: str = "",
        turn: int | None = None,
        act: Entry | None = None,
    ) -> bool:
        """Write rewards down, those not decided yet; tell whether it was done.

        `once` names a reward that, where it is there already, says that all were decided. `turn`
        says how many turns of the first reward's debit were known when its amount was; with
        another one by now nothing is decided. Where somebody decides, `act` tells the log who.
        Raises: StorageError.
        """
        async with self._storage.write(in_turn=True) as connection:
            if once and await _is_there(connection, once):
                return False
            if turn is not None and await _turns_of(connection, given[0].debit) != turn:
                return False
            await self._inserts.add(connection, [_row(reward, now) for reward in given])
            if act is not None:
                await AuditLog(self._storage).record(connection, act)
        return True

    async def are_decided(self, asked: Collection[str]) -> list[str]:
        """Name those rewards that were decided. Raises: StorageError."""
        rows = select(rewards.c.id).where(rewards.c.id.in_(asked))
        async with self._storage.read() as connection:
            return [*(await connection.execute(rows)).scalars()]

    async def decided(self, reward: str) -> Reward | None:
        """Give a reward as it was decided. Raises: StorageError."""
        asked = select(*(rewards.c[name] for name in Reward.__slots__)).where(
            rewards.c.id == reward
        )
        async with self._storage.read() as connection:
            row = (await connection.execute(asked)).one_or_none()
        if row is None:
            return None
        kind, debit, credit = Kind(row.kind), AccountId(row.debit), AccountId(row.credit)
        return Reward(row.id, row.period, kind, debit, credit, NanoGai(row.amount), row.note)

    async def post(self, now: datetime, only: Collection[str] | None = None) -> int:
        """Post all that was decided and is not posted, or of it those named; give how many.

        Raises: StorageError.
        """
        poor: set[AccountId] = set()
        if only is not None:
            # No more than who named them could want at once.
            return await self._post(await self._waiting(rewards.c.id.in_(only)), now, poor)
        # Mints go before all that is paid of them, whenever either was decided.
        posted = await self._post(await self._waiting(rewards.c.kind == Kind.MINT), now, poor)
        page = await self._waiting(limit=_BATCH)
        while page:
            posted += await self._post(page, now, poor)
            page = await self._waiting(_behind(page[-1]), limit=_BATCH)
        return posted

    async def _post(self, page: Sequence[Transfer], now: datetime, poor: set[AccountId]) -> int:
        """Post some, and note in `poor` the accounts that could not pay; give how many."""
        waiting = [reward for reward in page if reward.debit not in poor]
        if not waiting:
            return 0
        try:
            await self._poster.post(waiting)
            done, dropped = [reward.id for reward in waiting], list[str]()
        except LedgerError:
            done, dropped = await self._post_each(waiting, poor)
        these = rewards.c.id.in_([*done, *dropped])
        async with self._storage.write() as connection:
            # In one order first: another gateway may note some of the same at this moment.
            named = select(rewards.c.id).where(these).order_by(rewards.c.id)
            await connection.execute(named.with_for_update())
            ended = update(rewards).where(rewards.c.id.in_(done)).values(posted_at=now)
            await connection.execute(ended)
            if dropped:
                late = rewards.c.id.in_(dropped) & rewards.c.posted_at.is_(None)
                await connection.execute(
                    update(rewards).where(late).values(posted_at=now, amount=0)
                )
        return len(done)

    async def _post_each(
        self, waiting: Sequence[Transfer], poor: set[AccountId]
    ) -> tuple[list[str], list[str]]:
        """Post one by one: what cannot be waits for better times, and what its account pays behind.

        What is no longer held back is dropped: it would be paid of what is earned later.
        """
        done, dropped = [], []
        for reward in waiting:
            if reward.debit in poor:
                continue
            try:
                await self._poster.post([reward])
                done.append(reward.id)
            except LedgerError as error:
                _log.warning("reward_not_posted", reward=reward.id, code=error.code)
                if isinstance(error, Overdraft):
                    if node_of(reward.debit) is not None:
                        dropped.append(reward.id)
                    else:
                        poor.add(reward.debit)
        return done, dropped

    async def _waiting(
        self, *these: ColumnElement[bool], limit: int | None = None
    ) -> list[Transfer]:
        asked = select(rewards).where(rewards.c.posted_at.is_(None), *these)
        asked = asked.order_by(rewards.c.decided_at, rewards.c.id).limit(limit)
        async with self._storage.read() as connection:
            rows = (await connection.execute(asked)).all()
        return [
            Transfer(
                row.id,
                Kind(row.kind),
                AccountId(row.debit),
                AccountId(row.credit),
                NanoGai(row.amount),
                row.decided_at,
                note=row.note or None,
            )
            for row in rows
        ]

    async def turns(self) -> Mapping[NodeId, Turns]:
        """Give the turns of all nodes that ever had one. Raises: StorageError."""
        last, number = func.max(rewards.c.decided_at), func.count()
        asked = (
            select(rewards.c.debit, rewards.c.kind, last, number)
            .where(TURNS)
            .group_by(rewards.c.debit, rewards.c.kind)
        )
        found: dict[NodeId, Turns] = {}
        async with self._storage.read() as connection:
            for account, kind, at, count in await connection.execute(asked):
                node = _node_of(account)
                turns = found.get(node, Turns())
                released, forfeited = turns.released, turns.forfeited
                if kind == Kind.RELEASE:
                    released = at
                else:
                    forfeited = at
                found[node] = Turns(released, forfeited, turns.number + count)
        return found

    async def unposted_turns(self) -> frozenset[AccountId]:
        """Name the accounts that hold what was released or forfeited already.

        Raises: StorageError.
        """
        asked = select(rewards.c.debit).where(TURNS, rewards.c.posted_at.is_(None))
        async with self._storage.read() as connection:
            return frozenset(map(AccountId, (await connection.execute(asked)).scalars()))


class Probation:
    """Which nodes have proved themselves, in memory: what of their earnings is held back."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._proved: frozenset[NodeId] = frozenset()

    def escrow_permille(self, node: NodeId, member: MemberId) -> int:
        """Say how much is held back of what a node earns; the operator's own prove nothing."""
        proved = member == OPERATOR or node in self._proved
        return 0 if proved else self._rules.escrow

    def is_proved(self, node: NodeId) -> bool:
        """Tell whether a node was released and not forfeited since."""
        return node in self._proved

    async def refresh(self, book: RewardBook) -> None:
        """Take over what was decided. Raises: StorageError."""
        turns = await book.turns()
        self._proved = frozenset(
            node
            for node, (released, forfeited, _) in turns.items()
            if released is not None and (forfeited is None or released > forfeited)
        )


async def _is_there(connection: AsyncConnection, reward: str) -> bool:
    return bool(await connection.scalar(select(exists().where(rewards.c.id == reward))))


async def _turns_of(connection: AsyncConnection, account: AccountId) -> int:
    asked = select(func.count()).select_from(rewards).where(TURNS, rewards.c.debit == account)
    return int(await connection.scalar(asked) or 0)


def _row(reward: Reward, now: datetime) -> tuple[object, ...]:
    posted = now if reward.amount == 0 else None
    return (*(getattr(reward, name) for name in Reward.__slots__), now, posted)


def _behind(reward: Transfer) -> ColumnElement[bool]:
    place = tuple_(literal(reward.at, Utc), literal(reward.id))
    return tuple_(rewards.c.decided_at, rewards.c.id) > place


def _node_of(account: str) -> NodeId:
    return NodeId(account.removeprefix(escrow_account(NodeId(""))))


__all__ = ["Poster", "Probation", "Reward", "RewardBook", "Turns"]
