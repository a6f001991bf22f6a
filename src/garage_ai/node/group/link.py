"""One link between two rigs: signed messages, and how long and how wide the way is."""

import asyncio
from collections import deque
from collections.abc import Callable
from statistics import median_high
from typing import Final

import msgspec

from garage_ai.aio import cleanup_timeout
from garage_ai.node.group.errors import BadPeer
from garage_ai.node.group.handshake import PROOF, Handshake, Role, hello
from garage_ai.node.group.messages import (
    MAX_MESSAGE,
    Bulk,
    Came,
    Measured,
    Message,
    Ping,
    Pong,
    decode,
    encode,
)
from garage_ai.wire.ids import NodeId

HANDSHAKE_SECONDS: Final = 5.0
PING_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 7.0
"""Without a word for so long the other rig is lost: a busy PC may be late, and cards are to be free
within ten seconds. One whose agent dies is lost at once, since its link is closed."""

BULK_BYTES: Final = 16 * 1024 * 1024
"""Sent once in each direction, one after the other, to see how wide the way is: 130 ms at 1 Gbit/s.
"""

READ_LIMIT: Final = 1024 * 1024
"""For readers of links: with asyncio's own a bulk is read in steps so small that they show."""

BULK_SECONDS: Final = 15.0
"""Longest wait for the next part of a bulk to go out; all of it takes the time that it takes."""

_CHUNK: Final = bytes(256 * 1024)
_MAX_WAITING: Final = 1024 * 1024
_MAX_HELD: Final = 1000
"""Messages that wait for the end of a bulk; in its seconds a rig says some dozens."""

_PINGS: Final = 10
"""The shortest of so many round trips counts: the others met something on their way. If all did, as
where a PC was busy, later ones show it. Of those the middle one counts: the shortest of very many
would be a lucky one, which says nothing of a radio link."""

_CLEARLY: Final = 0.8
"""So much shorter have later round trips to be, for what was measured to be told anew."""


