"""Until there is room: an agent that starts beside a game waits for its end and plans anew."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from garage_ai.node.control import Ask, ControlServer
from garage_ai.node.engines.port import Engine
from garage_ai.node.errors import NodeError, NoRoom
from garage_ai.node.events import Event, State
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.pauses import Pause
from garage_ai.node.status import Status, waiting_status

_log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_WAIT: Final = 5.0
LONGEST_WAIT: Final = 120.0
"""Seconds between two plans: one may run a container to ask what the engine finds there."""


class Waiting:
    """Has an engine made once there is room, and hears its owner meanwhile.

    `first_wait` in seconds; it doubles, bounded, half of it by chance.
    """

    def __init__(
        self,
        folder: NodeFolder,
        record: Record,
        tell: Callable[[Event], None],
        *,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self._folder = folder
        self._record = record
        self._tell = tell
        self._first_wait = first_wait
        self._reason = ""
        self._started_at = time.time()
        self._ended = asyncio.Event()
        self.restart_asked = False

    async def engine(self, make: Callable[[], Coroutine[Any, Any, Engine]]) -> Engine | None:
        """Give the engine; None if the owner has ended the agent meanwhile.

        Raises: NodeError, NoRoom among them where there can never be any.
        """
        control = ControlServer(self._folder.run, self._act)
        seconds = self._first_wait
        try:
            while not self._ended.is_set():
                try:
                    engine = await unless(self._ended, make())
                    return None if self._ended.is_set() else engine
                except NoRoom as error:
                    if not error.reason:
                        raise
                    if not self._reason:
                        await control.start()
                    self._become(error.reason)
                await self._pause(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                seconds = min(2 * seconds, LONGEST_WAIT)
            return None
        finally:
            await control.stop()

    def _become(self, reason: str) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        _log.info("waits_for_room", reason=reason)
        self._tell(State("joining", reason, ()))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def _act(self, ask: Ask) -> Status:
        """Do what the owner asks. What is kept in the folder counts once the engine is there."""
        if ask.op in ("stop", "restart"):
            self.restart_asked = ask.op == "restart"
            self._ended.set()
        elif ask.op == "pause":
            self._folder.pause_at_once(ask.pause or Pause())
        elif ask.op == "resume":
            self._folder.pause = None
        elif ask.op in ("drain", "rotate"):
            raise NodeError("{error}", error=self._reason)
        return waiting_status(self._record, self._reason, self._started_at)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do the work, unless asked to stop meanwhile; None then."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        task.cancel()
        stopped.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


__all__ = ["FIRST_WAIT", "LONGEST_WAIT", "Waiting", "unless"]
