"""One keep-alive connection of the load client.

Bytes are only collected while they come in; they are cut into chunks and checked once the answer
is whole, so that the client costs less than what it measures.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import cast

import msgspec

__all__ = [
    "Answer",
    "Connection",
    "Expectation",
    "LoadError",
    "StaleConnection",
    "check",
    "dechunk",
]

BODY_LIMIT = 16 * 1024 * 1024
FIRST_CONTENT = re.compile(rb'"content": ?"[^"]')  # engines send the role first, without text


class LoadError(Exception):
    """An answer was not what it had to be."""


class StaleConnection(LoadError):
    """The server had closed the kept connection before it saw the question; ask again."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a correct answer looks like."""

    stream: bool
    chunks: int
    exact: bool  # the mock engine's own words, exactly `chunks` of them


@dataclass(frozen=True, slots=True)
class Answer:
    """One checked answer; times from time.perf_counter."""

    sent: float
    first_content: float
    last_byte: float
    chunks: int


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    message: _Delta = msgspec.field(default_factory=_Delta)


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Payload(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw | None = None


_payload = msgspec.json.Decoder(_Payload)


class Connection(asyncio.Protocol):
    """Asks one question at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expect: Expectation) -> None:
        self.closed = False
        self._loop = loop
        self._expect = expect
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Answer] | None = None
        self._asked = 0
        self._reset()

    def _reset(self) -> None:
        self._parts: list[bytes] = []
        self._marks: list[tuple[int, float]] = []  # bytes received until when
        self._size = 0
        self._tail = b""
        self._head: bytes | None = None
        self._body_at = 0
        self._length: int | None = None  # None: chunked
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def connection_lost(self, _exc: Exception | None) -> None:
        """Fail the question that is open."""
        self.closed = True
        if self._asked > 1 and not self._size:
            self._end(StaleConnection("closed between two requests"))
        else:
            self._fail("connection closed in the middle of an answer")

    def close(self) -> None:
        """Close without waiting."""
        self.closed = True
        self._transport.abort()

    async def ask(self, request: bytes, timeout: float) -> Answer:
        """Send the request and wait for its whole answer; raises LoadError."""
        if self.closed:
            raise StaleConnection("closed between two requests")
        self._reset()
        self._asked += 1
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        deadline = self._loop.call_later(timeout, self._fail, f"no whole answer in {timeout:g} s")
        try:
            self._sent = time.perf_counter()
            self._transport.write(request)
            return await waiter
        finally:
            self._waiter = None
            deadline.cancel()

    def data_received(self, data: bytes) -> None:
        """Collect, note the first content, and finish when the body is whole."""
        now = time.perf_counter()
        self._parts.append(data)
        self._size += len(data)
        self._marks.append((self._size, now))
        if self._size > BODY_LIMIT:
            self._fail("answer larger than the load client's limit")
            return
        if self._head is None and not self._read_head():
            return
        if self._length is not None:
            if self._size >= self._body_at + self._length:
                self._finish(now, self._joined()[self._body_at :])
            return
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n":
            body = dechunk(self._joined(), self._body_at)
            if body is not None:
                self._finish(now, body)

    def _joined(self) -> bytes:
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def _read_head(self) -> bool:
        data = self._joined()
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head = head = data[:end].lower()
        self._body_at = end + 4
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            self._length = int(head[at + 17 :].partition(b"\r\n")[0])
        return True

    def _finish(self, now: float, body: bytes) -> None:
        waiter, head = self._waiter, self._head or b""
        if waiter is None or waiter.done():
            return
        if b"\r\nconnection: close" in head:
            self.closed = True
        if not head.startswith(b"http/1.1 200"):
            status = head.partition(b"\r\n")[0].decode("latin-1")
            self._fail(f"{status}: {body[:200].decode('utf-8', 'replace')}")
            return
        try:
            chunks = check(body, self._expect)
        except LoadError as problem:
            waiter.set_exception(problem)
            return
        waiter.set_result(Answer(self._sent, self._first_content(now), now, chunks))

    def _first_content(self, now: float) -> float:
        found = FIRST_CONTENT.search(self._joined(), self._body_at)
        offset = found.end() if found else self._size
        return next((when for size, when in self._marks if size >= offset), now)

    def _fail(self, why: str) -> None:
        self._end(LoadError(why))

    def _end(self, problem: LoadError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(problem)


def dechunk(data: bytes, at: int) -> bytes | None:
    """Return the body of a chunked answer that starts at that offset, None when it is not whole."""
    parts: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        try:
            size = int(data[at:line_end].partition(b";")[0], 16)
        except ValueError as problem:
            raise LoadError("broken chunked body") from problem
        if size == 0:
            return b"".join(parts)
        at = line_end + 2
        if at + size + 2 > len(data):
            return None
        parts.append(data[at : at + size])
        at += size + 2


def check(body: bytes, expect: Expectation) -> int:
    """Return how many content chunks the answer holds; raises LoadError when it is not right."""
    if expect.exact:
        return _check_mock(body, expect)
    return _check_stream(body) if expect.stream else _check_plain(body)


def _check_mock(body: bytes, expect: Expectation) -> int:
    """Count the mock engine's words without decoding; in a stream each starts a JSON string."""
    found = body.count(b'" w') if expect.stream else body.count(b" w")
    last = b' w%d"' % (expect.chunks - 1)
    if found != expect.chunks or last not in body:
        raise LoadError(f"{found} chunks instead of {expect.chunks}: {body[-200:]!r}")
    if expect.stream and not body.rstrip().endswith(b"data: [DONE]"):
        raise LoadError("stream without [DONE]")
    return found


def _check_stream(body: bytes) -> int:
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    if not events or events[-1].strip() != b"[DONE]":
        raise LoadError(f"stream without [DONE]: {body[-200:]!r}")
    chunks = 0
    for event in events[:-1]:
        payload = _decode(event)
        chunks += any(choice.delta.content for choice in payload.choices)
    if not chunks:
        raise LoadError("stream without content")
    return chunks


def _check_plain(body: bytes) -> int:
    payload = _decode(body)
    if not payload.choices or not payload.choices[0].message.content:
        raise LoadError("answer without content")
    return payload.usage.completion_tokens if payload.usage else 1


def _decode(data: bytes) -> _Payload:
    try:
        payload = _payload.decode(data)
    except msgspec.DecodeError as problem:
        raise LoadError(f"{problem}: {data[:200]!r}") from problem
    if payload.error is not None:
        raise LoadError(f"error in the answer: {data[:200]!r}")
    return payload
