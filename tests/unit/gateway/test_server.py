"""What a connection may hold of the gateway, whatever its client sends on it."""

import pytest
from tests.parts.played_transport import answered, played_line

from garage_ai.gateway import asgi
from garage_ai.gateway.server import MAX_HEADERS

pytestmark = pytest.mark.anyio

CHUNKED = b"POST /taken HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = 8192


async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Answer with the names of the headers, once the body is there where it is asked for."""
    if scope["path"] == "/taken":
        while (await receive()).get("more_body", False):
            pass
    names = b",".join(name for name, _ in scope["headers"])
    await asgi.answer(send, 200, names, [(b"x-path", scope["path"].encode())])


@pytest.mark.parametrize("path", [b"/taken", b"/untaken"])
@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"1\r\na\r\n0\r\n", b"x: y\r\n" * (PIECE // 6)),
        (b"0\r\nx: ", b"y" * PIECE),
        (b"1;", b"y" * PIECE),
        (b"", b"0" * PIECE),
    ],
)
async def test_what_stands_beside_a_body_is_bounded(
    path: bytes, begin: bytes, piece: bytes
) -> None:
    """Neither fields behind it nor sizes of chunks come without end, whether it was asked for."""
    with played_line(app) as (protocol, transport):
        protocol.data_received(CHUNKED.replace(b"/taken", path))
        if path == b"/untaken":
            await answered(transport)
        protocol.data_received(begin)
        sent = 0
        while not transport.closing and sent < 4 * MAX_HEADERS:
            protocol.data_received(piece)
            sent += len(piece)
        assert transport.closing
        assert MAX_HEADERS - PIECE < sent < MAX_HEADERS + 2 * PIECE
        assert b" 431 headers_too_large\r\n" in transport.written


async def test_chunks_of_one_byte_are_a_body() -> None:
    """However much stands beside the bytes of a body, as long as some come."""
    with played_line(app) as (protocol, transport):
        protocol.data_received(CHUNKED)
        for _ in range(200):
            protocol.data_received(b"1\r\na\r\n" * 200)
        protocol.data_received(b"0\r\n\r\n")
        assert (await answered(transport)).startswith(b"HTTP/1.1 200 ")


async def test_fields_behind_a_body_are_no_headers() -> None:
    """They came after the request was let in, and so are not looked at."""
    with played_line(app) as (protocol, transport):
        protocol.data_received(CHUNKED + b"1\r\na\r\n")
        protocol.data_received(b"0\r\nx-gai-region: SE-AB\r\n\r\n")
        written = await answered(transport)
        assert written.startswith(b"HTTP/1.1 200 ")
        assert written.endswith(b"\r\n\r\nhost,transfer-encoding")
