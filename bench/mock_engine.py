"""A fast engine of the OpenAI shape that thinks nothing: the upstream of every measurement.

    python -m bench.mock_engine --port 0 --print-port      prints `listening PORT` when ready
    python -m bench.mock_engine --socket /run/x/engine.sock --chunk-delay 0.02 --slots 4

It serves `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/health`, and
`/metrics` with vLLM's gauges of load.
For tests: `GET /mock/state` (running, waiting, served, cancelled, ...), `GET /mock/last` (the
newest request as it arrived), `POST /mock/options` (change any option of a running engine),
`POST /mock/reset` (count from zero).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from types import TracebackType

import uvloop

from bench.mock_jobs import Bench, State
from bench.mock_options import Options, add_arguments, options_from
from bench.mock_protocol import EngineProtocol

__all__ = ["MockEngine", "Options", "State", "main"]


class MockEngine:
    """A mock engine inside the running event loop.

    Use it as `async with MockEngine(Options(chunks=4)) as engine:`; the process that dies by
    `die_after` is this one, so that fault wants an engine of its own (`python -m`).
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        socket: Path | None = None,
    ) -> None:
        self._bench = Bench(options or Options())
        self._host = host
        self._port = port
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    @property
    def options(self) -> Options:
        """Return the options in force; assign new ones to change them."""
        return self._bench.options

    @options.setter
    def options(self, options: Options) -> None:
        self._bench.options = options
        self._bench.admit()

    @property
    def state(self) -> State:
        """Return the running counters."""
        return self._bench.state

    @property
    def connections(self) -> int:
        """Count the open connections."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """Return the TCP port, 0 on a unix socket."""
        return self._port

    @property
    def url(self) -> str:
        """Return the base URL with `/v1`, for TCP."""
        return f"http://{self._host}:{self._port}/v1"

    async def start(self) -> None:
        """Listen; raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()

        def protocol() -> EngineProtocol:
            return EngineProtocol(self._bench, self._connections)

        if self._socket is not None:
            self._server = await loop.create_unix_server(protocol, str(self._socket), backlog=1024)
            return
        self._server = await loop.create_server(protocol, self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        for transport in tuple(self._connections):
            transport.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)
        self._server = None

    async def __aenter__(self) -> MockEngine:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def _serve(arguments: argparse.Namespace) -> None:
    engine = MockEngine(
        options_from(arguments),
        host=arguments.host,
        port=arguments.port,
        socket=arguments.socket,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with engine:
        print("listening", arguments.socket or engine.port, flush=True)
        await stop.wait()


def main(argv: list[str] | None = None) -> int:
    """Run a mock engine until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bench.mock_engine", description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--socket", type=Path, help="listen on this unix socket instead")
    parser.add_argument(
        "--print-port", action="store_true", help="say `listening PORT` when ready (it always does)"
    )
    add_arguments(parser)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
