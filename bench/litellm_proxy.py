"""LiteLLM's proxy as `gai litellm` runs it in front of a network, to be killed and to come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.processes import Child, StartError, family, free_ports, spawn, wait_for
from bench.product import Network, gai

__all__ = ["Proxy", "environments", "running_proxy"]

START_SECONDS = 300.0
"""Its environment is made on first use, and LiteLLM imports for a quarter of a minute."""
STOP_SECONDS = 45.0


def environments() -> Path:
    """Give the folder of LiteLLM's environments (750 MB each), which tests and measurements share.

    They lie in the user's cache under the hash of their lock.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "garage-ai-tests", "litellm")


@dataclass(slots=True)
class Proxy:
    """One `gai litellm`; it keeps its folder and its port over restarts."""

    network: Network
    folder: Path
    port: int
    child: Child | None = None

    @property
    def url(self) -> str:
        """Its base URL with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def key(self) -> str:
        """The proxy's master key."""
        return (self.network.data / "litellm" / "master.key").read_text("ascii").strip()

    async def start(self) -> None:
        """Start it and wait for its line `ready`. Raises: StartError."""
        argv = gai("litellm", "--port", str(self.port), "--environment", str(environments()))
        # uv, which lies beside us, installs in a fraction of pip's time.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        options = ["--data-dir", str(self.network.data)]
        self.child = child = spawn("gai-litellm", [*argv, *options], self.folder, {"PATH": path})
        await wait_for(child, lambda: "\nready" in f"\n{child.output()}", START_SECONDS)

    def kill(self) -> None:
        """Kill -9 all of it."""
        child = self._alive()
        for pid in family(child.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        child.process.wait(10)

    async def stop(self) -> None:
        """End it as its owner does: it tells what it has not told yet. Raises: StartError."""
        child = self._alive()
        await asyncio.to_thread(child.stop, STOP_SECONDS)
        if child.process.returncode:
            raise StartError(f"{child.name} ended with {child.process.returncode}:\n{child.tail()}")

    def end(self) -> None:
        """End it whatever it does."""
        if self.child is not None:
            self.child.stop()

    def _alive(self) -> Child:
        if self.child is None:
            raise StartError("LiteLLM was never started")
        return self.child


@contextlib.asynccontextmanager
async def running_proxy(network: Network, folder: Path) -> AsyncIterator[Proxy]:
    """Run LiteLLM in front of a network for the length of a block."""
    proxy = Proxy(network, folder, free_ports())
    try:
        await proxy.start()
        yield proxy
    finally:
        proxy.end()
