"""What was found out about memory on this PC: peaks that were measured, sizes that did not fit.

`memory.json` in the node's folder; whoever holds the folder's lock writes it. A file that is not
whole is begun anew: what it held is found out again.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import structlog

from garage_ai.node.fitting.sizes import Failure, Size
from garage_ai.wire.ids import Digest
from garage_ai.wire.secret_files import SecretFileError, SecretMissing, read_secret, replace_secret

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")

FILE: Final = "memory.json"
PROCESSOR: Final = "cpu: "
"""How the device of an engine without cards begins."""

KEPT: Final = 64
"""Of each kind; a file for the owner alone may have 64 KiB."""
NOTABLE: Final = 1.01
"""A peak that grows by less is not written anew: a process's memory moves with every minute."""

_Text = Annotated[str, msgspec.Meta(max_length=400)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class Subject(msgspec.Struct, frozen=True):
    """What a figure holds for: on another card, driver, engine or model nothing is known by it."""

    device: _Text
    driver: _Text
    engine: _Text
    digest: _Text


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The most bytes an engine held at a size; `full` after a request of the whole context.

    `at` is in seconds since 1970; `model` is for the owner's eyes.
    """

    subject: Subject
    context: _Count
    slots: _Count
    peak: _Bytes
    at: float
    full: bool = False
    model: _Text = ""

    @property
    def on_cards(self) -> bool:
        """Whether it is cards' memory that was held."""
        return not self.subject.device.startswith(PROCESSOR)


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A size that ran out of memory, and the bytes that were free when it was gone."""

    subject: Subject
    context: _Count
    slots: _Count
    at: float
    room: _Bytes | None = None


class _Pages(msgspec.Struct, frozen=True):
    peaks: Annotated[tuple[Peak, ...], msgspec.Meta(max_length=KEPT)] = ()
    failed: Annotated[tuple[Failed, ...], msgspec.Meta(max_length=KEPT)] = ()


_decoder: Final = msgspec.json.Decoder(_Pages)


class Book:
    """The notes of one node's folder; a disk may be slow, so they may be made in a thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._pages = self._read()
        self._noting = threading.Lock()

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """Everything that was measured, the newest last."""
        return self._pages.peaks

    def knows(self, digest: Digest) -> bool:
        """Tell whether a model was measured here, on whatever it ran."""
        return any(each.subject.digest == digest for each in self._pages.peaks)

    def peaks_of(self, subject: Subject) -> dict[Size, Peak]:
        """Give what was measured, by size."""
        found = (each for each in self._pages.peaks if each.subject == subject)
        return {Size(each.context, each.slots): each for each in found}

    def failures_of(self, subject: Subject, now: float) -> list[Failure]:
        """Give what did not fit."""
        return [
            # A clock that was set back makes no failure one of the future.
            Failure(Size(each.context, each.slots), each.room, max(0.0, now - each.at))
            for each in self._pages.failed
            if each.subject == subject
        ]

    def measured(self, peak: Peak) -> None:
        """Note a peak; of one size the larger is kept, and what was seen of a whole context."""
        with self._noting:
            before = self.peaks_of(peak.subject).get(Size(peak.context, peak.slots))
            if before is not None:
                peak = msgspec.structs.replace(
                    peak, peak=max(peak.peak, before.peak), full=peak.full or before.full
                )
                if peak.full == before.full and peak.peak <= before.peak * NOTABLE:
                    return
            others = _without(self._pages.peaks, lambda each: _same(each, peak))
            self._write(msgspec.structs.replace(self._pages, peaks=(*others, peak)[-KEPT:]))

    def failed(self, failed: Failed) -> None:
        """Note that a size ran out of memory: what was measured of it is not all it takes."""
        with self._noting:
            others = _without(self._pages.failed, lambda each: _same(each, failed))
            peaks = _without(self._pages.peaks, lambda each: _same(each, failed))
            self._write(_Pages(peaks, (*others, failed)[-KEPT:]))

    def _read(self) -> _Pages:
        try:
            return _decoder.decode(read_secret(self._path))
        except SecretMissing:
            return _Pages()
        except (SecretFileError, msgspec.MsgspecError, RecursionError) as error:
            _log.warning("memory_notes_unreadable", detail=str(error)[:200])
            return _Pages()

    def _write(self, pages: _Pages) -> None:
        self._pages = pages
        try:
            replace_secret(self._path, msgspec.json.encode(pages).decode() + "\n")
        except OSError as error:
            # A full disk keeps no engine from serving; the next start finds it out again.
            _log.warning("memory_notes_unkept", detail=str(error)[:200])


def _same(one: Peak | Failed, other: Peak | Failed) -> bool:
    return (one.subject, one.context, one.slots) == (other.subject, other.context, other.slots)


def _without(notes: tuple[_T, ...], same: Callable[[_T], bool]) -> tuple[_T, ...]:
    return tuple(each for each in notes if not same(each))


__all__ = ["FILE", "KEPT", "PROCESSOR", "Book", "Failed", "Peak", "Subject"]
