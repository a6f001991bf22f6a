"""Look after batches from their submission to their end, and after files that nobody needs.

Workers do the items; all else that becomes of a batch happens here, in any gateway.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Self

import structlog

from garage_ai.batch.files import Files
from garage_ai.batch.finalising import Finalising
from garage_ai.batch.holding import Hold, HoldLost
from garage_ai.batch.validation import Validation
from garage_ai.storage import Storage

_log = structlog.get_logger(__name__)

AT_ONCE: Final = 4
"""Batches that are looked after at the same time, so that a large one keeps none waiting."""
VALIDATED_AT_ONCE: Final = AT_ONCE - 1
"""New batches among them: the ends of others do not wait for those."""
LOOK_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 10.0
_AFTER_FAILURE: Final = timedelta(seconds=10)


class Keeper:
    """Does what is due; `failures` counts what had to be put off."""

    def __init__(
        self, storage: Storage, files: Files, validation: Validation, finalising: Finalising
    ) -> None:
        self.failures = 0
        self.on_step: Callable[[], None] = lambda: None
        """Told when a batch has come a step on, so that its items may begin."""
        self._storage = storage
        self._files = files
        self._validation = validation
        self._finalising = finalising
        self._wanted = asyncio.Event()
        self._working: dict[asyncio.Task[None], Hold] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def working(self) -> int:
        """How many batches are looked after now."""
        return len(self._working)

    def start(self) -> Self:
        """Begin to look; `close` ends that."""
        self._tasks = [
            asyncio.create_task(self._watch(), name="batch-keeper"),
            asyncio.create_task(self._sweep_often(), name="batch-sweeper"),
        ]
        return self

    def wake(self) -> None:
        """Look at once: something has changed."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop; what is under way is let go, and another gateway goes on with it."""
        tasks = {*self._tasks, *self._working}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311
                    await self._wanted.wait()
            self._wanted.clear()
            await self._tried(self._look)

    async def _sweep_often(self) -> None:
        """Beside the rest: a store that does not answer takes its time with each file."""
        while True:
            await self._tried(self._sweep)
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311

    async def _look(self) -> None:
        """Begin with all that is due, as much as may be at once."""
        while len(self._working) < AT_ONCE:
            new = sum(hold.batch.status == "validating" for hold in self._working.values())
            hold = await Hold.claim(self._storage, validating=new < VALIDATED_AT_ONCE)
            if hold is None:
                return
            task = asyncio.create_task(self._look_after(hold), name=f"keep-{hold.batch.id}")
            self._working[task] = hold
            task.add_done_callback(self._done)

    async def _sweep(self) -> None:
        await self._finalising.release_late()
        while await self._files.sweep():
            pass

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._working[task]
        self.wake()
        self.on_step()

    async def _look_after(self, hold: Hold) -> None:
        try:
            if not await self._tried(lambda: hold.keep_while(self._step(hold))):
                await self._tried(lambda: hold.let_go(again_in=_AFTER_FAILURE))
        except HoldLost:
            # Cancelled meanwhile, if nobody else has it: whoever is first goes on with that.
            await self._tried(hold.let_go)
        except asyncio.CancelledError:
            await self._tried(hold.let_go)
            raise

    async def _step(self, hold: Hold) -> None:
        match hold.batch.status:
            case "validating":
                await self._validation.run(hold)
            case "in_progress" | "finalizing" | "cancelling":
                await self._finalising.run(hold)
            case _:
                await self._finalising.clear(hold)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do it, or put it off: a keeper that died would leave every batch as it is.

        Raises: HoldLost.
        """
        try:
            await work()
        except HoldLost:
            raise
        except Exception as error:
            self.failures += 1
            code = getattr(error, "code", type(error).__name__)
            _log.warning("batch_put_off", code=code)
            return False
        return True


__all__ = ["Keeper"]
