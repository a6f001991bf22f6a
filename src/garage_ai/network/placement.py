"""Placing a request: a replica with room now, or after waiting, or the reason why there is none."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from garage_ai.network.errors import (
    DispatchError,
    ModelLoading,
    NoCapacity,
    NoNode,
    RegionUnavailable,
    UnknownModel,
)
from garage_ai.network.models import Replica
from garage_ai.network.pool import Pool
from garage_ai.network.registry import Effect, Registry
from garage_ai.network.router import Wanted, choose, could_serve
from garage_ai.network.waiting import WaitingRoom
from garage_ai.wire.ids import NodeId

RETRY_AFTER: Final = 5.0
LONGEST_RETRY: Final = 120.0
"""A node's guess how long its engine loads is believed up to here."""


@dataclass(frozen=True, slots=True)
class GoingOn:
    """An answer under way that needs another node: like the one before, and before all others.

    `wait` is how many seconds its client can be kept waiting for room.
    """

    before: Replica
    wait: float


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
        queue_size: int,
        queue_seconds: float,
        apply_effects: Callable[[list[Effect]], None],
        chance: random.Random,
    ) -> None:
        self._registry = registry
        self._queue_seconds = queue_seconds
        self._apply_effects = apply_effects
        self._chance = chance
        self._room: WaitingRoom[_Waiter] = WaitingRoom(queue_size)

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
        return len(self._room)

    async def find(
        self,
        name: str,
        *,
        region: str | None,
        excluded: Collection[NodeId],
        avoided: Collection[NodeId] = (),
        failure: DispatchError | None,
        going_on: GoingOn | None = None,
    ) -> Replica:
        """Give a replica of a model, none of the excluded nodes', an avoided one's only in need.

        `failure` is what an earlier try ended in: it is raised when nobody else is left.
        Raises: DispatchError.
        """
        wanted = Wanted(region, frozenset(excluded))
        if going_on is not None:
            old = going_on.before
            fenced = old.node.trust != "unsandboxed"
            wanted = replace(wanted, digest=old.digest, fenced=fenced)
        pool = self._registry.pool(name)
        now = time.monotonic()
        if pool is None:
            raise failure or self._why_nobody(name, region)
        if going_on is not None or not self._room.waits(name):
            replica = self._choose(pool, wanted, avoided, now)
            if replica is not None:
                self._registry.acquire(replica)
                return replica
        if not could_serve(pool, wanted, now):
            raise failure or self._why_nobody(name, region)
        return await self._queue(name, wanted, going_on)

    def _choose(
        self, pool: Pool, wanted: Wanted, avoided: Collection[NodeId], now: float
    ) -> Replica | None:
        if avoided:
            others = replace(wanted, excluded=wanted.excluded.union(avoided))
            replica = choose(pool, others, now, self._chance)
            if replica is not None:
                return replica
        return choose(pool, wanted, now, self._chance)

    def room_made(self, name: str) -> None:
        """Let those in who wait for the model."""
        pool = self._registry.pool(name)
        if pool is not None and self._room.waits(name):
            self._room.serve(name, lambda waiter: self._offer(pool, waiter))

    async def _queue(self, name: str, wanted: Wanted, going_on: GoingOn | None) -> Replica:
        waiter = _Waiter(wanted, asyncio.get_running_loop().create_future())
        number = self._room.enter(name, waiter, first=going_on is not None)
        try:
            async with asyncio.timeout(going_on.wait if going_on else self._queue_seconds):
                return await waiter.turn
        except TimeoutError:
            self._give_back(waiter)
            raise NoCapacity(
                "Every node that serves the model is busy.", retry_after=RETRY_AFTER
            ) from None
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        finally:
            self._room.leave(name, number)

    def _give_back(self, waiter: _Waiter) -> None:
        """Release a replica that was given to one who is leaving."""
        if waiter.turn.done() and not waiter.turn.cancelled():
            self._apply_effects(self._registry.release(waiter.turn.result()))

    def _offer(self, pool: Pool, waiter: _Waiter) -> bool:
        if waiter.turn.done():
            return True
        now = time.monotonic()
        replica = choose(pool, waiter.wanted, now, self._chance)
        if replica is None:
            return False
        self._registry.acquire(replica)
        waiter.turn.set_result(replica)
        return True

    def _why_nobody(self, name: str, region: str | None) -> DispatchError:
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


def _ready_in(loading: Sequence[Replica]) -> float:
    """Give the seconds until the first of them may serve; their own guesses, within bounds."""
    guesses = [replica.served.ready_in for replica in loading if replica.served.ready_in]
    return max(RETRY_AFTER, min([*guesses, LONGEST_RETRY])) if guesses else RETRY_AFTER
