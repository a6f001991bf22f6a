"""The hours in which a node serves, by the clock on the wall. Pure.

    mon-fri 22:00-07:00; sat,sun 00:00-24:00

A window that ends before it begins goes over midnight and belongs to the day it begins on. Without
days it holds every day. Days may be Swedish. By the clock on the wall: in the night when clocks are
set forward a window within the hour left out does not come, and in the night when they are set
back one within the hour repeated comes twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from garage_ai.node.errors import NotPossible

_DAY: Final = 24 * 60
_NAMES: Final = (
    ("mon", "mån"),
    ("tue", "tis"),
    ("wed", "ons"),
    ("thu", "tor"),
    ("fri", "fre"),
    ("sat", "lör"),
    ("sun", "sön"),
)
_DAYS: Final = {name: day for day, names in enumerate(_NAMES) for name in names}
_HOURS: Final = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of a day, from `start` up to but without `end`, on these weekdays (Monday is 0)."""

    days: frozenset[int]
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Tell whether a minute of a weekday lies in it."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows in which the node may serve; none at all means always."""

    windows: tuple[Window, ...] = ()

    def is_open(self, at: datetime) -> bool:
        """Tell whether the node may serve at a local time."""
        if not self.windows:
            return True
        minute = at.hour * 60 + at.minute
        return any(window.holds(at.weekday(), minute) for window in self.windows)


def schedule(text: str) -> Schedule:
    """Read a schedule. Raises: NotPossible."""
    if len(text) > _MAX_TEXT:
        raise NotPossible("The hours are too long a text.")
    parts = [part.strip() for part in text.lower().split(";")]
    return Schedule(tuple(_window(part) for part in parts if part))


def _window(text: str) -> Window:
    days, hours = "", text
    if " " in text and not text[0].isdigit():
        days, hours = text.split(" ", 1)
    found = _HOURS.fullmatch(hours.strip())
    if found is None:
        raise _bad(text)
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    start, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if from_minute > 59 or to_minute > 59 or start >= _DAY or end > _DAY or start == end:
        raise _bad(text)
    return Window(frozenset(_days(days, text)), start, end)


def _days(words: str, text: str) -> Iterator[int]:
    if not words:
        yield from range(7)
        return
    for word in words.split(","):
        first, dash, last = word.partition("-")
        try:
            begin, end = _DAYS[first], _DAYS[last if dash else first]
        except KeyError:
            raise _bad(text) from None
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _bad(text: str) -> NotPossible:
    return NotPossible(
        "{text!r} are not hours; write them as 'mon-fri 22:00-07:00; sat,sun 00:00-24:00'.",
        text=text,
    )


__all__ = ["Schedule", "Window", "schedule"]
