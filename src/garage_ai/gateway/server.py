"""uvicorn, with the bounds and answers that it lacks."""

import asyncio
import contextlib
import math
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from garage_ai.gateway.asgi import CONNECTION, App, new_request_id
from garage_ai.gateway.cycle import Cycle
from garage_ai.gateway.errors import GatewayError, envelope
from garage_ai.gateway.gathered import Gathered
from garage_ai.gateway.leaving import Leaving

MAX_HEADERS: Final = 64 * 1024
HEADER_SECONDS: Final = 20.0
"""Longest time between a request's first byte and the end of its headers, or before the first."""
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s of common load balancers, so that they hang up first."""
STALL_SECONDS: Final = 60.0
"""Longest time in which a client takes not one byte of what waits for it."""
PARTING_SECONDS: Final = 1.0
"""Longest time in which an idle client may agree to the end of TLS when the server stops."""
MAX_WAITING: Final = 100
"""Requests that wait on one connection behind the one that runs; hardly a client sends a second."""
BACKLOG: Final = 2048


class Flow(FlowControl):
    """The flow of a connection; nothing is read while requests wait behind the one that runs.

    uvicorn reads on whenever a body is asked for or an answer is whole, however many wait: each
    time as many more came as stand in one read, thousands.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless some wait."""
        if not self._waiting:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with bounded headers in size and time, and errors in the envelope.

    It tells its requests of a client that hangs up, as `asgi.Connection` says.
    """

    # These belong to uvicorn's class, which has no slots and no hooks of its own.
    _in_headers = True
    _header_bytes = 0
    _latest = _since = _beside = 0
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _unsent = 0
    lost = False
    on_lost: Callable[[], None] | None = None

    @property
    def came_whole(self) -> bool:
        """Whether the latest request, and so every one before it, is here to its end."""
        return self._in_headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is not kept."""
        self._gathered = Gathered(transport, self.loop)
        super().connection_made(self._gathered)
        self.flow = Flow(self.transport, self.pipeline)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and tell whoever works for this client."""
        self._stop_clock()
        self._end_stall()
        super().connection_lost(exc)
        self.lost = True
        told, self.on_lost = self.on_lost, None
        if told is not None:
            told()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to headers, then parse."""
        self._latest = len(data)
        self._since += self._latest
        if self._in_headers:
            self._header_bytes += self._latest
            data = _without_upgrade(data)
        else:
            self._beside += self._latest
        super().data_received(data)
        if self._in_headers and self._header_bytes:
            self._await_rest()
        elif self._beside > MAX_HEADERS:
            # Beside a body stand the sizes of its chunks and what may follow the last one: the
            # parser bounds neither, and makes objects of the latter.
            self._refuse("headers_too_large")
        elif self.timeout_keep_alive_task is None:
            self._await_more()

    def _await_more(self) -> None:
        # A body that nobody asked for may come behind its answer; uvicorn then ends its clock.
        is_answered = getattr(self.cycle, "response_complete", False)
        if is_answered and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _await_rest(self) -> None:
        # The parser holds unfinished headers without a bound of its own.
        if self._header_bytes > MAX_HEADERS:
            self._refuse("headers_too_large")
        elif self._header_timer is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        """Let the request in, unless its headers came whole and too large."""
        # They are no more than all that came since the last ones were read.
        too_large = self._since > MAX_HEADERS and self._too_large()
        self._since = self._latest
        self._in_headers = False
        self._header_bytes = self._beside = 0
        self._stop_clock()
        if not self.flow.write_paused:
            self._end_stall()  # that of an idle client, which it is no longer
        if too_large:
            self._refuse("headers_too_large")
            raise ValueError("headers too large")
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key] # ours, beyond ASGI
        super().on_headers_complete()
        if len(self.pipeline) > MAX_WAITING:
            self._refuse("invalid_http")
            raise ValueError("too many requests at a time")
        if self.cycle is not None:
            # uvicorn makes its own kind, which has begun nothing yet.
            self.cycle.__class__ = Cycle
        # Fields behind a body may be thrown away (RFC 9112, 7.1.2): nobody asks for them.
        self.headers = deque(maxlen=0)  # type: ignore[assignment] # uvicorn only appends

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._beside = 0
        super().on_body(body)

    def _too_large(self) -> bool:
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        return size > MAX_HEADERS

    def on_message_complete(self) -> None:
        """Expect headers again."""
        super().on_message_complete()
        self._in_headers = True
        # A long body's last piece leaves reading paused, and one who does not read hears of no
        # hang-up.
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Send an answer's end before other requests have their turn: its client has work to do."""
        self._gathered.flush()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Hold the application, and watch whether the client takes anything at all."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """Let the application go on."""
        super().resume_writing()
        self._end_stall()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up an idle connection; one whose last answer is still being read is not idle."""
        if self.transport.get_write_buffer_size() == 0:
            super().timeout_keep_alive_handler()
        elif self._stall_timer is None:
            self._watch_stall()

    def _watch_stall(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._check_stall)

    def _check_stall(self) -> None:
        self._stall_timer = None
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            # Closing would wait for the client to read; it has shown that it does not.
            self.transport.abort()
        elif unsent > 0:
            self._watch_stall()
        else:
            self.transport.close()

    def _end_stall(self) -> None:
        timer, self._stall_timer = self._stall_timer, None
        if timer is not None:
            timer.cancel()

    def shutdown(self) -> None:
        """Let what runs end, and an idle client go."""
        super().shutdown()
        if self.transport.is_closing():
            # One that does not read, as a pool's between two requests, never hears of TLS's end,
            # and its word on it would be waited for half a minute. None is due (RFC 8446, 6.1).
            self.loop.call_later(PARTING_SECONDS, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        # The parser has thrown away what came behind these headers, and takes the rest of a body
        # for the next request, whose answer a proxy in between would give to somebody else.
        self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; nothing of it is logged or repeated."""
        self._refuse("invalid_http", msg)

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_clock(self) -> None:
        timer, self._header_timer = self._header_timer, None
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        self._header_timer = None
        if not getattr(self.cycle, "response_complete", True):
            # Some send an empty line behind a body (RFC 9112, 2.2): no reason to cut its answer.
            self._await_headers()
        elif self._header_bytes:
            self._refuse("request_timeout")
        elif self.transport is not None:
            self.transport.close()

    def _refuse(self, code: str, message: str | None = None) -> None:
        """Answer without the application and hang up."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        is_begun = not getattr(cycle, "response_complete", True) and cycle.response_started
        if not is_begun and not self.pipeline:
            # In the middle of another answer these bytes would become a part of it.
            self.transport.write(_raw_answer(GatewayError(code, message)))
        if getattr(cycle, "response_complete", True) is False:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


_UPGRADE: Final = re.compile(rb"\n(upgrade)(?=[ \t]*:)", re.IGNORECASE)


def _without_upgrade(data: bytes) -> bytes:
    """Rename an `Upgrade` header, which a server may pass over (RFC 9110, 7.8).

    The parser would stop there and lose the body. Clients that can speak HTTP/2 offer it with
    every request, Java's own among them. The name keeps its length; one that is cut in two by the
    network, or in a request that came with the one before, is missed, and ends the connection.
    """
    end = data.find(b"\r\n\r\n")
    found = _UPGRADE.search(data, 0, len(data) if end < 0 else end)
    return data if found is None else data[: found.start(1)] + b"x-offer" + data[found.end(1) :]


def _raw_answer(error: GatewayError) -> bytes:
    body = envelope(error)
    head = (
        f"HTTP/1.1 {error.problem.status} {error.code}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        f"x-request-id: {new_request_id()}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


class Server(uvicorn.Server):
    """A server whose process decides itself what a signal means."""

    def __init__(self, config: uvicorn.Config, grace_seconds: float, leaving: Leaving) -> None:
        super().__init__(config)
        self._grace_seconds = grace_seconds
        self._leaving = leaving
        self.listening = asyncio.Event()

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to leave or to stop."""
        return self.should_exit or self._leaving.has_begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again and cut short our own closing."""
        yield

    def leave(self) -> None:
        """Stop once it is heard of where requests are sent from; until then all are taken."""
        self._leaving.begin()

    def stop(self) -> None:
        """Take nothing new and finish what runs, within the grace given."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to stop."""
        if self._leaving.is_over(working=bool(self.server_state.tasks)):
            self.stop()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new; the grace began when it was asked to leave."""
        rest = self._grace_seconds - self._leaving.seconds
        self.config.timeout_graceful_shutdown = math.ceil(max(rest, 0.0))
        await super().shutdown(sockets)


def make_server(
    app: App,
    *,
    grace_seconds: float,
    tls: ssl.SSLContext | None = None,
    leaving: Leaving | None = None,
) -> Server:
    """Make a server that is not started; `serve` takes the bound sockets to listen on.

    `leaving` is what the app goes by when it is asked whether it is ready.
    """
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    config.ssl = tls
    return Server(config, grace_seconds, leaving or Leaving())


__all__ = ["Protocol", "Server", "make_server"]
