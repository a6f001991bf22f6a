"""Bodies are bounded in bytes and in time, and the client can always read why."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import chat, raw, read_answer, request_bytes

from garage_ai.gateway.body import BodyLimits

pytestmark = pytest.mark.anyio

PATIENT = BodyLimits(
    size=10_000, seconds=60.0, idle_seconds=60.0, drain_bytes=300_000, drain_seconds=60.0
)
"""Small in bytes, and longer than any answer is waited for."""
PATH = "/v1/chat/completions"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge that takes little, and has all the time for it."""
    async with running_edge(tmp_path, limits=PATIENT) as running:
        yield running


def head(edge: Edge, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request_bytes(PATH, method="POST", headers=edge.bearer | named)


def piece(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_too_large_by_its_length(edge: Edge) -> None:
    """A body that is announced too large is read to its end, refused, and the line goes on."""
    async with raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="200000"))
        for _ in range(20):
            writer.write(b"x" * 10_000)
            await writer.drain()
        answer = await read_answer(reader)
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert "connection" not in answer.headers
        body = json.dumps(chat()).encode()
        writer.write(request_bytes(PATH, method="POST", headers=edge.bearer, body=body))
        assert (await read_answer(reader)).status == 200


async def test_too_large_in_pieces(edge: Edge) -> None:
    """So is one that comes in pieces without a length."""
    async with raw(edge) as (reader, writer):
        writer.write(head(edge, transfer_encoding="chunked"))
        for _ in range(20):
            writer.write(piece(b"x" * 1_000))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader)).code == "body_too_large"
        assert edge.serving.calls == []


async def test_too_large_without_end(edge: Edge) -> None:
    """One that never ends is refused after so many bytes, and the connection with it."""
    async with raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="100000000"))
        writer.write(b"x" * 400_000)
        answer = await read_answer(reader)
        assert answer.code == "body_too_large"
        assert answer.headers["connection"] == "close"


async def test_too_large_and_silent(tmp_path: Path) -> None:
    """One that is announced and does not come is refused after a while."""
    limits = replace(PATIENT, drain_seconds=0.5)
    async with running_edge(tmp_path, limits=limits) as edge, raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="100000"))
        answer = await read_answer(reader)
        assert answer.code == "body_too_large"
        assert answer.headers["connection"] == "close"


async def test_continue_is_not_given_to_the_too_large(edge: Edge) -> None:
    """A client that asks first is told 413 before it has sent anything."""
    async with raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="100000", expect="100-continue"))
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_continue_is_given(edge: Edge) -> None:
    """A client that asks first, with a sound length, is let go on."""
    body = json.dumps(chat()).encode()
    async with raw(edge) as (reader, writer):
        writer.write(head(edge, content_length=str(len(body)), expect="100-continue"))
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        await reader.readline()
        writer.write(body)
        assert (await read_answer(reader)).status == 200


async def test_wrong_key_before_the_body(edge: Edge) -> None:
    """A stranger's body is not waited for."""
    async with raw(edge) as (reader, writer):
        headers = {"authorization": "Bearer gai_x", "content-length": "5000"}
        writer.write(request_bytes(PATH, method="POST", headers=headers))
        assert (await read_answer(reader)).status == 401


async def test_standing_still(tmp_path: Path) -> None:
    """A body that stands still ends in 408."""
    limits = replace(PATIENT, idle_seconds=0.3)
    async with running_edge(tmp_path, limits=limits) as edge, raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="5000") + b'{"model":')
        answer = await read_answer(reader)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"


async def test_trickling(tmp_path: Path) -> None:
    """So does one that trickles, however steadily."""
    limits = replace(PATIENT, seconds=0.6)
    async with running_edge(tmp_path, limits=limits) as edge, raw(edge) as (reader, writer):
        writer.write(head(edge, content_length="5000"))
        began = asyncio.get_running_loop().time()
        answering = asyncio.create_task(read_answer(reader))
        while not answering.done():
            writer.write(b"x")
            await asyncio.wait({answering}, timeout=0.05)
        assert (await answering).code == "request_timeout"
        assert asyncio.get_running_loop().time() - began > 0.5


async def test_leaving_while_sending(edge: Edge) -> None:
    """A client that leaves in the middle of its body is forgotten."""
    async with raw(edge) as (_, writer):
        writer.write(head(edge, content_length="5000") + b'{"model":')
        await writer.drain()
    async with raw(edge) as (reader, writer):
        writer.write(request_bytes("/health/live"))
        assert (await read_answer(reader)).status == 200
    assert edge.serving.calls == []


async def test_api_bodies_are_smaller(edge: Edge) -> None:
    """The other API is bounded as well."""
    async with raw(edge) as (reader, writer):
        body = json.dumps({"name": "x" * 20_000}).encode()
        writer.write(
            request_bytes("/api/v1/keys", method="POST", headers=edge.admin_bearer, body=body)
        )
        assert (await read_answer(reader)).code == "body_too_large"
