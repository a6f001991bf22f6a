"""A load client for the OpenAI API over HTTP/1.1 keep-alive: closed loop, one connection each.

    python -m bench.load http://127.0.0.1:8000/v1 --model mock --clients 16 --stream --seconds 5
    python -m bench.load --ceiling          what this client can do at most, against the mock

Every answer is checked, not only counted: status, completeness of the body, number of content
chunks and `[DONE]`. Times are taken at the client, so a request that waits in an accept queue
pays for it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from urllib.parse import urlsplit

import uvloop

from bench.load_protocol import Connection, Expectation, LoadError, StaleConnection
from bench.processes import mock_engine
from bench.quantiles import Summary, summary

__all__ = ["LoadResult", "Target", "Workload", "connect", "http_request", "main", "run_load"]

MOST_ERRORS = 100  # after that many a cell is given up
PROMPT = "Say something short about the northern lights."


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go."""

    name: str
    base_url: str  # with /v1
    model: str = "mock"
    api_key: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self.base_url)
        return parts.hostname or "127.0.0.1", parts.port or 80


@dataclass(frozen=True, slots=True)
class Workload:
    """What each client asks, again and again.

    `chunks` is asked for as max_tokens. `exact` demands that many chunks of the mock engine's own
    text; a real model may stop earlier.
    """

    stream: bool
    clients: int = 1
    chunks: int = 32
    exact: bool = True
    prompts: tuple[str, ...] = (PROMPT,)  # one request each, over and over
    extra: tuple[tuple[str, object], ...] = ()

    @property
    def name(self) -> str:
        """Name the cell in tables."""
        kind = "stream" if self.stream else "plain"
        return f"{kind} x{self.clients}"

    @property
    def expect(self) -> Expectation:
        """Say what a correct answer looks like."""
        return Expectation(self.stream, self.chunks, self.exact)

    def body(self, model: str, prompt: str) -> bytes:
        """Return the JSON of one request."""
        payload: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.chunks,
        }
        if self.stream:
            payload["stream"] = True
        payload.update(self.extra)
        return json.dumps(payload).encode()


@dataclass(slots=True)
class LoadResult:
    """What the clients saw in one cell; times in seconds."""

    wall: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    chunks: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Count the complete answers."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Return complete answers per second."""
        return self.requests / self.wall if self.wall else 0.0

    @property
    def latency(self) -> Summary:
        """Summarise the time from the first byte sent to the last received."""
        return summary(self.latencies)

    @property
    def first_token(self) -> Summary:
        """Summarise the time to the first content (to the whole body when not streamed)."""
        return summary(self.first_tokens)


async def run_load(
    target: Target,
    workload: Workload,
    *,
    seconds: float | None = None,
    requests: int | None = None,
    timeout: float = 60.0,
) -> LoadResult:
    """Run the workload for a time or a number of requests over all clients; return what was seen.

    A request under way when the time is up is finished and counted. An error ends only that
    request; its client opens a new connection.
    """
    result = LoadResult()
    budget = _Budget(requests)
    client = _Client(target, workload, result, timeout)
    gc.collect()
    gc.disable()  # as timeit does: a collection here would be read as the gateway's p99
    start = time.perf_counter()
    deadline = start + seconds if seconds is not None else float("inf")
    try:
        await asyncio.gather(*(client.run(deadline, budget) for _ in range(workload.clients)))
    finally:
        gc.enable()
    result.wall = time.perf_counter() - start
    return result


class _Budget:
    """How many requests may still begin."""

    def __init__(self, requests: int | None) -> None:
        self._left = requests

    def take(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


class _Client:
    """Sends one request after the other and writes down what came back."""

    def __init__(
        self, target: Target, workload: Workload, result: LoadResult, timeout: float
    ) -> None:
        self._target = target
        self._result = result
        self._timeout = timeout
        requests = [http_request(target, workload, prompt) for prompt in workload.prompts]
        self._requests = cycle(requests)
        self._expect = workload.expect

    async def run(self, deadline: float, budget: _Budget) -> None:
        connection: Connection | None = None
        errors = self._result.errors
        while time.perf_counter() < deadline and len(errors) < MOST_ERRORS and budget.take():
            try:
                connection = await self._one(connection, next(self._requests))
            except (LoadError, OSError, TimeoutError) as problem:
                errors.append(f"{type(problem).__name__}: {problem}")
                connection = None
        if connection is not None:
            connection.close()

    async def _one(self, connection: Connection | None, request: bytes) -> Connection:
        """Ask on the kept connection or a new one, and return it for the next question."""
        kept = connection
        if kept is None or kept.closed:
            kept = await connect(self._target, self._expect, self._timeout)
        try:
            answer = await kept.ask(request, self._timeout)
        except StaleConnection:  # as every HTTP client does
            return await self._one(None, request)
        except LoadError:
            kept.close()
            raise
        result = self._result
        result.latencies.append(answer.last_byte - answer.sent)
        result.first_tokens.append(answer.first_content - answer.sent)
        result.chunks += answer.chunks
        return kept


async def connect(target: Target, expect: Expectation, timeout: float = 10.0) -> Connection:
    """Open a keep-alive connection; raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    host, port = target.address
    connecting = loop.create_connection(partial(Connection, loop, expect), host, port)
    _, connection = await asyncio.wait_for(connecting, timeout)
    return connection


def http_request(target: Target, workload: Workload, prompt: str) -> bytes:
    """Return the bytes of one chat request."""
    host, port = target.address
    path = urlsplit(target.base_url).path.rstrip("/") + "/chat/completions"
    body = workload.body(target.model, prompt)
    key = f"authorization: Bearer {target.api_key}\r\n" if target.api_key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        f"{key}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _from_command_line(arguments: argparse.Namespace) -> int:
    workload = Workload(
        stream=arguments.stream,
        clients=arguments.clients,
        chunks=arguments.chunks,
        exact=arguments.model == "mock",
    )
    if arguments.ceiling:
        async with mock_engine() as engine:
            target = Target("mock", engine.base_url)
            await _measure(target, workload, arguments.seconds, ceiling=True)
        return 0
    target = Target("target", arguments.url, arguments.model, arguments.api_key)
    return await _measure(target, workload, arguments.seconds)


async def _measure(
    target: Target, workload: Workload, seconds: float, *, ceiling: bool = False
) -> int:
    before = time.process_time()
    result = await run_load(target, workload, seconds=seconds)
    spent = time.process_time() - before
    latency, first = result.latency, result.first_token
    print(
        f"{workload.name}: {result.rate:,.0f} requests/s, {result.chunks / result.wall:,.0f} "
        f"chunks/s, p50 {latency.p50 * 1e3:.2f} ms, p99 {latency.p99 * 1e3:.2f} ms, first content "
        f"p50 {first.p50 * 1e3:.2f} ms, {len(result.errors)} errors"
    )
    for error in result.errors[:3]:
        print("  ", error)
    if ceiling and result.requests:
        print(f"one core of this client is used up at {result.requests / spent:,.0f} requests/s")
    return 1 if result.errors else 0


def main(argv: list[str] | None = None) -> int:
    """Load one target and print what was seen; status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__.split("\n")[0])
    parser.add_argument("url", nargs="?", default="", help="base URL with /v1")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--chunks", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ceiling", action="store_true", help="measure this client itself")
    arguments = parser.parse_args(argv)
    if not arguments.url and not arguments.ceiling:
        parser.error("give a base URL, or --ceiling")
    return uvloop.run(_from_command_line(arguments))


if __name__ == "__main__":
    sys.exit(main())
