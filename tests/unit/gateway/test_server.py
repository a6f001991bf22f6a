"""What a connection may hold of the gateway, whatever its client sends on it."""

import asyncio

import pytest
from tests.parts.played_transport import answered, played_line

from garage_ai.gateway import asgi, server
from garage_ai.gateway.server import MAX_HEADERS, MAX_WAITING

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


async def turns(count: int = 10) -> None:
    """Let the loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """An app that answers each request when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Semaphore(0)

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        self.asked += 1
        await receive()
        await self.open.acquire()
        await asgi.answer(send, 200, b"", [])


ASKED = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


async def test_nothing_is_read_while_requests_wait() -> None:
    """Who sends requests at once has them answered in turn, and is read again behind the last."""
    gate = Gate()
    with played_line(gate) as (protocol, transport):
        protocol.data_received(ASKED * 3)
        for turn in range(1, 4):
            async with asyncio.timeout(20):
                while gate.asked < turn:  # noqa: ASYNC110 - the server's task asks
                    await asyncio.sleep(0)
            assert transport.reading == (turn == 3)
            gate.open.release()
            await answered(transport, turn)
        assert not transport.closing


async def test_few_requests_wait() -> None:
    """More than anybody means to send at once end the connection, and are not kept."""
    gate = Gate()
    with played_line(gate) as (protocol, transport):
        protocol.data_received(ASKED * (MAX_WAITING + 1))
        assert not transport.closing
        protocol.data_received(ASKED * 10_000)
        assert transport.said == ["close"]
        assert len(protocol.pipeline) == MAX_WAITING + 1


async def test_what_is_no_http_behind_another_request_is_not_answered_in_its_place() -> None:
    """The connection ends; an error would be taken for the answer of what was asked before."""
    gate = Gate()
    with played_line(gate) as (protocol, transport):
        protocol.data_received(ASKED * 2 + b"nonsense\r\n\r\n")
        assert transport.said == ["close"]


@pytest.mark.parametrize("rest", [b"x" * 90, b"x" * 50])
async def test_a_body_behind_its_answer_keeps_no_connection(rest: bytes) -> None:
    """A client whose request comes on after its answer, to its end or not, is idle like others."""
    with played_line(app) as (protocol, transport):
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n")
        await answered(transport)
        assert not transport.closing
        protocol.timeout_keep_alive = 0
        protocol.data_received(b"x" * 10)
        protocol.data_received(rest)
        await asyncio.wait_for(transport.ended.wait(), 20)
        assert transport.said[-1] == "close"


OFFER = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: x\r\n"


@pytest.mark.parametrize("is_cut", [True, False])
async def test_an_offer_that_is_missed_makes_no_request_of_a_body(is_cut: bool) -> None:
    """Cut in two by the network, or behind another request, it ends the connection."""
    head = OFFER + b"content-length: %d\r\n\r\n" % len(ASKED)
    cut = len(OFFER) - len(b"ade: x\r\n")
    with played_line(app) as (protocol, transport):
        for piece in (head[:cut], head[cut:]) if is_cut else (ASKED + head,):
            protocol.data_received(piece)
        protocol.data_received(ASKED)
        await asyncio.wait_for(transport.ended.wait(), 20)
        assert transport.written.count(b"HTTP/1.1 200 ") == (1 if is_cut else 2)
        assert transport.written.count(b"connection: close") == 1


async def test_who_read_slowly_and_asks_again_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch over what an idle client had yet to read ends with its next request."""
    monkeypatch.setattr(server, "STALL_SECONDS", 0)
    gate = Gate()
    with played_line(gate) as (protocol, transport):
        protocol.data_received(ASKED)
        gate.open.release()
        await answered(transport)
        transport.unsent = 100
        protocol.timeout_keep_alive_handler()
        transport.unsent = 0
        protocol.data_received(ASKED)
        await turns()
        assert not transport.closing
        gate.open.release()
        await answered(transport, 2)


@pytest.mark.parametrize("early", [b"\r\n", b"GET / HTT"])
async def test_what_comes_early_cuts_no_answer(
    early: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty line behind a body, or a part of the next request, is not waited for meanwhile."""
    gate = Gate()
    with played_line(gate) as (protocol, transport):
        protocol.data_received(ASKED)
        await turns()
        monkeypatch.setattr(server, "HEADER_SECONDS", 0)
        protocol.data_received(early)
        await turns()
        assert not transport.closing
        gate.open.release()
        assert (await answered(transport)).startswith(b"HTTP/1.1 200 ")
        await asyncio.wait_for(transport.ended.wait(), 20)
        assert b" 408 request_timeout" in transport.written
