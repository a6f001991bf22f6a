"""Which size an engine is to start with, given what was found out here before. Pure.

Less is taken in this order: context, requests at a time, and then, outside this module, the bits of
each weight. A size that ran out of memory rules out itself and all that are larger in both, so each
failure leaves fewer sizes to try, and with none left there is a refusal: there is no loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from garage_ai.catalog.planner import LEAST_CONTEXT

MORE_ROOM: Final = 1.1
"""With so many times the room that there was when a size failed, it is tried again: whatever held
the memory then is gone. Less of a difference is a browser's window."""

FORGET_SECONDS: Final = 30 * 86_400.0
"""A failure older than this is tried again: systems change in ways that no version shows."""


class Size(NamedTuple):
    """How much an engine takes on: tokens of context for each of so many requests at a time."""

    context: int
    slots: int

    def holds(self, other: "Size") -> bool:
        """Tell whether it is at least as large in both."""
        return self.context >= other.context and self.slots >= other.slots


class Failure(NamedTuple):
    """A size that ran out of memory, the bytes that were free without it, and seconds ago."""

    size: Size
    room: int | None = None
    ago: float = 0.0


class Ruled(NamedTuple):
    """Why a size is not tried: it ran out of memory, or (`needed`) takes more than there is."""

    size: Size
    needed: int | None = None
    room: int | None = None


class Choice(NamedTuple):
    """The size to start with, and why it is not the planned one, if it is not."""

    size: Size
    why: Ruled | None = None


def ladder(planned: Size) -> Iterator[Size]:
    """Give the planned size and smaller ones, each strictly smaller than the one before."""
    context, slots = planned
    least = min(LEAST_CONTEXT, context)
    yield planned
    while context > least:
        context = max(context // 2, least)
        yield Size(context, slots)
    while slots > 1:
        slots //= 2
        yield Size(context, slots)


def choose(
    planned: Size, failures: Sequence[Failure], peaks: Mapping[Size, int], room: int | None
) -> Choice | Ruled:
    """Give the largest size that nothing speaks against, or what speaks against the planned one.

    `peaks` are bytes that were measured at other starts, `room` the bytes that are free now, None
    where nobody can tell.
    """
    live = [each for each in failures if _counts(each, room)]
    why: Ruled | None = None
    for size in ladder(planned):
        ruled = _ruled(size, live, peaks, room)
        if ruled is None:
            return Choice(size, why)
        why = why or ruled
    if why is None:
        raise AssertionError("a ladder has at least one size, and each was taken or ruled out")
    return why


def _counts(failure: Failure, room: int | None) -> bool:
    if failure.ago > FORGET_SECONDS:
        return False
    return room is None or failure.room is None or room < failure.room * MORE_ROOM


def _ruled(
    size: Size, failures: Sequence[Failure], peaks: Mapping[Size, int], room: int | None
) -> Ruled | None:
    for failure in failures:
        if size.holds(failure.size):
            return Ruled(failure.size)
    # What a smaller size took, a larger one takes at least.
    needed = max((peak for known, peak in peaks.items() if size.holds(known)), default=0)
    if room is not None and needed > room:
        return Ruled(size, needed, room)
    return None


__all__ = ["FORGET_SECONDS", "MORE_ROOM", "Choice", "Failure", "Ruled", "Size", "choose", "ladder"]
