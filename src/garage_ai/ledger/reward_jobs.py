"""Stipends and releases, at their time: the shell around the rules.

Any gateway may run them, and several at once: what is given has an id of its period, and whoever
comes first decides it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import exists, literal, or_, select

from garage_ai.audit.models import Action, Actor, Entry
from garage_ai.ledger import grants
from garage_ai.ledger.charges import divide, split
from garage_ai.ledger.errors import TransferConflict
from garage_ai.ledger.figures import FigureJudge
from garage_ai.ledger.flags import Flags
from garage_ai.ledger.models import (
    ISSUANCE,
    POOL,
    Kind,
    NanoGai,
    escrow_account,
    member_account,
)
from garage_ai.ledger.proof import Proofs
from garage_ai.ledger.reward_book import Probation, Reward, RewardBook, Turns
from garage_ai.ledger.rewards import Rules, Warm, class_factor, stipends
from garage_ai.ledger.warmth import WarmHours, hour_of, served_for_others
from garage_ai.storage import OPERATOR, MemberId, Storage, StorageError
from garage_ai.storage.tables import balances, nodes, queued_entries, rewards, warm_hours
from garage_ai.wire.ids import NodeId

_log = structlog.get_logger(__name__)

MINUTE: Final = 60.0
HOUR: Final = timedelta(hours=1)
SETTLED: Final = timedelta(minutes=3)
"""How long after an hour its stipends are decided: every gateway has written what it saw."""

VERIFIED: Final = timedelta(hours=24)
"""How old the work may be that shows what a node can do."""

LOOK_BACK: Final = timedelta(hours=24)
"""Hours that nobody decided, since no gateway ran, are decided as long as this."""

_CLOSE_SECONDS: Final = 5.0
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class _Node:
    id: NodeId
    member: MemberId
    since: datetime
    until: datetime | None


def _alone(node: NodeId) -> Sequence[tuple[NodeId, int]]:
    """Let a node share with nobody."""
    return [(node, 1)]


class RewardJobs:
    """All that is given at its time; `run_once` is safe to run as often as one likes."""

    def __init__(
        self,
        storage: Storage,
        ledger: grants.Ledger,
        rules: Rules,
        expected: Mapping[str, float],
        ready: Callable[[], Iterable[NodeId]] = tuple,
        *,
        flags: Flags | None = None,
        partners: Callable[[NodeId], Sequence[tuple[NodeId, int]]] = _alone,
    ) -> None:
        """Give by these rules.

        `expected` is the speed of one stream on the reference card, by digest; `ready` tells which
        nodes could be given work of such a model now, `flags` which of them give wrong figures.
        `partners` names who shares what a node is given, by parts, that node first.
        """
        self.failures = 0
        self.book = RewardBook(storage, ledger)
        self.probation = Probation(rules)
        self.warm = WarmHours(storage)
        self._proofs = Proofs(storage, rules)
        self._storage = storage
        self._ledger = ledger
        self._rules = rules
        self._expected = expected
        self._ready = ready
        self._partners = partners
        self._flags = flags or Flags(storage, FigureJudge(), "")
        self._task: asyncio.Task[None] | None = None

    def expects(self, expected: Mapping[str, float]) -> None:
        """Know the speeds of another catalogue's models."""
        self._expected = expected

    async def start(self) -> None:
        """Learn who has proved itself, then look each minute, until `close`.

        Raises: StorageError.
        """
        await self.probation.refresh(self.book)
        await self._flags.refresh()
        self._task = asyncio.create_task(self._run(), name="rewards")

    async def close(self) -> None:
        """Stop; what was decided is posted by the next one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def run_once(self, now: datetime) -> None:
        """Do all that is due at a moment. Raises: StorageError."""
        self.warm.saw(set(self._ready()) - self._flags.nodes, now)
        await self._flags.refresh()
        await self.book.post(now)
        if now.minute % 5 == 0:
            await self.warm.keep()
            await self.give_stipends(now)
            await self.release(now)
        await self.book.post(now)
        await self.probation.refresh(self.book)

    async def give_stipends(self, now: datetime) -> None:
        """Decide the stipends of each hour that is over and has not been decided."""
        for hour in await self._undecided(now):
            # The pool must be what it is, without what was decided and is still to be paid: all
            # of the hour before, however many nodes there are.
            await self.book.post(now)
            await self._give_stipends(hour, now)

    async def release(self, now: datetime) -> None:
        """Release what was held back of nodes that have proved themselves, or had when they left.

        What comes to be held back of one that has follows. Where nothing is to be held back any
        more, by the rules of now, all of it is released.
        """
        turns = await self.book.turns()
        # Read behind the turns: what an account holds is then without all of them.
        unposted = await self.book.unposted_turns()
        newest = await self._proofs.newest()
        for node in await self._nodes(holding=True):
            if escrow_account(node.id) in unposted:
                continue
            released, forfeited, number = turns.get(node.id, Turns())
            since = max(node.since, forfeited or node.since)
            has_proved = released is not None and released >= since
            owed = has_proved or not self._rules.escrow
            if owed or await self._proofs.has_proved(
                node.id, node.member, since, node.until or now, newest
            ):
                await self._release(node, number, now)

    async def forfeit(
        self, node: NodeId, why: str, now: datetime, *, key: str, by: Actor
    ) -> NanoGai | None:
        """Give what is held back of a node to the community; it has to prove itself anew.

        An administrator's decision, carried out once for each `key`, also of a node that was
        removed. Gives how much it was, None where no such node ever was.
        Raises: TransferConflict, StorageError.
        """
        owner = await self.owner(node)
        if owner is None:
            return None
        account, name = escrow_account(node), f"{Kind.FORFEIT}/{node}/{key}"
        decided = None
        for _ in range(_TRIES):  # again where another gateway releases it at this moment
            turns = (await self.book.turns()).get(node, Turns())
            # The account must hold what it does without what was decided and is still to be paid.
            await self.book.post(now)
            amount = (await self._ledger.balance(account)).amount
            asked = Reward(name, f"{now:%Y-%m}", Kind.FORFEIT, account, POOL, amount, why)
            act = Entry(Action.NODE_FORFEITED, by, node, owner, {"amount": str(amount)})
            await self.book.decide([asked], now, once=name, turn=turns.number, act=act)
            decided = await self.book.decided(name)
            if decided is not None:
                break
        if decided is None or decided.note != why:
            raise TransferConflict(name)
        await self.book.post(now)
        await self.probation.refresh(self.book)
        return decided.amount

    async def owner(self, node: NodeId) -> MemberId | None:
        """Tell whose a node is or was; None where there never was one. Raises: StorageError."""
        async with self._storage.read() as connection:
            asked = select(nodes.c.member_id).where(nodes.c.id == node)
            owner: MemberId | None = await connection.scalar(asked)
        return owner

    # --- stipends

    async def _undecided(self, now: datetime) -> list[datetime]:
        last = hour_of(now - SETTLED) - HOUR
        asked = (
            select(warm_hours.c.hour)
            .where(warm_hours.c.hour <= last, warm_hours.c.hour > last - LOOK_BACK)
            .distinct()
        )
        async with self._storage.read() as connection:
            hours = sorted((await connection.execute(asked)).scalars())
            names = [_mint_of(hour) for hour in hours]
            done = select(rewards.c.id).where(rewards.c.id.in_(names))
            decided = set((await connection.execute(done)).scalars())
        return [hour for hour in hours if _mint_of(hour) not in decided]

    async def _give_stipends(self, hour: datetime, now: datetime) -> None:
        minutes = await self.warm.of(hour)
        until = hour + HOUR
        served = await served_for_others(self._storage, self._expected, until - VERIFIED, until)
        there = {node.id: node for node in await self._nodes()}
        known = {name: node for name, node in there.items() if name in minutes}
        warm = [
            Warm(
                node.id,
                minutes[node.id],
                class_factor(self._rules, served.get(node.id, ())),
                self.probation.escrow_permille(node.id, node.member),
            )
            for node in known.values()
        ]
        pool = (await self._ledger.balance(POOL)).amount
        made = stipends(self._rules, warm, pool)
        period, name = f"{hour:%Y-%m-%dT%H}", _mint_of(hour)
        given = [Reward(name, period, Kind.MINT, ISSUANCE, POOL, made.mint)]
        for node, shares in made.shares.items():
            given += self._stipend(node, NanoGai(shares.node + shares.escrow), period, there)
        await self.book.decide(given, now, once=name)

    def _stipend(
        self, node: NodeId, amount: NanoGai, period: str, there: Mapping[NodeId, _Node]
    ) -> Iterator[Reward]:
        """Give a node's stipend to it and the rigs of its gang, as each of them is given it."""
        partners = self._partners(node) or _alone(node)
        others = [(rig, parts) for rig, parts in partners if rig in there and rig != node]
        whole = sum(parts for _, parts in partners)
        parts = [whole - sum(part for _, part in others), *(part for _, part in others)]
        rigs = [node, *(rig for rig, _ in others)]
        for rig, share in zip(rigs, divide(amount, parts), strict=True):
            member = there[rig].member
            shares = split(share, 0, self.probation.escrow_permille(rig, member))
            label = f"stipend/{period}/{node}" + (f"/{rig}" if rig != node else "")
            given = Reward(label, period, Kind.STIPEND, POOL, member_account(member), shares.node)
            held = replace(
                given, id=f"{label}/held", credit=escrow_account(rig), amount=shares.escrow
            )
            yield from (each for each in (given, held) if each.amount)

    # --- escrow

    async def _nodes(self, *, holding: bool = False) -> list[_Node]:
        """Give the nodes that are there, without the operator's: they prove and get nothing.

        `holding`: also those that were removed, as long as something is held back of them.
        """
        table = nodes.c
        account = literal(escrow_account(NodeId(""))) + table.id
        held = or_(
            exists().where(balances.c.account == account, balances.c.amount > 0),
            exists().where(queued_entries.c.account == account),
        )
        asked = select(table.id, table.member_id, table.created_at, table.removed_at).where(
            or_(table.removed_at.is_(None), held) if holding else table.removed_at.is_(None),
            table.member_id != OPERATOR,
        )
        async with self._storage.read() as connection:
            rows = await connection.execute(asked.order_by(table.id))
            return [_Node(NodeId(row[0]), MemberId(row[1]), *row[2:]) for row in rows]

    async def _release(self, node: _Node, number: int, now: datetime) -> None:
        account, to = escrow_account(node.id), member_account(node.member)
        amount = (await self._ledger.balance(account)).amount
        if amount <= 0:
            return
        name = f"{Kind.RELEASE}/{node.id}/{number}"
        released = Reward(name, f"{now:%Y-%m}", Kind.RELEASE, account, to, amount)
        await self.book.decide([released], now, turn=number)

    # --- life

    async def _run(self) -> None:
        while True:
            # Early in each minute, so that none is left out and none told twice.
            await asyncio.sleep(MINUTE + 1 - time.time() % MINUTE)
            try:
                await self.run_once(datetime.now(UTC))
            except Exception as error:  # a job that died would never give anything again
                self.failures += 1
                code = error.code if isinstance(error, StorageError) else type(error).__name__
                _log.warning("rewards_failed", code=code)


def _mint_of(hour: datetime) -> str:
    return f"mint/{hour:%Y-%m-%dT%H}"


__all__ = ["RewardJobs"]
