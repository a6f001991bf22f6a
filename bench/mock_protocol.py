"""HTTP/1.1 of the mock engine: just enough to be fast and to meet every real client.

Bodies need a Content-Length; pipelining is refused. That a client left is seen as it happens,
because reading is never paused.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec

from bench.mock_answers import (
    Generation,
    Route,
    embeddings_answer,
    error_answer,
    json_answer,
)
from bench.mock_jobs import Bench, Job
from bench.mock_options import Options

__all__ = ["EngineProtocol"]

ROUTES: dict[bytes, Route] = {b"/v1/chat/completions": "chat", b"/v1/completions": "completions"}
LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 64 * 1024 * 1024

_generation = msgspec.json.Decoder(Generation)


class EngineProtocol(asyncio.Protocol):
    """One connection to the mock engine."""

    def __init__(self, bench: Bench, connections: set[asyncio.Transport]) -> None:
        self._bench = bench
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = b""
        self._job: Job | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._connections.add(self._transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count the request at work as cancelled."""
        self._connections.discard(self._transport)
        if self._job is not None and not self._job.done:
            self._job.cancel()

    def pause_writing(self) -> None:
        """Hold the stream: the client is slow."""
        if self._job is not None and not self._job.done:
            self._job.pause()

    def resume_writing(self) -> None:
        """Let the stream go on."""
        if self._job is not None and not self._job.done:
            self._job.resume()

    def data_received(self, data: bytes) -> None:
        """Answer each whole request as it comes in."""
        self._buffer = data = self._buffer + data if self._buffer else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            if len(data) > LARGEST_HEAD:
                self._refuse(400, "head too large")
            return
        head = data[:head_end]
        length = _content_length(head)
        if length < 0 or length > LARGEST_BODY:
            self._refuse(411 if length < 0 else 413, "the mock engine needs a Content-Length")
            return
        end = head_end + 4 + length
        if len(data) < end:
            return
        self._buffer = b""
        if len(data) > end or (self._job is not None and not self._job.done):
            self._refuse(400, "pipelining is not supported")
            return
        method, _, rest = head.partition(b" ")
        path = rest[: rest.index(b" ")].partition(b"?")[0]
        self._answer(method, path, head, data[head_end + 4 : end])

    def _answer(self, method: bytes, path: bytes, head: bytes, body: bytes) -> None:
        route = ROUTES.get(path)
        if method == b"POST" and route is not None:
            self._bench.last = (head, body)
            self._generate(route, body)
        elif method == b"POST" and path == b"/v1/embeddings":
            self._bench.last = (head, body)
            self._embed(body)
        elif path.startswith(b"/mock/"):
            self._transport.write(self._control(method, path, body))
        else:
            self._transport.write(self._plain_get(method, path))

    def _generate(self, route: Route, body: bytes) -> None:
        try:
            request = _generation.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            self._transport.write(error_answer(400, str(problem)))
            return
        if request.model not in self._bench.options.names:
            self._transport.write(error_answer(404, "no such model"))
            return
        self._job = Job(self._bench, route, request, self._transport, self._loop)
        self._bench.submit(self._job)

    def _embed(self, body: bytes) -> None:
        try:
            request = _generation.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            self._transport.write(error_answer(400, str(problem)))
            return
        self._bench.state.seen += 1
        self._bench.state.served += 1
        self._transport.write(embeddings_answer(request, self._bench.options))

    def _plain_get(self, method: bytes, path: bytes) -> bytes:
        if method != b"GET":
            return error_answer(404, "no such path")
        if path == b"/v1/models":
            names = self._bench.options.names
            models = [{"id": name, "object": "model", "owned_by": "mock"} for name in names]
            return json_answer(msgspec.json.encode({"object": "list", "data": models}))
        if path == b"/health":
            return json_answer(b'{"status":"ok"}')
        if path == b"/metrics":
            return json_answer(_metrics(self._bench))
        return error_answer(404, "no such path")

    def _control(self, method: bytes, path: bytes, body: bytes) -> bytes:
        bench = self._bench
        if path == b"/mock/state":
            return json_answer(msgspec.json.encode(bench.state))
        if path == b"/mock/last":
            return json_answer(_described(*bench.last))
        if path == b"/mock/reset" and method == b"POST":
            bench.reset()
            return json_answer(msgspec.json.encode(bench.state))
        if path != b"/mock/options":
            return error_answer(404, "no such path")
        if method == b"POST":
            try:
                changes = msgspec.json.decode(body, type=dict[str, object])
                merged = {**msgspec.structs.asdict(bench.options), **changes}
                bench.options = msgspec.convert(merged, Options)
            except msgspec.MsgspecError as problem:
                return error_answer(400, str(problem))
            bench.admit()
        return json_answer(msgspec.json.encode(bench.options))

    def _refuse(self, status: int, why: str) -> None:
        self._transport.write(error_answer(status, why))
        self._transport.close()


def _content_length(head: bytes) -> int:
    """Return the body's length; 0 when none is announced, -1 when it cannot be known."""
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    if at < 0:
        return -1 if b"\r\ntransfer-encoding:" in lowered else 0
    value = lowered[at + 17 :].partition(b"\r\n")[0].strip()
    return int(value) if value.isdigit() else -1


def _metrics(bench: Bench) -> bytes:
    """Say the load, and what was done, as vLLM does; nothing here looks at the type of a page."""
    state = bench.state
    gauges = {
        "num_requests_running": state.running,
        "num_requests_waiting": state.waiting,
        "kv_cache_usage_perc": 0.25 if state.running else 0.0,
        "generation_tokens_total": state.chunks,
    }
    lines = [f'vllm:{name}{{engine="0"}} {float(value)}\n' for name, value in gauges.items()]
    return "".join(lines).encode()


def _described(head: bytes, body: bytes) -> bytes:
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    text = body.decode("utf-8", "replace")
    return msgspec.json.encode({"line": lines[0], "headers": headers, "body": text})
