"""Placing a request: a replica with room now, or after waiting, or the reason why there is none."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from garage_ai.network.answer import Request
from garage_ai.network.errors import (
    DispatchError,
    ModelLoading,
    NatsUnavailable,
    NoCapacity,
    NoNode,
    RegionUnavailable,
    UnknownModel,
)
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.models import Life, Node, Replica, Target
from garage_ai.network.pool import Pool
from garage_ai.network.registry import Effect, Registry
from garage_ai.network.router import Wanted, choose, choose_own, could_be_tried, could_serve
from garage_ai.network.sharing import alike
from garage_ai.network.waiting import Turn, WaitingRoom
from garage_ai.wire.frames import Priority

RETRY_AFTER: Final = 5.0
TRIAL_SECONDS: Final = 5.0
"""How long a request waits for its turn to try nodes that failed too often, where no other is."""
LATE_SECONDS: Final = 0.005
"""How much later than asked one looks again: a loop counts whole milliseconds, and may be early."""
LONGEST_RETRY: Final = 120.0
"""A node's guess how long its engine loads is believed up to here."""


def no_link() -> NatsUnavailable:
    """Make the error of a gateway that hears nobody."""
    words = "The gateway has no link to its nodes just now."
    return NatsUnavailable(words, retry_after=RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class GoingOn:
    """An answer under way that needs another node: like the one before, and before all others.

    `wait` is how many seconds its client can be kept waiting for room.
    """

    before: Replica
    wait: float


_LINES: Final[tuple[Priority, Priority]] = ("chat", "batch")
Choice = Callable[[Pool, Wanted, float, random.Random], Replica | None]


@dataclass(slots=True)
class _Waiter:
    wanted: Wanted
    turn: "asyncio.Future[Replica]"


class Placement:
    """Find a replica for each request; who finds all busy waits for a turn, within bounds.

    A replica that is given is acquired: the caller releases it exactly once.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        limits: DispatchLimits,
        apply_effects: Callable[[list[Effect]], None],
        chance: random.Random,
    ) -> None:
        self._registry = registry
        self._apply_effects = apply_effects
        self._chance = chance
        self._rooms: dict[Priority, WaitingRoom[_Waiter]] = {
            "chat": WaitingRoom(limits.queue_size, _push_out),
            "batch": WaitingRoom(limits.batch_queue_size, _push_out),
        }
        self._seconds: dict[Priority, float] = {
            "chat": limits.queue_seconds,
            "batch": limits.batch_seconds,
        }

    @property
    def waiting(self) -> int:
        """Chats that wait for room."""
        return len(self._rooms["chat"])

    @property
    def batch_waiting(self) -> int:
        """Batch requests that wait for room."""
        return len(self._rooms["batch"])

    async def find(
        self,
        request: Request,
        *,
        excluded: Collection[Life],
        avoided: Collection[Life] = (),
        failure: DispatchError | None,
        going_on: GoingOn | None = None,
        first: bool = False,
        waits: bool = True,
        turn: Turn | None = None,
    ) -> Replica:
        """Give a replica of the model, none of the excluded nodes', an avoided one's only in need.

        A member goes first on nodes of its own. Who waits is served by `WaitingRoom`'s rule, those
        that have time behind all others; who goes on, or had a slot before, is `first` of its line.
        Who was turned away goes on with the `turn` that it had, and with what is left of its wait.

        `failure` is what an earlier try ended in: it is raised when nobody else is left, or has
        room where the request `waits` for nobody.
        Raises: DispatchError.
        """
        target, region, priority = request.target, request.region, request.priority
        wanted = Wanted(region, frozenset(excluded), member=request.member, priority=priority)
        if going_on is not None:
            old = going_on.before
            fenced = old.node.trust != "unsandboxed"
            wanted = msgspec.structs.replace(wanted, digest=old.digest, fenced=fenced)
        pool = self._registry.pool(*target)
        now = time.monotonic()
        if pool is None:
            raise self._nobody(target, region, failure)
        replica = self._choose(pool, wanted, avoided, now)
        first = first or going_on is not None
        if replica is not None and self._goes_before(target, priority, first=first):
            # Who waits goes first wherever it may; what then is left suits only who comes now.
            self.room_made(target)
            replica = self._choose(pool, wanted, avoided, now)
        if replica is not None:
            self._registry.acquire(replica, priority)
            return replica
        turn = turn or Turn(now)
        longest = going_on.wait if going_on else self._seconds[priority]
        left = max(0.0, turn.since + longest - now)
        if waits and could_serve(pool, wanted, now):
            try:
                return await self._queue(target, wanted, request.weigh(), left, turn, first=first)
            except NoCapacity:
                if self._registry.pool(*target) is not None:
                    raise
                # Who was busy has gone meanwhile, or loads the model anew.
                raise self._nobody(target, region, failure) from None
        if waits and could_be_tried(pool, wanted, now):
            with contextlib.suppress(NoCapacity):
                seconds = min(TRIAL_SECONDS, self._seconds[priority])
                weight = request.weigh()
                return await self._queue(target, wanted, weight, seconds, turn, first=first)
        raise self._nobody(target, region, failure)

    def waits(self, target: Target) -> bool:
        """Tell whether a chat waits for room."""
        return self._rooms["chat"].waits(target)

    def _choose(
        self, pool: Pool, wanted: Wanted, avoided: Collection[Life], now: float
    ) -> Replica | None:
        if avoided:
            others = msgspec.structs.replace(wanted, excluded=wanted.excluded.union(avoided))
            replica = choose(pool, others, now, self._chance)
            if replica is not None:
                return replica
        return choose(pool, wanted, now, self._chance)

    def _goes_before(self, target: Target, priority: Priority, *, first: bool) -> bool:
        """Tell whether somebody who waits for the same goes before such a request."""
        if not first and self._rooms[priority].waits(target):
            return True
        return priority == "batch" and self._rooms["chat"].waits(target)

    def room_made(self, target: Target) -> None:
        """Let those in who wait for it; on a node of its own a member goes first."""
        pool = self._registry.pool(*target)
        if pool is None:
            return
        for priority in _LINES:
            room = self._rooms[priority]
            if room.waits(target):
                self._serve(room, target, pool, priority)

    def _serve(
        self, room: WaitingRoom[_Waiter], target: Target, pool: Pool, priority: Priority
    ) -> None:
        owned = any(pool.has_room_of(member, priority) for member in room.members(target))

        def more() -> bool:
            return owned or pool.has_room(priority)

        if owned:
            room.serve(target, self._offering(pool, choose_own), more)
        room.serve(target, self._offering(pool, choose), more)

    def tried(self, node: Node, *, pause: float = 0.0) -> None:
        """Let those in, after a pause, who wait for a node that failed too often: it was tried."""
        for replica in node.replicas.values():
            self.room_comes(replica.target, pause)

    def room_comes(self, target: Target, seconds: float) -> None:
        """Let those in who wait, once so many seconds are over."""
        asyncio.get_running_loop().call_later(seconds + LATE_SECONDS, self.room_made, target)

    async def _queue(
        self,
        target: Target,
        wanted: Wanted,
        weight: float,
        seconds: float,
        turn: Turn,
        *,
        first: bool,
    ) -> Replica:
        if seconds <= 0:
            raise _busy()  # nobody is to lose its place in a full queue to one that cannot wait
        waiter = _Waiter(wanted, asyncio.get_running_loop().create_future())
        room = self._rooms[wanted.priority]
        number = room.enter(
            target, waiter, member=wanted.member, weight=weight, first=first, turn=turn
        )
        try:
            async with asyncio.timeout(seconds):
                return await waiter.turn
        except TimeoutError:
            self._give_back(waiter)
            raise _busy() from None
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        finally:
            room.leave(target, number)

    def _give_back(self, waiter: _Waiter) -> None:
        """Release a replica that was given to one who leaves, and with it a node's one trial."""
        turn = waiter.turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            replica = turn.result()
            replica.node.breaker.spared()
            self._apply_effects(self._registry.release(replica, waiter.wanted.priority))
            if replica.node.breaker.is_open:
                self.tried(replica.node)

    def _offering(self, pool: Pool, choice: Choice) -> Callable[[_Waiter], bool]:
        """Make an offer of what room there is, for one walk along a line.

        Room only becomes less on it, so nobody is looked for whom the same nodes would serve as
        one for whom there was none.
        """
        now = time.monotonic()
        refused: set[Wanted] = set()

        def offer(waiter: _Waiter) -> bool:
            if waiter.turn.done():
                return True
            wanted = waiter.wanted
            kind = msgspec.structs.replace(wanted, member=alike(wanted.member, pool.owners))
            if kind in refused:
                return False
            replica = choice(pool, wanted, now, self._chance)
            if replica is None:
                refused.add(kind)
                return False
            self._registry.acquire(replica, wanted.priority)
            waiter.turn.set_result(replica)
            return True

        return offer

    def _nobody(
        self, target: Target, region: str | None, failure: DispatchError | None
    ) -> DispatchError:
        if failure is not None:
            return failure
        name, job = target
        if job:
            words = f"No node has an engine for {job} alone just now."
            return NoNode(words, retry_after=RETRY_AFTER)
        if not self._registry.names.is_known(name):
            return UnknownModel(f"The model {name!r} does not exist.")
        if self._registry.pool(name) is not None and region is not None:
            return RegionUnavailable(
                f"No node in {region} serves {name} just now.", retry_after=RETRY_AFTER
            )
        loading = self._loading(name)
        if loading:
            return ModelLoading(f"{name} is being loaded.", retry_after=_ready_in(loading))
        return NoNode(f"No node serves {name} just now.", retry_after=RETRY_AFTER)

    def _loading(self, name: str) -> list[Replica]:
        return [
            replica
            for node in self._registry.nodes.values()
            if node.state in ("joining", "ready")
            for replica in node.replicas.values()
            if replica.name == name and replica.served.engine == "loading"
        ]


def _busy() -> NoCapacity:
    return NoCapacity("Every node that serves the model is busy.", retry_after=RETRY_AFTER)


def _push_out(waiter: _Waiter) -> None:
    """Tell one that its place in the full queue went to a member who has fewer waiting."""
    if not waiter.turn.done():
        words = "Every node is busy, and of a full queue your requests had the largest part."
        waiter.turn.set_exception(NoCapacity(words, retry_after=RETRY_AFTER))


def _ready_in(loading: Sequence[Replica]) -> float:
    """Give the seconds until the first of them may serve; their own guesses, within bounds."""
    guesses = [replica.served.ready_in for replica in loading if replica.served.ready_in]
    return max(RETRY_AFTER, min([*guesses, LONGEST_RETRY])) if guesses else RETRY_AFTER
