"""A TCP relay that stands between two parts: it delays, slows, cuts, or loses what it carries."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 65536
_SMALL = 16384


@dataclass(eq=False)
class _Pipe:
    """One connection that is carried; a lost one takes everything and passes nothing."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    is_lost: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Relay:
    """Carry connections to a port on loopback; runs in a thread of its own.

    `cut` ends every connection and refuses new ones, as a server that is away; `lose` carries
    nothing more on the connections there are, as a router that forgot them, and says nothing to
    either end; `swallow` does so with new ones too. `mend` lets new ones pass again.

    It listens on `port`, or on a free one.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self._target = target
        self._delay = 0.0
        self._rate = 0.0
        self._swallows = False
        self._is_cut = False
        self._pipes: set[_Pipe] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self._thread.start()
        self.port = port
        self._do(self._listen())

    @property
    def connections(self) -> int:
        """How many connections are carried and not lost."""
        return sum(not pipe.is_lost for pipe in self._pipes)

    def delay(self, seconds: float) -> None:
        """Carry everything so much later, each way."""
        self._delay = seconds

    def upload(self, rate: float) -> None:
        """Carry so many bytes a second at most to the port, from new connections on; 0: any."""
        self._rate = rate
        if rate:
            # What the kernel holds for a line that is slow would make it look fast for long.
            self._call(self._hold_little)

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._do(self._cut())

    def lose(self) -> None:
        """Carry nothing more on the connections there are."""
        self._call(self._lose)

    def swallow(self) -> None:
        """Carry nothing more, on new connections neither."""
        self._swallows = True
        self.lose()

    def mend(self) -> None:
        """Let new connections pass."""
        self._swallows = False
        if self._server is None:
            self._do(self._listen())

    def close(self) -> None:
        """End everything."""
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    # --- in the thread of the relay

    async def _listen(self) -> None:
        self._is_cut = False
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._is_cut = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for pipe in list(self._pipes):
            for writer in pipe.ends:
                writer.transport.abort()
            for task in pipe.tasks:
                task.cancel()
            await asyncio.gather(*pipe.tasks, return_exceptions=True)
        await asyncio.gather(*(pipe.over.wait() for pipe in list(self._pipes)))

    def _hold_little(self) -> None:
        for each in self._server.sockets if self._server is not None else ():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)

    def _lose(self) -> None:
        for pipe in self._pipes:
            pipe.is_lost = True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._is_cut:  # while this one was being made
            for each in (writer, far_writer):
                each.transport.abort()
            return
        pipe = _Pipe((writer, far_writer), is_lost=self._swallows)
        self._pipes.add(pipe)
        ways = ((reader, far_writer, self._rate), (far_reader, writer, 0.0))
        pipe.tasks = [asyncio.create_task(self._one_way(pipe, *way)) for way in ways]
        try:
            await asyncio.wait(pipe.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pipe.tasks:
                task.cancel()
            await asyncio.gather(*pipe.tasks, return_exceptions=True)
            for each in pipe.ends:
                each.close()
            self._pipes.discard(pipe)
            pipe.over.set()

    async def _one_way(
        self,
        pipe: _Pipe,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        rate: float,
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        writing = asyncio.create_task(self._write_late(pipe, line, writer))
        try:
            while data := await reader.read(_SMALL if rate else _CHUNK):
                await line.put((time.monotonic() + self._delay, data))
                if rate:
                    await asyncio.sleep(len(data) / rate)
            await line.put((time.monotonic() + self._delay, b""))
            await writing
            # Who carries nothing does not carry the end either.
            if pipe.is_lost:
                await pipe.over.wait()
        except OSError:
            return
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await writing

    async def _write_late(
        self, pipe: _Pipe, line: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                return
            if not pipe.is_lost:
                writer.write(data)
                await writer.drain()

    # --- from the test's thread

    def _do(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def _call(self, what: Callable[[], None]) -> None:
        done = threading.Event()

        def call() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(call)
        done.wait(20)
