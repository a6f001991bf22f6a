"""What this rig's cards hold for its group: looked at again whenever no gang has them.

A part that has ended may have done so because less was free than was told, so nothing begins before
the next look. Where a part ran out of memory all the same, less is told for a while.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.errors import EngineError, NoRoom, NotPossible
from garage_ai.node.fitting.signs import CARD_FULL, NO_CACHE, lacked_at_first
from garage_ai.node.group.by_cards import cards_of
from garage_ai.node.group.messages import Card

_log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 60.0
"""Between two looks while no gang can be made."""

_FRESH_SECONDS: Final = 10.0
_REST: Final = 10.0
"""Looking takes at most so small a part of the time, where PyTorch has to be asked."""

_STEP: Final = 0.05
"""Of a card's room, told less after each failure for want of memory."""

_MOST: Final = 4
"""Failures that count."""

_FORGET_SECONDS: Final = 3600.0

Look = Callable[[], Awaitable[VllmOptions]]
"""Reads what the cards hold by now. Raises: NotPossible, EngineError."""


class Lending:
    """What this rig is run with and has to lend; `look` None for what does not change."""

    def __init__(self, options: VllmOptions, look: Look | None = None) -> None:
        self.lacks = ""
        """Why nothing can be lent now; empty while something can."""
        self._planned = options
        self._look = look
        self._failures: deque[tuple[float, bool]] = deque(maxlen=_MOST)
        self._looked_at = time.monotonic()
        self._due_at = self._looked_at + AGAIN_SECONDS
        self._task: asyncio.Task[None] | None = None

    @property
    def options(self) -> VllmOptions:
        """How this rig's part is run, before it has its place."""
        share = self._planned.memory_share
        full = sum(full for _, full in self._recent)
        if share is None or not full:
            return self._planned
        return replace(self._planned, memory_share=round(share * (1 - _STEP * full), 2))

    @property
    def cards(self) -> tuple[Card, ...]:
        """What the other rigs are told."""
        if self._planned.lent is None:
            return ()
        left = 1 - _STEP * len(self._recent)
        told = cards_of(self._planned.lent)
        return tuple(Card(each.name, int(each.room * left), each.compute) for each in told)

    @property
    def _recent(self) -> list[tuple[float, bool]]:
        since = time.monotonic() - _FORGET_SECONDS
        return [each for each in self._failures if each[0] > since]

    def ended(self, cause: str = "") -> None:
        """Take note that a part has ended, and, if by itself, what its engine said of that."""
        self._due_at = 0.0
        full = CARD_FULL.search(cause) is not None or lacked_at_first(cause) > 0
        if full or NO_CACHE.search(cause):
            # vLLM fills what it is given: where the card itself was full it must be given less.
            self._failures.append((time.monotonic(), full))
            _log.warning("rig_lends_less", failures=len(self._recent), detail=cause[:200])

    def doubt(self) -> None:
        """Take what was seen for out of date, unless it was seen just now."""
        if time.monotonic() - self._looked_at > _FRESH_SECONDS:
            self._due_at = 0.0

    def begin(self, done: Callable[[], None]) -> bool:
        """Begin to look, if that is due, and tell whether; `done` is called whatever comes of it.

        To be called only while nothing of a gang runs here, nor can begin until it is done.
        """
        if self._look is None or time.monotonic() < self._due_at:
            return False
        self._task = asyncio.create_task(self._see(self._look), name="group-look")
        self._task.add_done_callback(lambda _: done())
        return True

    def break_off(self) -> None:
        """Look no more: the owner wants his cards."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Look no more, and wait for the end of it."""
        self.break_off()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _see(self, look: Look) -> None:
        began = time.monotonic()
        try:
            self._planned = await look()
            self.lacks = ""
        except (NotPossible, EngineError) as error:
            self.lacks = (error.reason if isinstance(error, NoRoom) else "") or str(error)
            _log.warning("rig_lends_nothing", detail=self.lacks)
        except Exception:  # what was known is all there is
            _log.exception("group_look_broke")
        self._looked_at = time.monotonic()
        took = self._looked_at - began
        self._due_at = self._looked_at + max(AGAIN_SECONDS, _REST * took)


__all__ = ["AGAIN_SECONDS", "Lending", "Look"]
