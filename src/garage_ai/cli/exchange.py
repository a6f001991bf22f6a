"""One exchange of HTTP: the connection, and how answers are read and refused."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from garage_ai.cli import shapes
from garage_ai.cli.advice_words import advice
from garage_ai.cli.batch_words import duration
from garage_ai.cli.errors import CliError, Failed, NotThere, Refused, Unavailable
from garage_ai.cli.exchange_words import say as say_exchange
from garage_ai.cli.sse import BadStream, events
from garage_ai.cli.target import Target
from garage_ai.cli.words import say

READ: Final = 64 * 1024
Body = Mapping[str, object] | Iterable[bytes] | None
"""JSON, or the pieces of a body of another kind."""
_TOO_MANY: Final = "rate_limit_exceeded"
_MAX_LINE: Final = 4 * 1024 * 1024


class Connection(http.client.HTTPConnection):
    """HTTP, or HTTPS to a name that this machine may reach under another address."""

    def __init__(self, target: Target, seconds: float) -> None:
        super().__init__(target.name, target.port, timeout=seconds)
        self._target = target

    def connect(self) -> None:
        address = (self._target.host, self._target.port)
        self.sock = socket.create_connection(address, timeout=self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.is_tls:
            context = ssl.create_default_context(cafile=self._target.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.name)


def encoded(body: Body) -> bytes | Iterable[bytes] | None:
    """Write a body as JSON; pieces stay as they are."""
    return json.dumps(body).encode() if isinstance(body, Mapping) else body


def chunks(response: http.client.HTTPResponse) -> Iterator[shapes.Chunk]:
    """Give the chunks of a stream until `[DONE]`. Raises: BadStream, Failed."""
    for data in events(lines(response)):
        if data == b"[DONE]":
            return
        try:
            chunk = msgspec.json.decode(data, type=shapes.Chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadStream(str(error)) from error
        if chunk.error is not None:
            raise Failed(say("error.broken_off", message=chunk.error.message))
        yield chunk
    raise Failed(say("error.broken_off", message="[DONE]"))


def lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Give the lines of an answer; of one that is longer than 4 MiB its parts.

    Raises: http.client.IncompleteRead where less came than was to come.
    """
    # Not by `readline`, to which a connection that ends between two chunks is the answer's end.
    read = response.read1 if response.length is None else response.read
    begun = b""
    while piece := read(READ):
        *whole, begun = (begun + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(begun) >= _MAX_LINE:
            yield begun
            begun = b""
    if response.length:
        raise http.client.IncompleteRead(begun, response.length)
    if begun:
        yield begun


def check(response: http.client.HTTPResponse, url: str, not_ours: CliError) -> None:
    """Make sure that a gateway answers, and does what was asked. Raises: CliError."""
    if response.status >= http.client.BAD_REQUEST:
        raise refusal(response, not_ours)
    if response.status >= http.client.MULTIPLE_CHOICES:
        place = response.headers.get("Location", "?")
        raise Failed(say_exchange("leads_on", url=url, place=place), say_exchange("leads_on.next"))
    # Pages of other programs answer 200 to anything, and are no export of anybody's.
    if response.headers.get_content_type() == "text/html":
        raise not_ours


def refusal(response: http.client.HTTPResponse, not_ours: CliError) -> CliError:
    """Turn an error's answer into ours."""
    try:
        error = msgspec.json.decode(response.read(READ), type=shapes.Refusal).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # A proxy whose gateway is just starting again has words of its own.
        return Unavailable(not_ours.message) if _is_passing(response) else not_ours
    if response.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        known = advice(error.code) or say("error.refused.next")
        return Refused(say("error.refused", message=error.message), known)
    passing = _is_passing(response) or error.code == _TOO_MANY
    kind = Unavailable if passing else Failed
    if response.status == http.client.NOT_FOUND:
        kind = NotThere
    return kind(say("error.answered", message=error.message), _advice(response, error))


def _is_passing(response: http.client.HTTPResponse) -> bool:
    return response.status >= http.client.INTERNAL_SERVER_ERROR


def _advice(response: http.client.HTTPResponse, error: shapes.ErrorDetail) -> str:
    known = advice(error.code)
    if known is not None:
        return known
    wait = response.headers.get("Retry-After", "")
    return say("error.wait.next", wait=duration(int(wait))) if wait.isdecimal() else ""


__all__ = ["READ", "Body", "Connection", "check", "chunks", "encoded", "lines", "refusal"]
