"""Answers over the gateway's own TLS."""

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.parts.edge import served
from tests.parts.mirror import make_certificate
from tests.parts.raw_http import read_answer, request_bytes

from garage_ai.gateway import asgi

pytestmark = pytest.mark.anyio

PIECE = b"x" * 1000
PIECES = 300


async def in_pieces(_: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _number in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})


async def test_an_answer_in_pieces_comes_to_its_end(tmp_path: Path) -> None:
    """Each piece goes out though one is written at a time, and none waits for those behind it."""
    make_certificate(tmp_path / "edge.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "edge.pem")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "edge.pem"))
    async with served(in_pieces, tls=tls) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
        writer.write(request_bytes("/"))
        answer = await asyncio.wait_for(read_answer(reader), 30)
        assert answer.body == PIECE * PIECES
        writer.transport.abort()