class Link:
    """A link after its handshake. `heard` gets each message that is not the link's own business."""

    def __init__(
        self,
        shaken: Handshake,
        role: Role,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.node = shaken.peer.node
        self.peer_run = shaken.peer.run
        self.role: Role = role
        self.measured: Measured | None = None
        self._signs, self._checks = shaken.signs, shaken.checks
        self._sent = self._read = 0
        self._reader, self._writer = reader, writer
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._pinged: dict[int, float] = {}
        self._trips: deque[float] = deque(maxlen=_PINGS)
        self._gbit: dict[Role, float] = {}
        self._waiting: list[Message] | None = None
        """What is to be said once the bulk, which must not be broken into, has been sent."""
        self._turn = asyncio.Event()
        """Set once it is this side's to send a bulk: the dialer's first."""
        self._on_measured: Callable[[], None] = lambda: None

    @property
    def dialer(self) -> bool:
        """Whether this side has dialled."""
        return self.role == "dialer"

    async def run(self, heard: Callable[[Message], None], on_measured: Callable[[], None]) -> None:
        """Hear and measure until the other side is lost. Raises: BadPeer, OSError."""
        self._on_measured = on_measured
        async with asyncio.TaskGroup() as group:
            asks = [group.create_task(each) for each in (self._ask(), self._fill())]
            try:
                await self._hear(heard)
            finally:
                for each in asks:
                    each.cancel()

    def send(self, message: Message) -> None:
        """Send without waiting; a link whose other side takes nothing is given up."""
        if self._waiting is not None and len(self._waiting) < _MAX_HELD:
            self._waiting.append(message)
            return
        if self._waiting or self._writer.transport.get_write_buffer_size() > _MAX_WAITING:
            self.close()
            return
        payload = encode(message)
        signed = self._signs.sign(self._sent, payload) + payload
        self._sent += 1
        self._writer.write(len(signed).to_bytes(4, "big") + signed)

    def close(self) -> None:
        """Let go of it; idempotent."""
        self._writer.close()

    # --- hearing

    async def _hear(self, heard: Callable[[Message], None]) -> None:
        while (message := await self._next()) is not None:
            match message:
                case Ping(number):
                    self.send(Pong(number))
                case Pong(number):
                    self._ponged(number)
                case Bulk(size):
                    self.send(Came(await self._swallow(size)))
                    self._turn.set()
                case Came(gbit):
                    self._came("dialer" if self.dialer else "acceptor", gbit)
                case _:
                    heard(message)

    async def _next(self) -> Message | None:
        """Give the next message; None at the end. Raises: BadPeer, OSError."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                signed = await read_frame(self._reader)
        except asyncio.IncompleteReadError:
            return None
        signature, payload = signed[:PROOF], signed[PROOF:]
        self._checks.check(self._read, payload, signature)
        self._read += 1
        return decode(payload)

    async def _swallow(self, size: int) -> float:
        """Take so many bytes of nothing, and give how fast they came."""
        began = self._loop.time()
        left = size
        while left > 0:
            # Whoever is lost meanwhile is not to be waited for any longer than later.
            async with asyncio.timeout(SILENCE_SECONDS):
                part = await self._reader.read(min(left, READ_LIMIT))
            if not part:
                raise BadPeer("{node} went while it was measured", node=self.node)
            left -= len(part)
        gbit = _gbit(size, self._loop.time() - began)
        self._came("acceptor" if self.dialer else "dialer", gbit)
        return gbit

    # --- asking

    async def _ask(self) -> None:
        number = 0
        while True:
            self._pinged = {number: self._loop.time()}
            self.send(Ping(number))
            number += 1
            if number == _PINGS and self.dialer:
                self._turn.set()
            await asyncio.sleep(PING_SECONDS if number >= _PINGS else PING_SECONDS / 20)

    async def _fill(self) -> None:
        await self._turn.wait()
        await self._send_bulk()

    async def _send_bulk(self) -> None:
        self.send(Bulk(BULK_BYTES))
        self._waiting = []
        self._writer.transport.set_write_buffer_limits(high=_MAX_WAITING // 2)
        for _ in range(BULK_BYTES // len(_CHUNK)):
            self._writer.write(_CHUNK)
            async with asyncio.timeout(BULK_SECONDS):
                await self._writer.drain()
        waiting, self._waiting = self._waiting, None
        for message in waiting:
            self.send(message)

    def _ponged(self, number: int) -> None:
        at = self._pinged.pop(number, None)
        if at is None:
            return
        trip = 1000 * (self._loop.time() - at)
        if self.measured is not None:
            self._trips.append(trip)
            self._measure_again(self.measured)
        elif len(self._trips) < _PINGS:
            self._trips.append(trip)
            self._measure()

    def _came(self, whose: Role, gbit: float) -> None:
        self._gbit[whose] = gbit
        self._measure()

    def _measure(self) -> None:
        if self.measured is not None or len(self._gbit) < 2 or not self._trips:
            return
        width = round(min(self._gbit.values()), 2)
        self.measured = Measured(self.node, round(min(self._trips), 3), width)
        self._on_measured()

    def _measure_again(self, before: Measured) -> None:
        trip = round(median_high(self._trips), 3)
        if trip < _CLEARLY * before.rtt_ms:
            self.measured = msgspec.structs.replace(before, rtt_ms=trip)
            self._on_measured()


async def shake(
    secret: bytes,
    role: Role,
    me: NodeId,
    run: str,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> Link:
    """Make a link of a connection. Raises: BadPeer, TimeoutError, OSError."""
    reader, writer = streams
    own = hello(me, run)
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        try:
            if role == "dialer":
                _write(writer, own)
                shaken = Handshake(secret, role, own, await read_frame(reader))
                shaken.check(await read_frame(reader))
                _write(writer, shaken.proof)
            else:
                shaken = Handshake(secret, role, own, await read_frame(reader))
                _write(writer, own)
                _write(writer, shaken.proof)
                shaken.check(await read_frame(reader))
        except asyncio.IncompleteReadError as error:
            raise BadPeer("who was there did not stay: perhaps its secret is another") from error
    return Link(shaken, role, reader, writer)


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(4, "big") + frame)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame. Raises: BadPeer, IncompleteReadError."""
    size = int.from_bytes(await reader.readexactly(4), "big")
    if not 1 <= size <= MAX_MESSAGE + PROOF:
        raise BadPeer("another rig sent {size} bytes at once", size=size)
    return await reader.readexactly(size)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait for its end, but not for somebody who takes nothing any more."""
    writer.close()
    try:
        async with cleanup_timeout(1):
            await writer.wait_closed()
    except TimeoutError:
        # What was not taken would be kept, and tried again, for a quarter of an hour.
        writer.transport.abort()
    except OSError:
        pass


def _gbit(size: int, seconds: float) -> float:
    return 8 * size / max(seconds, 1e-6) / 1e9


__all__ = [
    "BULK_BYTES",
    "HANDSHAKE_SECONDS",
    "PING_SECONDS",
    "READ_LIMIT",
    "SILENCE_SECONDS",
    "Link",
    "hang_up",
    "shake",
]
