"""Clients that leave, clients that read slowly, and a gateway that leaves."""

import asyncio
import json
import socket
import ssl
import struct
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parts.edge import Edge, chunk_event, running_edge, served
from tests.parts.mirror import make_certificate
from tests.parts.raw_http import ask, chat, raw, read_answer, request_bytes

from garage_ai.gateway import asgi, server

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"


def request(edge: Edge, model: str, stream: bool = True, padding: int = 0) -> bytes:
    body = json.dumps(chat(model, stream=stream, user="x" * padding)).encode()
    return request_bytes(PATH, method="POST", headers=edge.bearer, body=body)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_leaving_a_stream(edge: Edge, how: str) -> None:
    """However a client leaves its stream, the work is stopped at once."""
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, "held"))
        await reader.readuntil(chunk_event("Hello")[:-4])
        left_at = now()
        if how == "half":
            writer.write_eof()
        elif how == "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
        reply = edge.serving.replies[0]
        await asyncio.wait_for(reply.closed.wait(), 20)
        assert reply.closed_at - left_at < 2  # it is some milliseconds
        assert reply.outcome == "client_closed"


@pytest.mark.parametrize("padding", [0, 50_000, 200_000, 2_000_000])
async def test_leaving_a_plain_request(edge: Edge, padding: int) -> None:
    """So is the work on an answer that has not begun to be sent, however long the question was."""
    async with raw(edge) as (_, writer):
        writer.write(request(edge, "held", stream=False, padding=padding))
        await asyncio.wait_for(edge.serving.opened.wait(), 20)
        left_at = now()
    reply = edge.serving.replies[0]
    await asyncio.wait_for(reply.closed.wait(), 20)
    assert reply.closed_at - left_at < 2  # it is some milliseconds


async def test_leaving_the_queue(edge: Edge) -> None:
    """A client that leaves before a node was found is not waited for there either."""
    async with raw(edge) as (_, writer):
        writer.write(request(edge, "hanging"))
        await asyncio.wait_for(edge.serving.opening.wait(), 20)
    await asyncio.wait_for(edge.serving.cancelled.wait(), 20)
    assert edge.serving.given_up == "client_closed"
    async with raw(edge) as (reader, writer):
        writer.write(request_bytes("/metrics"))
        metrics = await read_answer(reader)
    assert b'gai_http_errors_total{code="client_closed"} 1.0' in metrics.body


async def test_a_whole_answer_is_closed_once(edge: Edge) -> None:
    """An answer that was whole is closed too, so that nothing is left behind."""
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, "garage-chat"))
        assert (await read_answer(reader)).status == 200
        writer.write(request(edge, "garage-chat", stream=False))
        assert (await read_answer(reader)).status == 200
    for reply in edge.serving.replies:
        await asyncio.wait_for(reply.closed.wait(), 20)


async def test_what_came_is_not_kept_while_the_answer_runs(edge: Edge) -> None:
    """Only what goes to the engine is: eight megabytes of each stream would else be there twice."""
    asked = request(edge, "held", padding=4_000_000)
    async with raw(edge) as (reader, writer):
        tracemalloc.start()
        try:
            writer.write(asked)
            await reader.readuntil(chunk_event("Hello")[:-4])
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 2_000_000


async def test_a_slow_reader_is_waited_for(edge: Edge) -> None:
    """Of 40 MB no more than the sockets' buffers are taken from the node while nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, ("127.0.0.1", edge.port))
        await loop.sock_sendall(sock, request(edge, "huge"))
        taken = await _taken_at_rest(edge)
        assert 0 < taken < 10_000_000
        while taken < 20_000_000:
            taken += len(await loop.sock_recv(sock, 1_000_000))
        assert edge.serving.replies[0].sent > 10_000_000
    finally:
        sock.close()
    await asyncio.wait_for(edge.serving.replies[0].closed.wait(), 20)


async def _taken_at_rest(edge: Edge) -> int:
    """Wait until no more is taken, and say how much it was."""
    taken = -1
    async with asyncio.timeout(20):
        while not edge.serving.replies or edge.serving.replies[0].sent != taken:
            taken = edge.serving.replies[0].sent if edge.serving.replies else -1
            await asyncio.sleep(0.1)
    return taken


async def test_a_slow_reader_holds_nobody_up(edge: Edge) -> None:
    """While one client reads nothing, others are answered."""
    async with raw(edge) as (_, stalled):
        stalled.write(request(edge, "huge"))
        await _taken_at_rest(edge)
        async with raw(edge) as (reader, writer):
            writer.write(request(edge, "garage-chat"))
            assert (await read_answer(reader)).status == 200


async def test_a_reader_that_takes_nothing_is_cut(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes not one byte for a minute loses its connection, and the node its work."""
    monkeypatch.setattr(server, "STALL_SECONDS", 0.3)
    async with raw(edge) as (_, stalled):
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        stalled.write(request(edge, "huge"))
        await asyncio.wait_for(edge.serving.opened.wait(), 20)
        await asyncio.wait_for(edge.serving.replies[0].closed.wait(), 20)


