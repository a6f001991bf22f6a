"""What the owner has decided beforehand: a pause, hours, upload and energy."""

from collections.abc import Callable
from datetime import datetime

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.quantities import shown_size
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.schedule import schedule
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import sentence
from garage_ai.node.pauses import Pause


class OwnersPause:
    """Whether the owner has paused the node; a pause with an end ends by itself."""

    signal: SignalName = "owner"
    every = 2.0

    def __init__(self, pause: Callable[[], Pause | None]) -> None:
        self._pause = pause

    def wanted(self, limits: Limits) -> bool:  # noqa: ARG002 - the owner is always heard
        """Tell that it is always wanted."""
        return True

    async def read(self, limits: Limits) -> Finding:  # noqa: ARG002 - it has no limit
        """Look whether there is a pause."""
        return self.look()

    def look(self) -> Finding:
        """Look without waiting."""
        pause = self._pause()
        if pause is None:
            return FREE
        why = sentence("owner")
        if pause.until is not None:
            until = datetime.fromtimestamp(pause.until).astimezone()
            why = sentence("owner.until", until=f"{until:%Y-%m-%d %H:%M}")
        return Finding("busy", why, urgent=pause.now)


class Hours:
    """Whether the clock is within the owner's hours. Cannot fail."""

    signal: SignalName = "schedule"
    every = 5.0

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there are hours."""
        return bool(limits.schedule)

    async def read(self, limits: Limits) -> Finding:
        """Look at the clock on the wall."""
        local = datetime.fromtimestamp(self._wall()).astimezone()
        if schedule(limits.schedule).is_open(local):
            return FREE
        return Finding("busy", sentence("schedule", schedule=limits.schedule))


class Upload:
    """Whether the month's upload is used up. Fails closed."""

    signal: SignalName = "upload"
    every = 10.0

    def __init__(self, sent: Callable[[], int]) -> None:
        self._sent = sent

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return limits.max_upload is not None

    async def read(self, limits: Limits) -> Finding:
        """Compare what was sent with what may be."""
        limit, sent = limits.max_upload, self._sent()
        if limit is None or sent < limit:
            return FREE
        return Finding("busy", sentence("upload", sent=shown_size(sent), limit=shown_size(limit)))


class Energy:
    """Whether the day's or the month's kWh are used up. Fails closed where nothing tells them.

    `drawn` gives them (day, month), None where neither cards nor processor tell what they draw.
    """

    signal: SignalName = "energy"
    every = 10.0

    def __init__(self, drawn: Callable[[], tuple[float, float] | None]) -> None:
        self._drawn = drawn

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return limits.max_kwh_day is not None or limits.max_kwh_month is not None

    async def read(self, limits: Limits) -> Finding:
        """Compare what was drawn with what may be."""
        drawn = self._drawn()
        if drawn is None:
            return unknown(sentence("no_power"))
        allowed = (limits.max_kwh_day, limits.max_kwh_month)
        for key, used, limit in zip(("energy.day", "energy.month"), drawn, allowed, strict=True):
            if limit is not None and used >= limit:
                return Finding("busy", sentence(key, used=used, limit=limit))
        return FREE


__all__ = ["Energy", "Hours", "OwnersPause", "Upload"]
