"""The shell around shares: tells the pools what was used, and brings what they give."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from garage_ai.accounts.limit_pools import PoolId, Pools
from garage_ai.accounts.shares import AGAIN_SECONDS, Share
from garage_ai.storage import StorageError

_log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 0.25
"""How often pools hear what was used."""
PATIENCE_SECONDS: Final = 1.5
"""How long a request waits for room that other gateways have: they hear of it in a second."""
ANSWER_SECONDS: Final = 2.5
"""How long a request waits for the database."""
DOWN_SECONDS: Final = 1.0
"""How long no request waits for a database that has just failed."""
_CLOSE_SECONDS: Final = 5.0


class Leases:
    """The shares of one gateway. All methods belong to the event loop."""

    def __init__(
        self, pools: Pools, gateway: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.failures = 0
        self.forgotten = 0
        """How many shares are forgotten; while it is the same, known ones are the right ones."""
        self.clock = clock
        self._pools = pools
        self._gateway = gateway
        self._shares: dict[PoolId, Share] = {}
        self._wanted = asyncio.Event()
        self._round: asyncio.Future[bool] | None = None
        self._running: asyncio.Future[bool] | None = None
        self._down_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to talk with the pools; `close` ends that."""
        self._task = asyncio.create_task(self._talk(), name="limits")

    async def close(self) -> None:
        """Book what was used and give all leases back."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
        self._end_round(done=False)
        for share in self._shares.values():
            share.failed()
        used = {id_: share.used for id_, share in self._shares.items()}
        try:
            await self._pools.leave(self._gateway, used)
        except StorageError as error:
            _log.warning("limits_not_given_back", code=error.code)

    def share(self, id_: PoolId, limit: int) -> Share:
        """Give this gateway's share of a limit."""
        share = self._shares.get(id_)
        if share is None:
            share = self._shares[id_] = Share(limit)
            share.used_at = self.clock()
        share.limit = limit
        return share

    async def find(self, share: Share, units: int) -> bool:
        """Wait until the share has so much or is known not to get it; False: nobody can tell."""
        begun = self.clock()
        while not share.has(units, self.clock()) and not share.refused(units, self.clock()):
            share.request(units, self.clock())
            if not await self._exchanged():
                return False
            answer = share.answer
            now = self.clock()
            if share.has(units, now) or answer is None or answer.elsewhere + share.room < units:
                break
            if now - begun >= PATIENCE_SECONDS:
                break
            await asyncio.sleep(AGAIN_SECONDS)
        return True

    async def _exchanged(self) -> bool:
        """Wait for an exchange that begins from now on; False when it fails."""
        if self.clock() < self._down_until:
            return False
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        awaited = self._round
        self._wanted.set()
        done, _ = await asyncio.wait({awaited}, timeout=ANSWER_SECONDS)
        return bool(done) and awaited.result()

    async def _talk(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            self._running, self._round = self._round, None
            self._end_round(done=await self._exchange())

    def _end_round(self, *, done: bool) -> None:
        """Wake the requests that waited for an exchange."""
        running, self._running = self._running, None
        if running is not None:
            running.set_result(done)

    async def _exchange(self) -> bool:
        now = self.clock()
        asks = {
            id_: share.ask(self._gateway, now)
            for id_, share in self._shares.items()
            if share.is_due(now)
        }
        self._forget_idle(now)
        if not asks:
            return True
        try:
            answers = await self._pools.exchange(asks)
        except Exception as error:  # a task that died would never give a share again
            self._failed(asks, error)
            return False
        self._down_until = 0.0
        for id_, answer in answers.items():
            self._shares[id_].heard(answer, now, self.clock())
        return True

    def _failed(self, asks: Iterable[PoolId], error: Exception) -> None:
        if not self._down_until:
            code = error.code if isinstance(error, StorageError) else type(error).__name__
            _log.warning("limits_not_exchanged", code=code)
        self.failures += 1
        self._down_until = self.clock() + DOWN_SECONDS
        for id_ in asks:
            self._shares[id_].failed()

    def _forget_idle(self, now: float) -> None:
        for id_ in [id_ for id_, share in self._shares.items() if share.is_idle(now)]:
            del self._shares[id_]
            self.forgotten += 1


__all__ = ["DOWN_SECONDS", "Leases"]
