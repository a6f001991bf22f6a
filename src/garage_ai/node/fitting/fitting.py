"""Chooses the size an engine starts with, and remembers what became of it: shell around `sizes`.

Asked before every start, so that a first start after a restart of the PC knows what the last one
found out. What was measured takes the formula's place.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

import structlog

from garage_ai.node.errors import DoesNotFit
from garage_ai.node.fitting.book import Book, Failed, Peak, Subject
from garage_ai.node.fitting.machines import Machine
from garage_ai.node.fitting.signs import kills_so_far, ran_out
from garage_ai.node.fitting.sizes import Ruled, Size, choose
from garage_ai.node.fitting.words import other_form, refusal, smaller
from garage_ai.node.guard.words import NOTHING, Sentence
from garage_ai.node.hardware.families import families
from garage_ai.wire.ids import Digest

_log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 5.0
"""Longest look at memory; a driver that hangs keeps no engine from starting."""

_TAKEN: Final = 256 * 1024 * 1024
"""Bytes that others hold more than before a start; less of a difference is a window's."""

T = TypeVar("T")


class Fitting:
    """What one engine may take on. `takes_all`: it reserves what it is given, like vLLM on a card.

    Of such an engine the measured peak says nothing about the least it needs, and where others took
    memory meanwhile a smaller size would need no less: its next plan leaves them what they have.
    `meant` is the model that was to be served, where it may be another one that is.
    """

    def __init__(
        self,
        book: Book,
        machine: Machine,
        engine: str,
        *,
        takes_all: bool = False,
        meant: str = "",
        clock: Callable[[], float] = time.time,
        kills: Callable[[], int] = kills_so_far,
    ) -> None:
        self._book = book
        self._machine = machine
        self._engine = engine
        self._takes_all = takes_all
        self._clock = clock
        self._count_kills = kills
        self._kills = kills()
        self._model = ""
        self._subject = self._subject_of(Digest(""))
        self._planned = self._size = Size(1, 1)
        self._room: int | None = None
        self._first_model = meant
        self._looking: asyncio.Future[Any] | None = None
        self.why: Sentence = NOTHING
        """Why less is served than was planned, or nothing at all; empty where all of it is."""

    @property
    def planned(self) -> Size:
        """The size that was planned."""
        return self._planned

    @property
    def peak(self) -> Peak | None:
        """What was measured here of the present size."""
        return self._book.peaks_of(self._subject).get(self._size)

    async def begin(self, model: str, digest: Digest, planned: Size) -> Size:
        """Choose the size to start with. Raises: DoesNotFit when there is none left."""
        self._subject = self._subject_of(digest)
        self._model, self._planned = model, planned
        self._first_model = self._first_model or model
        room = self._room = await self._ask(self._machine.room)
        failures = self._book.failures_of(self._subject, self._clock())
        known = {} if self._takes_all else self._book.peaks_of(self._subject)
        found = choose(planned, failures, {size: each.peak for size, each in known.items()}, room)
        if isinstance(found, Ruled):
            self.why = refusal(model, found)
            raise DoesNotFit(self.why.en)
        self._size = found.size
        self.why = NOTHING if found.why is None else smaller(planned, found.size, found.why)
        if model != self._first_model:
            self.why = other_form(self._first_model, model)
        if found.why is not None:
            _log.warning("engine_smaller", engine=self._engine, why=self.why.en)
        self._kills = self._count_kills()
        return found.size

    async def ended(self, code: int | None, *, said: bool, killed_by_us: bool) -> bool:
        """Learn how the engine ended; True if it was for want of memory."""
        kills = self._count_kills() - self._kills
        if not ran_out(code, said=said, killed_by_us=killed_by_us, kills=kills):
            return False
        context, slots = self._size
        room = await self._ask(self._machine.room)
        _log.warning("out_of_memory", engine=self._engine, context=context, slots=slots, room=room)
        if self._takes_all and self._is_less(room):
            return True
        found = Failed(
            subject=self._subject, context=context, slots=slots, at=self._clock(), room=room
        )
        await asyncio.to_thread(self._book.failed, found)
        return True

    async def nobody_took(self) -> bool:
        """Tell whether it is certain, once the engine has ended, that others hold no more."""
        room = await self._ask(self._machine.room)
        return room is not None and not self._is_less(room)

    def _is_less(self, room: int | None) -> bool:
        return room is not None and room + _TAKEN < (self._room or 0)

    async def measure(self, pids: Collection[int], *, full: bool = False) -> None:
        """Note what the engine holds; `full` after a request of its whole context."""
        # What the kernel killed before this moment, the engine has outlived.
        self._kills = self._count_kills()
        held = await self._ask(lambda: self._machine.held(families(pids)))
        if held is not None:
            context, slots = self._size
            peak = Peak(
                subject=self._subject,
                context=context,
                slots=slots,
                peak=held,
                at=self._clock(),
                full=full,
                model=self._model,
            )
            await asyncio.to_thread(self._book.measured, peak)

    async def _ask(self, look: Callable[[], T]) -> T | None:
        """Look in a thread; None while an earlier look has not come back."""
        if self._looking is not None and not self._looking.done():
            return None
        looking = asyncio.ensure_future(asyncio.to_thread(look))
        self._looking = looking
        await asyncio.wait({looking}, timeout=_LOOK_SECONDS)
        return looking.result() if looking.done() else None

    def _subject_of(self, digest: Digest) -> Subject:
        machine = self._machine
        return Subject(machine.device[:400], machine.driver[:400], self._engine[:400], digest)


__all__ = ["Fitting"]
