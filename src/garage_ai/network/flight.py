"""The shell around one attempt: its packets out, its bytes to the one who reads them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from garage_ai.network.attempt import Attempt, Step, Verdict
from garage_ai.network.models import Replica
from garage_ai.network.replies import StreamReader
from garage_ai.network.waiting import Turn
from garage_ai.wire.frames import SIGN_SECONDS, Packet, credit_packet
from garage_ai.wire.subjects import NodeChannel

PROBE_SECONDS: Final = 0.5
"""After so long without a frame the server is asked, with a sign of life, whether a node is there.

A node that works is heard every second at least, so it is asked about once a second at most. One
whose process was killed is found out within this time and a sweep, not only by its silence.
"""
_AT_AN_END: Final = ("answered", "cancelled")
"""Ends after which nobody need go on."""
_TURNED_AWAY: Final = ("busy", "away")
MEASURED_EVENTS: Final = 8
MEASURED_SECONDS: Final = 0.05
"""A stream shorter than this says more about the line than about the node."""


class Send(Protocol):
    """How a flight's packets leave; with `asks` the server tells when nobody hears them."""

    def __call__(
        self, flight: "Flight", channel: NodeChannel, packet: Packet, *, asks: bool = False
    ) -> None:
        """Send a packet without waiting."""


class Flight:
    """An attempt under way, and the bytes that wait for the client.

    At most one credit window of a node's data waits here: credit is given only for what was taken.
    `turn` is the one in which its request found room.
    """

    __slots__ = (
        "_chunks",
        "_on_over",
        "_send",
        "_waiter",
        "attempt",
        "check_at",
        "committed",
        "committed_at",
        "life",
        "replica",
        "session",
        "signed_at",
        "turn",
        "verdict",
    )

    def __init__(
        self,
        attempt: Attempt,
        replica: Replica,
        send: "Send",
        on_over: Callable[["Flight"], None],
        *,
        turn: Turn,
    ) -> None:
        self.attempt = attempt
        self.replica = replica
        self.session = replica.node.session
        self.life = replica.node.life
        self.verdict: Verdict | None = None
        self.committed = False
        self.committed_at = 0.0
        self.check_at = attempt.due
        self.signed_at = attempt.begun
        self.turn = turn
        self._send = send
        self._on_over = on_over
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def apply(self, step: Step) -> None:
        """Carry out what the attempt asks for."""
        for packet in step.send:
            self._send(self, "job", packet)
        for out, size in step.deliver:
            if out:
                self._chunks.append((out, size))
            else:
                self._credit(size)
        if step.verdict is not None:
            self._end(step.verdict)
        elif not self.committed and self._chunks and self.attempt.reader.has_content:
            self.committed = True
            self.committed_at = time.monotonic()
            self._wake()
        elif self.committed and (self._chunks or self.attempt.leaving):
            self._wake()

    async def settled(self) -> None:
        """Wait for the first content or the end; one who leaves meanwhile stops the work."""
        try:
            while not self.committed and self.verdict is None:
                await self._wait()
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def ended(self) -> None:
        """Wait for the end, and let what comes until then wait here."""
        while self.verdict is None:
            await self._wait()

    async def outruns(self, old: "Flight") -> bool:
        """Tell whether this has content before another flight has said all."""
        begun, ended = asyncio.ensure_future(self.settled()), asyncio.ensure_future(old.ended())
        try:
            await asyncio.wait({begun, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not begun.done() and old.verdict is not None and old.verdict.kind not in _AT_AN_END:
                await begun
        finally:
            begun.cancel()
            ended.cancel()
            await asyncio.gather(begun, ended, return_exceptions=True)
        return self.committed

    async def take(self) -> bytes:
        """Give all bytes that are there, waiting for some.

        Empty at the end, and where nothing is there of a node that will soon be stopped.
        """
        while not self._chunks:
            if self.verdict is not None or self.attempt.leaving:
                return b""
            await self._wait()
        out, taken = self._chunks.popleft()
        if self._chunks:  # several came since the last look
            taken += sum([size for _, size in self._chunks])
            out = b"".join([out, *[more for more, _ in self._chunks]])
            self._chunks.clear()
        self._credit(taken)
        return out

    def sign(self, now: float) -> None:
        """Tell the node, if that is due, that somebody still waits for its answer."""
        asks = now - self.attempt.last_frame >= PROBE_SECONDS
        if now - self.signed_at >= (PROBE_SECONDS if asks else SIGN_SECONDS):
            self.signed_at = now
            credit = credit_packet(self.attempt.id, self.attempt.credit())
            self._send(self, "credit", credit, asks=asks)

    def speed(self, now: float) -> float | None:
        """Give the stream's content events per second; None where it was too short to tell."""
        events, seconds = self.attempt.reader.seen.content_events, now - self.committed_at
        told = self.committed_at > 0 and events >= MEASURED_EVENTS and seconds >= MEASURED_SECONDS
        return (events - 1) / seconds if told else None

    @property
    def ttft(self) -> float | None:
        """Give the seconds to a stream's first content; None where the answer was no stream."""
        reader = self.attempt.reader
        if not isinstance(reader, StreamReader) or not reader.seen.content_events:
            return None
        return self.committed_at - self.attempt.begun

    def turn_after(self, now: float) -> Turn:
        """Give the turn in which its request looks on: the same if it was only turned away."""
        turned_away = self.verdict is not None and self.verdict.kind in _TURNED_AWAY
        return self.turn if turned_away else Turn(now)

    def gap_since(self, old: "Flight") -> float:
        """Give the seconds between the last of another flight's answer and the first of this."""
        return self.committed_at - old.attempt.last_data

    def leave(self) -> None:
        """Take back what waits here: whom it was for is gone."""
        if self._chunks:
            self.attempt.reader.retract(b"".join(out for out, _ in self._chunks))
            self._chunks.clear()

    def cancel(self) -> None:
        """End the attempt because nobody wants it; harmless when it is over."""
        self.apply(self.attempt.cancel())

    def _end(self, verdict: Verdict) -> None:
        self.verdict = verdict
        if verdict.kind == "answered" and not self.committed:
            self.committed = True
            self.committed_at = time.monotonic()
        self._wake()
        self._on_over(self)

    def _credit(self, size: int) -> None:
        if size == 0 or self.verdict is not None:
            return
        consumed = self.attempt.taken(size)
        if consumed is not None:
            self._send(self, "credit", credit_packet(self.attempt.id, consumed))

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            # Bounded by the attempt's own limits, which end it with a verdict.
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
