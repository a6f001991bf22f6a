"""What is hardly HTTP, and what is HTTP in its odder ways."""

import asyncio
import json

import pytest
from tests.parts.edge import Edge
from tests.parts.raw_http import chat, raw, read_answer, request_bytes

from garage_ai.gateway import server

pytestmark = pytest.mark.anyio


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """The module's edge, with no calls noted."""
    shared_edge.serving.forget()
    return shared_edge


PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_not_http(edge: Edge, sent: bytes) -> None:
    """Bytes that are not HTTP are answered in the envelope and the connection ends."""
    async with raw(edge) as (reader, writer):
        writer.write(sent)
        answer = await read_answer(reader)
        assert 400 <= answer.status < 500
        assert answer.code
        assert answer.headers["x-request-id"].startswith("req_")
        if answer.code == "invalid_http":
            assert await reader.read() == b""


@pytest.mark.parametrize("ended", [True, False])
async def test_large_headers(edge: Edge, ended: bool) -> None:
    """More than 64 KiB of headers are refused, finished or not."""
    async with raw(edge) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-a: " + b"b" * 70_000)
        if ended:
            writer.write(b"\r\n\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer.code) == (431, "headers_too_large")


async def test_slow_headers(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that do not come to an end are not waited for."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    async with raw(edge) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        assert (await read_answer(reader, 15)).code == "request_timeout"
    async with raw(edge) as (reader, writer):
        assert await asyncio.wait_for(reader.read(), 15) == b""


async def test_pieces(edge: Edge) -> None:
    """A request may come byte by byte."""
    async with raw(edge) as (reader, writer):
        for byte in request_bytes("/health/live"):
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await read_answer(reader)).status == 200


async def test_pipelined(edge: Edge) -> None:
    """Requests sent at once are answered in their order."""
    body = json.dumps(chat()).encode()
    async with raw(edge) as (reader, writer):
        writer.write(
            request_bytes("/health/live")
            + request_bytes(PATH, method="POST", headers=edge.bearer, body=body)
            + request_bytes("/nowhere")
        )
        assert [(await read_answer(reader)).status for _ in range(3)] == [200, 200, 404]


async def test_kept_alive(edge: Edge) -> None:
    """Many requests share a connection, errors among them."""
    async with raw(edge) as (reader, writer):
        for _ in range(20):
            writer.write(request_bytes("/health/live"))
            assert (await read_answer(reader)).status == 200
            writer.write(request_bytes(PATH, method="POST", body=b"{}"))
            assert (await read_answer(reader)).status in (401, 429)


async def test_chunked_request(edge: Edge) -> None:
    """A body in chunks is a body."""
    body = json.dumps(chat()).encode()
    async with raw(edge) as (reader, writer):
        head = request_bytes(
            PATH, method="POST", headers=edge.bearer | {"transfer-encoding": "chunked"}
        )
        writer.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert (await read_answer(reader)).status == 200


async def test_head(edge: Edge) -> None:
    """HEAD gives the headers of GET without its body."""
    async with raw(edge) as (reader, writer):
        writer.write(request_bytes("/docs", method="HEAD"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert head.startswith(b"HTTP/1.1 200")
        writer.write(request_bytes("/health/live"))
        assert (await read_answer(reader)).status == 200


async def test_upgrade_is_passed_over(edge: Edge) -> None:
    """An offer of another protocol is passed over, as HTTP allows."""
    body = json.dumps(chat()).encode()
    headers = edge.bearer | {"connection": "upgrade, http2-settings", "upgrade": "h2c"}
    async with raw(edge) as (reader, writer):
        writer.write(request_bytes(PATH, method="POST", headers=headers, body=body))
        assert (await read_answer(reader)).status == 200


async def test_a_client_of_http_1_0_gets_no_chunks(edge: Edge) -> None:
    """It reads to the end of the connection, and every byte there is the answer's."""
    async with raw(edge) as (reader, writer):
        asked = json.dumps(chat(stream=True)).encode()
        sent = request_bytes(PATH, method="POST", headers=edge.bearer, body=asked)
        writer.write(sent.replace(b" HTTP/1.1", b" HTTP/1.0", 1))
        async with asyncio.timeout(20):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    events = body.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert all(event.startswith(b"data: ") for event in events[:-1])
