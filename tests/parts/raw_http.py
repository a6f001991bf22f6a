"""Plain HTTP/1.1 over a socket of one's own: what well-behaved clients never send."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.parts.edge import Edge


@dataclass(frozen=True)
class Answer:
    """A raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code in the envelope."""
        code: str = json.loads(self.body)["error"]["code"]
        return code


async def read_answer(reader: asyncio.StreamReader, seconds: float = 20.0) -> Answer:
    """Read one whole answer."""
    async with asyncio.timeout(seconds):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        twice = [line for line in head[1:] if line][len(headers) :]
        assert not twice, f"a header is said twice: {head}"
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ")[1]), headers, body)


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def raw_at(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Line]:
    """Open a bare connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@asynccontextmanager
async def raw(edge: Edge) -> AsyncIterator[Line]:
    """Open a bare connection to the edge."""
    async with raw_at(edge.port) as line:
        yield line


def request_bytes(
    path: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> bytes:
    """Write a request."""
    lines = [f"{method} {path} HTTP/1.1", "host: x"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None and "transfer-encoding" not in (headers or {}):
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


async def ask(
    edge: Edge,
    path: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    json_body: object = None,
) -> Answer:
    """Ask once on a connection of its own."""
    if json_body is not None:
        body = json.dumps(json_body).encode()
        headers = {"content-type": "application/json", **(headers or {})}
    async with raw(edge) as (reader, writer):
        writer.write(request_bytes(path, method=method, headers=headers, body=body))
        return await read_answer(reader)


def chat(model: str = "garage-chat", **more: object) -> dict[str, object]:
    """Make the body of a small chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
