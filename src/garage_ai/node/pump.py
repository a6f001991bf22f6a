"""Carry one attempt: the request to the engine, the answer into packets as credit allows."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from garage_ai.node.engines.port import Answer, Engine
from garage_ai.node.exchange import Exchange
from garage_ai.node.speeds import Pace
from garage_ai.node.sse import EventCutter, says_done
from garage_ai.wire.frames import MAX_DATA, Data, End, Frame, Head, Packet

MAX_COMPLAINT: Final = MAX_DATA
"""Bytes of an engine's error answer that go on."""

LINGER_SECONDS: Final = 1.0
"""After its last event a stream has so long to end; then its connection is not used again."""

_REFUSED: Final = 300
_EVENTS: Final = "text/event-stream"


class Outlet(Protocol):
    """Where the packets of all attempts go."""

    def send(self, subject: str, packet: Packet) -> None:
        """Send a packet without waiting. Raises: LinkError."""

    async def relief(self) -> None:
        """Wait while far too much waits to be sent; returns at once when not."""


class Pump:
    """One attempt under way.

    `said` is called when the engine has said all, before that is told; `paced` just before, with
    the pace of a stream that came to its end.
    """

    __slots__ = ("_clock", "_credit", "_engine", "_outlet", "_pace", "_paced", "_said", "exchange")

    def __init__(
        self,
        exchange: Exchange,
        engine: Engine,
        outlet: Outlet,
        *,
        said: Callable[[Exchange], None],
        paced: Callable[[Exchange, Pace], None],
        clock: Callable[[], float],
    ) -> None:
        self.exchange = exchange
        self._engine = engine
        self._outlet = outlet
        self._said = said
        self._paced = paced
        self._pace = Pace()
        self._clock = clock
        self._credit: asyncio.Event | None = None

    def credited(self) -> None:
        """Go on after a credit."""
        if self._credit is not None:
            self._credit.set()

    async def run(self) -> None:
        """Put the request to the engine and send its answer. Raises: EngineError, LinkError."""
        exchange = self.exchange
        body = exchange.body
        exchange.forget_body()
        answer = await self._engine.ask(
            exchange.route,
            body,
            offer=exchange.offer,
            stream=exchange.stream,
            salt=exchange.salt,
            priority=exchange.priority,
        )
        try:
            if exchange.stream and answer.status < _REFUSED and _EVENTS in answer.content_type:
                await self._events(answer)
            else:
                await self._whole(answer)
        finally:
            answer.close()

    async def _events(self, answer: Answer) -> None:
        """Send what each read gave, whole events only, in one packet where it fits."""
        cutter = EventCutter()
        pace = self._pace
        head: tuple[Frame, ...] = (Head(answer.status, answer.content_type),)
        while True:
            chunk = await answer.read()
            now = self.exchange.last_heard = self._clock()
            ended = answer.at_end
            events = cutter.feed(chunk)
            if ended:
                events += cutter.rest()
            last = ended or says_done(events)
            if events or last:
                pace.read(events, now, last=last)
                if last:
                    self._paced(self.exchange, pace)
                await self._send(head, events, last=last)
                head = ()
            if last:
                break
        if not ended:
            await self._linger(answer)

    async def _whole(self, answer: Answer) -> None:
        """Send an answer that is no stream of events, bounded if it is a complaint."""
        head: tuple[Frame, ...] = ()
        room = MAX_COMPLAINT
        first = True
        while True:
            chunk = await answer.read()
            self.exchange.last_heard = self._clock()
            last = answer.at_end
            if first:
                head = (Head(answer.status, answer.content_type),)
                first = False
            if answer.status >= _REFUSED:
                chunk = chunk[:room]
                room -= len(chunk)
                last = last or room == 0
            if last and answer.pace is not None:
                self._paced(self.exchange, answer.pace)
            await self._send(head, chunk, last=last)
            head = ()
            if last:
                return

    async def _send(self, head: tuple[Frame, ...], data: bytes, *, last: bool) -> None:
        """Send data in as few packets as they need, each when there is credit for it."""
        exchange = self.exchange
        frames = head
        start, size = 0, len(data)
        while start < size:
            part = data if size <= MAX_DATA else data[start : start + MAX_DATA]
            start += len(part)
            if exchange.room < len(part):
                await self._wait_for_room(len(part))
            frames = (*frames, Data(part))
            if start < size:
                self._publish(frames)
                frames = ()
                await self._outlet.relief()
        if last:
            frames = (*frames, End())
            self._said(exchange)
        if frames:
            self._publish(frames)
        if last:
            exchange.end()
        else:
            await self._outlet.relief()

    def _publish(self, frames: tuple[Frame, ...]) -> None:
        exchange = self.exchange
        self._outlet.send(exchange.reply, exchange.pack(self._clock(), *frames))

    async def _wait_for_room(self, size: int) -> None:
        """Wait for credit; this attempt alone waits, and the ticker keeps saying that it lives."""
        exchange = self.exchange
        event = self._credit = asyncio.Event()
        exchange.blocked = True
        self._pace.stalled()
        while exchange.room < size:
            await event.wait()
            event.clear()
        exchange.blocked = False
        exchange.last_heard = self._clock()
        self._credit = None

    async def _linger(self, answer: Answer) -> None:
        """Read to the end of a stream that said its last event, so that its connection is kept."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not answer.at_end and await answer.read():
                    pass
        except TimeoutError:
            return


__all__ = ["MAX_COMPLAINT", "Outlet", "Pump"]
