"""The few ASGI parts that the hot path needs, typed."""

import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any, Final, Protocol

from garage_ai.gateway.errors import GatewayError, envelope

# ASGI's own types: a scope and a message are open dictionaries by its specification.
Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

CONNECTION: Final = "gai.connection"
"""Where in a scope our server puts the request's `Connection`."""

JSON: Final[Header] = (b"content-type", b"application/json")
CLOSE: Final[Header] = (b"connection", b"close")
NO_STORE: Final[Header] = (b"cache-control", b"no-store")

USUAL_WAIT: Final = 5.0
"""Seconds before another try where a 503 does not say itself how long it will last."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_NAMED: Final = 32
_LONGEST_HEADER: Final = 256


class Connection(Protocol):
    """A client's connection, as our server shows it beyond ASGI."""

    lost: bool
    """Whether the client has hung up."""
    on_lost: Callable[[], None] | None
    """Called once when it does."""

    @property
    def came_whole(self) -> bool:
        """Whether the request's body is here to its end, so that receiving it waits for nobody."""


def new_request_id() -> str:
    """Make a request id: `req_`, the time in hex, and 64 random bits in hex.

    Ids that begin with the time stand together in the usage index: a group of records then touches
    a page or two of it and not one each.
    """
    # They are to be different, not to be unknown; the system's chance costs a call each.
    chance = random.getrandbits(64)
    return f"req_{time.time_ns() >> 20:011x}{chance:016x}"


def request_id(scope: Scope) -> str:
    """Give the id that the edge gave this request."""
    found: str = scope["gai.request_id"]
    return found


def header(scope: Scope, name: bytes) -> str | None:
    """Give the first header of that lower-case name as text, or None."""
    value: bytes | None = dict(reversed(scope["headers"])).get(name)
    return None if value is None else value.decode("latin-1")


def client_address(scope: Scope) -> str:
    """Give the address that the connection comes from, or an empty text."""
    client = scope.get("client")
    return client[0] if client else ""


async def answer(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[Header],
) -> None:
    """Send a whole answer; `content-length` is added."""
    every = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


async def answer_error(
    send: Send, error: GatewayError, request: str, headers: Iterable[Header] = ()
) -> None:
    """Send an error in OpenAI's envelope."""
    every = [JSON, (b"x-request-id", request.encode()), *headers, *error.headers]
    wait = error.retry_after
    if wait is None and error.problem.status == 503:
        wait = USUAL_WAIT
    if wait is not None:
        every.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
    if error.problem.status == 401:
        every.append((b"www-authenticate", b'Bearer realm="garage-ai"'))
    await answer(send, error.problem.status, envelope(error), every)


def dropped_header(names: Iterable[str]) -> Header:
    """Name the fields that were left out; what a client wrote there is made harmless."""
    safe = sorted({_UNSAFE.sub("?", name[:64]) for name in names})
    more = len(safe) - _MAX_NAMED
    if more > 0:
        safe[_MAX_NAMED:] = [f"and-{more}-more"]
    return b"x-gai-dropped", ",".join(safe).encode()


@lru_cache(maxsize=4096)
def header_text(text: str) -> bytes:
    """Make text from a node or a setting fit for a header: no line can be broken out of it."""
    if text.isascii() and text.isprintable() and len(text) <= _LONGEST_HEADER:
        return text.encode()
    return "".join(c if " " <= c <= "~" else "?" for c in text[:_LONGEST_HEADER]).encode()


__all__ = [
    "CLOSE",
    "CONNECTION",
    "JSON",
    "NO_STORE",
    "App",
    "Connection",
    "Event",
    "Header",
    "Receive",
    "Scope",
    "Send",
    "answer",
    "answer_error",
    "client_address",
    "dropped_header",
    "header",
    "header_text",
    "new_request_id",
    "request_id",
]
