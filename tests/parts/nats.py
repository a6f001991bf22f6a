"""A real nats-server with a network's own keys, started and killed at will."""

import os
import signal
import subprocess
from pathlib import Path

from bench.processes import free_ports

from garage_ai.local.nats_server import NatsServer, TlsFiles
from garage_ai.network.authority import Authority


def two_free_ports() -> tuple[int, int]:
    """Find two ports free on loopback."""
    first = free_ports(2)
    return first, first + 1


class NatsProcess:
    """A nats-server of one folder; the ports stay the same over restarts.

    `more` stands behind the configuration that the product writes.
    """

    def __init__(
        self, authority: Authority, folder: Path, *, tls: TlsFiles | None = None, more: str = ""
    ) -> None:
        tcp, web = two_free_ports()
        self.authority = authority
        self.server = NatsServer(
            authority, folder / "nats", folder / "logs", port=tcp, websocket_port=web, tls=tls
        )
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        names = ("tls", "wss") if tls else ("nats", "ws")
        self.tcp_url = f"{names[0]}://127.0.0.1:{tcp}"
        self.web_url = f"{names[1]}://127.0.0.1:{web}"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.server.prepare()
        with self.server.config_file.open("a") as config:
            config.write(self._more)
        self._process = subprocess.Popen(self.server.argv())  # noqa: ASYNC220
        await self.server.wait_ready()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self._process.wait(30)
            self._process = None

    def signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            os.kill(self._process.pid, what)
