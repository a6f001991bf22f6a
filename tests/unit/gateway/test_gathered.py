"""What a turn of the loop says goes out at once."""

import asyncio

import pytest
from tests.parts.played_transport import PlayedTransport, answered, played_line

from garage_ai.gateway import asgi
from garage_ai.gateway.gathered import MOST, Gathered

pytestmark = pytest.mark.anyio


def gathered() -> tuple[PlayedTransport, Gathered]:
    inner = PlayedTransport(unsent=100)
    return inner, Gathered(inner, asyncio.get_running_loop())


async def test_one_turn_is_one_write() -> None:
    """Pieces of one turn are one write, in their order; the next turn's are another."""
    inner, transport = gathered()
    for piece in (b"head", bytearray(b"body"), b"end"):
        transport.write(piece)
    assert inner.said == []
    assert transport.get_write_buffer_size() == 111
    await asyncio.sleep(0)
    transport.write(b"more")
    await asyncio.sleep(0)
    assert inner.said == [b"headbodyend", b"more"]


async def test_much_is_written_at_once() -> None:
    """More than the bound does not wait, so that the flow control below hears of it."""
    inner, transport = gathered()
    transport.write(b"x")
    transport.write(b"y" * MOST)
    assert inner.said == [b"x" + b"y" * MOST]
    transport.write(b"z")
    await asyncio.sleep(0)
    assert inner.said[1:] == [b"z"]


async def test_an_end_does_not_wait() -> None:
    """What is flushed goes to the client at once, and is not said again."""
    inner, transport = gathered()
    assert inner.limit == 0
    transport.write(b"end")
    transport.flush()
    assert inner.said == [b"end"]
    await asyncio.sleep(0)
    assert inner.said == [b"end"]


async def test_closing_says_the_rest_first() -> None:
    """What was written before a close goes out before it."""
    inner, transport = gathered()
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert inner.said == [b"last", "close"]
    assert transport.is_closing()


async def test_aborting_says_nothing_more() -> None:
    """What was written before an abort is forgotten."""
    inner, transport = gathered()
    transport.write(b"last")
    transport.abort()
    await asyncio.sleep(0)
    assert inner.said == ["abort"]


async def test_nobody_is_written_to() -> None:
    """A client that hung up in the same turn is sent nothing."""
    inner, transport = gathered()
    transport.write(b"last")
    inner.closing = True
    await asyncio.sleep(0)
    assert inner.said == []


async def test_an_answer_is_one_write() -> None:
    """Head, body and end go to the client together, and before anybody else has a turn."""

    gone: list[bool] = []

    async def app(_: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        gone.append(bool(inner.said))
        await send({"type": "http.response.body", "body": b"last"})
        gone.append(bool(inner.said))

    with played_line(app) as (protocol, inner):
        protocol.data_received(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        await answered(inner)
        written = inner.said[0]
    assert isinstance(written, bytes)
    assert gone == [False, True]
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "header",
    [
        (b"x-node", b"a\r\nset-cookie: b=c"),
        (b"x-node", b"a\nb"),
        (b"x-node", b"a\rb"),
        (b"x-node", b"a\0"),
        (b"x-no\r\nde", b"hidden"),
    ],
)
async def test_a_header_with_a_line_of_its_own_is_not_sent(header: asgi.Header) -> None:
    """Whatever wrote it, the client gets an error and nothing of it."""

    async def app(_: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        await asgi.answer(send, 200, b"body", [(b"x-good", b"yes"), header])

    written = await _answered(app)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert header[1] not in written
    assert b"x-good" not in written


async def _answered(app: asgi.App) -> bytes:
    with played_line(app) as (protocol, inner):
        protocol.data_received(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        await answered(inner)
        written = inner.said[0]
    assert isinstance(written, bytes)
    return written
