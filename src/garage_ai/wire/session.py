"""One connection to one NATS server, from handshake to its end; nats-py does the protocol.

nats-py is bent in four places, each of which loses messages or lies if left alone:

- A message goes straight from the parser (`reading`) to its handler. nats-py would put it into a
  queue, drop it there when the queue is full, and start a task; without, it takes twice as many.
- A message to send joins the buffer at once or is refused. nats-py would keep up to 2 MiB for a
  server that is away, and stale frames are worse than none.
- Reconnecting is left to the owner of the session (`connection`), since nats-py closes for ever
  after an expired or revoked JWT and cannot mix TCP and WebSocket.
- A `tls://` address whose server offers no TLS is refused before anything is signed. nats-py would
  go on in plain text.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import ParseResult, urlsplit

import aiohttp
import msgspec
from nats.aio.client import Client
from nats.aio.transport import WebSocketTransport

from garage_ai.aio import cleanup_timeout
from garage_ai.wire.link_errors import (
    BadCredentials,
    HandlerFailed,
    LinkCongested,
    LinkDown,
    LinkError,
    LinkLost,
    PayloadTooLarge,
    PermissionDenied,
    TlsFailed,
    from_exception,
    from_words,
)
from garage_ai.wire.reading import MessageParser
from garage_ai.wire.writing import write_at_once

MAX_BUFFERED: Final = 16 * 1024 * 1024
"""Bytes that may wait to be sent; credit windows keep ordinary traffic far below."""

PING_SECONDS: Final = 5
PINGS_MISSED: Final = 2
_AT_ONCE: Final = 8
"""Messages that one turn of the event loop may leave to its end; more are written before it.

Else the other side would have nothing to do until all of them are there.
"""
_NO_RESPONDERS: Final = b"NATS/1.0 503"
_CLOSE_SECONDS: Final = 2.0
_GIVE_UP_SECONDS: Final = 0.2


class Credentials(Protocol):
    """Who connects: asked anew at every connect, so a renewed JWT is used at the next one."""

    def jwt(self) -> str:
        """Give the user JWT."""

    def sign(self, nonce: bytes) -> bytes:
        """Sign the server's nonce with the JWT's key; 64 bytes."""


class Message(msgspec.Struct, frozen=True):
    """One message; `no_responders` marks the server's word that nobody hears the subject."""

    subject: str
    payload: bytes
    reply: str
    no_responders: bool


Handler = Callable[[Message], None]
"""Called on the event loop for each message, in order; must be short and must not wait."""


class Wanted(NamedTuple):
    """A subscription as its owner wants it."""

    subject: str
    handler: Handler


class _Sockets(WebSocketTransport):
    """nats-py's WebSocket, with a bounded close and one frame for all that waits."""

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:  # noqa: ARG002 - nats-py's interface; the session bounds the time
        await self._dial(uri.geturl(), None)
        self._using_tls = False

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,  # noqa: ARG002 - as above
        connect_timeout: int,  # noqa: ARG002 - as above
    ) -> None:
        if self._ws is None:
            await self._dial(uri if isinstance(uri, str) else uri.geturl(), ssl_context)
            self._using_tls = True

    async def _dial(self, url: str, context: ssl.SSLContext | None) -> None:
        self._ws = await self._client.ws_connect(
            url,
            ssl=True if context is None else context,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
            max_msg_size=0,
        )

    async def release(self) -> None:
        """Let go of the socket, whether or not it was closed; never raises."""
        if self._client is not None:  # nats-py's mark of a whole close
            with contextlib.suppress(TimeoutError):
                async with cleanup_timeout(_GIVE_UP_SECONDS):
                    await self._client.close()

    async def drain(self) -> None:
        waiting = []
        while not self._pending.empty():
            waiting.append(self._pending.get_nowait())
        if waiting and self._ws is not None:
            await self._ws.send_bytes(b"".join(waiting))