async def test_a_stop_lets_streams_end(edge: Edge) -> None:
    """A stream that runs when the server stops is finished."""
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, "held"))
        await reader.readuntil(chunk_event("Hello")[:-4])
        edge.server.stop()
        edge.serving.gate.set()
        rest = await asyncio.wait_for(reader.read(), 20)
        assert rest.endswith(b"0\r\n\r\n")
        assert b"error" not in rest


async def test_a_gateway_that_leaves_says_so_first(edge: Edge) -> None:
    """Ready no more while a stream goes on, it still takes requests; then it closes its port."""
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, "held"))
        await reader.readuntil(chunk_event("Hello")[:-4])
        edge.server.leave()
        unready = await ask(edge, "/health/ready")
        assert (unready.status, unready.code) == (503, "shutting_down")
        assert int(unready.headers["retry-after"]) > 0
        assert (await ask(edge, "/health/live")).status == 200
        late = await ask(edge, PATH, method="POST", headers=edge.bearer, json_body=chat())
        assert late.status == 200
        assert not edge.server.should_exit
        edge.serving.gate.set()
        rest = await asyncio.wait_for(reader.read(), 20)
        assert rest.endswith(b"0\r\n\r\n")
        assert b"error" not in rest
    assert edge.server.should_exit


async def test_who_asks_hears_of_it_also_at_rest(tmp_path: Path) -> None:
    """Idle, the port is open until whoever asked lately has had the time to ask again."""
    async with running_edge(tmp_path) as edge:
        assert (await ask(edge, "/health/ready")).status == 200
        edge.server.leave()
        for _ in range(3):
            assert (await ask(edge, "/health/ready")).code == "shutting_down"
            assert not await edge.server.on_tick(1)


async def test_a_stop_does_not_wait_for_ever(edge: Edge) -> None:
    """One that does not end in time is ended with an error event, and its node is told."""
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, "held"))
        await reader.readuntil(chunk_event("Hello")[:-4])
        edge.server.stop()
        rest = await asyncio.wait_for(reader.read(), 20)
        assert b'"code":"shutting_down"' in rest
        assert b"[DONE]" not in rest
    await asyncio.wait_for(edge.serving.replies[0].closed.wait(), 20)
    assert edge.serving.replies[0].outcome == "shutting_down"


@pytest.mark.parametrize("model", ["held", "hanging"])
async def test_a_stop_is_not_put_down_to_the_client(edge: Edge, model: str) -> None:
    """A plain request that the stop cuts short is told so, and recorded so, waiting or at work."""
    begun = edge.serving.opening if model == "hanging" else edge.serving.opened
    async with raw(edge) as (reader, writer):
        writer.write(request(edge, model, stream=False))
        await asyncio.wait_for(begun.wait(), 20)
        edge.server.stop()
        answer = await asyncio.wait_for(read_answer(reader), 20)
    assert (answer.status, answer.code) == (503, "shutting_down")
    recorded = edge.serving.given_up or edge.serving.replies[0].outcome
    assert recorded == "shutting_down"


async def test_a_stop_does_not_wait_for_who_reads_nothing(edge: Edge) -> None:
    """What was said to it until then is recorded while there is somebody to record it."""
    async with raw(edge) as (_, stalled):
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        stalled.write(request(edge, "huge"))
        await asyncio.wait_for(edge.serving.opened.wait(), 20)
        edge.server.stop()
        await asyncio.wait_for(edge.serving.replies[0].closed.wait(), 20)
    assert edge.serving.replies[0].outcome == "shutting_down"


async def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    """Connections that are merely kept do not hold the stop up."""
    async with running_edge(tmp_path, grace_seconds=60) as edge, raw(edge) as (reader, writer):
        writer.write(request_bytes("/health/live"))
        await read_answer(reader)
        edge.server.stop()
        assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_an_idle_client_of_tls_is_not_waited_for(tmp_path: Path) -> None:
    """One that does not read between two requests hears of no end, and so says nothing to it."""
    make_certificate(tmp_path / "edge.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "edge.pem")
    with ExitStack() as stack:
        async with asyncio.timeout(15), served(empty, 60, tls=tls) as (_, port):
            client = await asyncio.to_thread(answered_client, port, tmp_path / "edge.pem")
            stack.enter_context(client)


async def empty(_: asgi.Scope, __: asgi.Receive, send: asgi.Send) -> None:
    await asgi.answer(send, 200, b"", [])


def answered_client(port: int, trusted: Path) -> ssl.SSLSocket:
    """Ask once, and go on with other things."""
    plain = socket.create_connection(("127.0.0.1", port), 20)
    context = ssl.create_default_context(cafile=trusted)
    client = context.wrap_socket(plain, server_hostname="127.0.0.1")
    client.sendall(request_bytes("/"))
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    return client
