"""What the node has sent this month, and made and drawn today: counted, and kept over restarts."""

import json
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from garage_ai.wire.secret_files import SecretFileError, read_secret, replace_secret

_log = structlog.get_logger(__name__)

TALLY: Final = "tally.json"
KEEP_SECONDS: Final = 60.0
"""Between two times that it is written down; what a kill -9 loses."""

LONGEST_GAP: Final = 30.0
"""Seconds between two readings of the power beyond which nothing is claimed about the time."""

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class Tally(msgspec.Struct, frozen=True):
    """Sums of a month and of a day, by the clock on the wall: bytes, tokens, kWh and kronor.

    `kronor` covers the part of `kwh` whose price was known, `priced`.
    """

    month: str = ""
    sent: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    kwh_in_month: Amount = 0.0
    day: str = ""
    tokens: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    kwh: Amount = 0.0
    priced: Amount = 0.0
    kronor: Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)] = 0.0


_tallies: Final = msgspec.json.Decoder(Tally)


class Book:
    """The running tally of one node."""

    def __init__(self, folder: Path, *, wall: Callable[[], float]) -> None:
        self._path = folder / TALLY
        self._wall = wall
        self._tally = _read(self._path)
        self._kept = self._tally
        self._keeping = threading.Lock()
        self._drawn_at: float | None = None

    @property
    def now(self) -> Tally:
        """The sums of this month and this day."""
        local = datetime.fromtimestamp(self._wall()).astimezone()
        month, day = f"{local:%Y-%m}", f"{local:%Y-%m-%d}"
        tally = self._tally
        if tally.month != month:
            tally = msgspec.structs.replace(tally, month=month, sent=0, kwh_in_month=0)
        if tally.day != day:
            tally = msgspec.structs.replace(tally, day=day, tokens=0, kwh=0, priced=0, kronor=0)
        return tally

    def sent(self, count: int) -> None:
        """Add bytes that went to the network."""
        tally = self.now
        self._tally = msgspec.structs.replace(tally, sent=tally.sent + count)

    def made(self, tokens: int) -> None:
        """Add tokens of an answer."""
        tally = self.now
        self._tally = msgspec.structs.replace(tally, tokens=tally.tokens + tokens)

    def drawing(self, watts: float | None, price: float | None, at: float) -> None:
        """Take what is drawn at a moment, None where nothing counts, and what a kWh costs."""
        before, self._drawn_at = self._drawn_at, at if watts is not None else None
        if watts is None or before is None or not 0 < at - before <= LONGEST_GAP:
            return
        tally = self.now
        kwh = watts * (at - before) / 3.6e6
        cost = {} if price is None else {"priced": kwh, "kronor": kwh * price}
        changes = {"kwh": kwh, "kwh_in_month": kwh, **cost}
        summed = {name: getattr(tally, name) + change for name, change in changes.items()}
        self._tally = msgspec.structs.replace(tally, **summed)

    def keep(self) -> None:
        """Write it down if it has changed; a disk that is full loses the count and nothing else.

        It may be slow too, so this may be done in a thread: what is written last is the newest.
        """
        with self._keeping:
            tally = self.now
            if tally == self._kept:
                return
            try:
                replace_secret(self._path, json.dumps(msgspec.to_builtins(tally)) + "\n")
            except (OSError, SecretFileError) as error:
                _log.warning("tally_not_kept", detail=str(error))
                return
            self._kept = tally


def _read(path: Path) -> Tally:
    try:
        return _tallies.decode(read_secret(path))
    except (SecretFileError, msgspec.MsgspecError):
        return Tally()


__all__ = ["KEEP_SECONDS", "LONGEST_GAP", "TALLY", "Book", "Tally"]