class _Protocol(Client):
    """nats-py's client with our own way in and out for messages."""

    def __init__(self, report: Callable[[LinkError], None]) -> None:
        super().__init__()
        self._ps = MessageParser(self, self._take)
        self.report = report
        self.handlers: dict[int, Handler] = {}
        self.said: LinkError | None = None

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        # The server tells a JWT's own limit after the handshake; nats-py looks only before.
        self._max_payload = info.get("max_payload", self._max_payload)

    async def _process_pong(self) -> None:
        # nats-py would answer who waits no more, and end its reading with the error of that.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        # Kept here: on a WebSocket the end that follows would take its place as the reason.
        known = from_words(err_msg)
        if known is not None and not isinstance(known, PermissionDenied):
            self.said = known
        await super()._process_err(err_msg)

    async def _process_op_err(self, e: Exception) -> None:
        # What still waits goes nowhere. nats-py would write it once more, and the error of that
        # would come in place of the word that the connection is over: the link stood still.
        self._pending.clear()
        self._pending_data_size = 0
        # And nobody is there to say farewell to: TLS would wait 30 s for its answer.
        writer = self.writer
        if writer is not None:
            writer.transport.abort()
        await super()._process_op_err(e)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        missing = headers is not None and headers.startswith(_NO_RESPONDERS)
        self._take(sid, subject, reply, data, no_responders=missing)

    def _take(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, *, no_responders: bool = False
    ) -> None:
        handler = self.handlers.get(sid)
        if handler is None:
            return
        try:
            handler(Message(subject.decode(), data, reply.decode(), no_responders))
        except Exception as error:
            # Raised further, it would end the reading without a word.
            failed = HandlerFailed(f"{subject[:100]!r}: {type(error).__name__}: {error}")
            failed.__cause__ = error
            self.report(failed)

    def send(self, subject: str, payload: bytes, reply: str) -> None:
        """Put a message into the buffer and wake the writer."""
        if self._status != Client.CONNECTED:
            raise LinkDown("not connected")
        size = len(payload)
        if size > self._max_payload:
            raise PayloadTooLarge(f"{size} bytes; {self._max_payload} are allowed")
        if self._pending_data_size + size > MAX_BUFFERED:
            raise LinkCongested(f"{self._pending_data_size} bytes wait already")
        head = f"PUB {subject} {reply} {size}\r\n".encode()
        self._pending.append(b"%b%b\r\n" % (head, payload))
        self._pending_data_size += len(head) + size + 2
        if len(self._pending) >= _AT_ONCE:
            self._write_pending()
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def _write_pending(self) -> None:
        # A server that is slow has the writer wait for it; a WebSocket writes in a task.
        writer = self.writer
        if writer is None or writer.is_closing():
            return
        if not writer.transport.get_write_buffer_size():
            writer.writelines(self._pending)
            self._pending.clear()
            self._pending_data_size = 0

    @property
    def writer(self) -> asyncio.StreamWriter | None:
        """What writes to the server; None over a WebSocket."""
        return getattr(self._transport, "_io_writer", None)

    @property
    def offers_tls(self) -> bool:
        """Whether the server asked for TLS in its first line."""
        return bool(self._server_info.get("tls_required"))


class Session:
    """A live connection; `ended` is set when it is over and `reason` says why."""

    def __init__(self, url: str, report: Callable[[LinkError], None]) -> None:
        self.url = url
        self.ended = asyncio.Event()
        self.reason: LinkError | None = None
        self.closed_here = False
        self._report = report
        self._opening = True
        self._client = _Protocol(report)
        self._sockets: _Sockets | None = None
        self._subscriptions: dict[int, Any] = {}

    async def open(
        self,
        credentials: Credentials,
        tls: ssl.SSLContext | None,
        name: str,
        wanted: dict[int, Wanted],
        seconds: float,
    ) -> None:
        """Connect and subscribe. Raises: LinkError."""
        try:
            async with asyncio.timeout(seconds):
                await self._connect(credentials, tls, name, seconds)
                if self._client.writer is not None:
                    write_at_once(self._client.writer.transport)
                self._opening = False
                fresh = wanted.keys() - self._subscriptions
                while True:
                    for number in sorted(fresh):
                        if (each := wanted.get(number)) is not None:
                            await self.subscribe(number, each)
                    await self.flush(seconds)
                    # What was asked for meanwhile comes along: nobody looks there again.
                    fresh = wanted.keys() - self._subscriptions
                    if not fresh:
                        break
        except Exception as error:
            # After a failed TLS handshake nats-py waits in vain for the end of the old stream.
            await self.close(_GIVE_UP_SECONDS)
            raise from_exception(error, self.url) from error

    async def _connect(
        self, credentials: Credentials, tls: ssl.SSLContext | None, name: str, seconds: float
    ) -> None:
        if self.url.startswith(("ws://", "wss://")):
            self._client._transport = self._sockets = _Sockets()
        await self._client.connect(
            servers=[self.url],
            name=name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=max(1, int(seconds)),
            ping_interval=PING_SECONDS,
            max_outstanding_pings=PINGS_MISSED,
            flush_timeout=seconds,
            tls=tls,
            user_jwt_cb=lambda: self._jwt(credentials),
            signature_cb=lambda nonce: self._signature(credentials, nonce),
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            skip_subject_validation=True,
        )

    def _jwt(self, credentials: Credentials) -> bytes:
        try:
            return credentials.jwt().encode()
        except Exception as error:
            raise BadCredentials(str(error)) from error

    def _signature(self, credentials: Credentials, nonce: str) -> bytes:
        if self.url.startswith("tls://") and not self._client.offers_tls:
            raise TlsFailed(f"{self.url}: the server offers no TLS")
        try:
            return base64.b64encode(credentials.sign(nonce.encode()))
        except Exception as error:
            raise BadCredentials(str(error)) from error

    async def _on_error(self, error: Exception) -> None:
        if self._opening:
            # Raised through nats-py, so that it does not dial the same server twice.
            raise from_exception(error, self.url) from error
        known = from_words(str(error))
        if known is not None:
            self._report(known)

    async def _on_closed(self) -> None:
        if self.reason is None:
            self.reason = self._why_closed()
        self.ended.set()

    def _why_closed(self) -> LinkError:
        if self._client.said is not None:
            return self._client.said
        return LinkLost(f"{self.url}: {self._client.last_error or 'closed'}")

    async def subscribe(self, number: int, wanted: Wanted) -> None:
        """Hear a subject; `number` is the owner's own name for it."""
        # Known before the server hears of it: a message may follow the subscription at once.
        self._client.handlers[self._client._sid + 1] = wanted.handler
        self._subscriptions[number] = await self._client.subscribe(wanted.subject)

    async def unsubscribe(self, number: int) -> None:
        """Hear it no more."""
        subscription = self._subscriptions.pop(number, None)
        if subscription is not None:
            self._client.handlers.pop(subscription._id, None)
            await subscription.unsubscribe()

    def send(self, subject: str, payload: bytes, reply: str) -> None:
        """Send a message. Raises: LinkDown, LinkCongested, PayloadTooLarge."""
        self._client.send(subject, payload, reply)

    @property
    def buffered(self) -> int:
        """Bytes that wait to be written to the socket."""
        return self._client.pending_data_size

    async def flush(self, seconds: float) -> None:
        """Wait until the server has read all that was sent. Raises: LinkError."""
        pong = asyncio.ensure_future(self._client.flush(max(1, int(seconds + 1))))
        end = asyncio.ensure_future(self.ended.wait())
        try:
            # nats-py forgets who waits for a pong when the connection ends.
            await asyncio.wait({pong, end}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.is_set():
                raise self.reason or LinkLost(self.url)
            if not pong.done() or pong.exception() is not None:
                raise LinkLost(f"{self.url}: no answer to a ping")
        finally:
            end.cancel()
            pong.cancel()
            await asyncio.gather(pong, end, return_exceptions=True)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """End the connection within the time given; never raises."""
        self._opening = False
        if self.reason is None:
            self.closed_here = True
            self.reason = LinkLost(f"{self.url}: closed here")
        # The socket is closed first of all; what fails after that is only waiting.
        try:
            with contextlib.suppress(Exception):
                async with cleanup_timeout(seconds):
                    await self._client.close()
        finally:
            # nats-py closes but once: one that was cancelled half-way left aiohttp's session open.
            if self._sockets is not None:
                await self._sockets.release()
            self.ended.set()


def ordered_urls(urls: Sequence[str]) -> list[str]:
    """List the addresses in their order, each once.

    Raises: ValueError if there is none, or one is no address.
    """
    ordered = list(dict.fromkeys(url.strip() for url in urls if url.strip()))
    if not ordered:
        raise ValueError("no NATS address given")
    for url in ordered:
        parts = urlsplit(url)
        if parts.scheme not in ("nats", "tls", "ws", "wss") or not parts.hostname:
            raise ValueError(f"not a NATS address: {url}")
    return ordered
