"""Volunteers of `bench.moves`: nodes in processes of their own, to be hurt and to come back."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from bench.processes import Child, EngineProcess, StartError, spawn
from bench.product import Network, gai, new_token

__all__ = ["Volunteer"]

READY_SECONDS = 60.0
DRAIN_SECONDS = 10.0
LOOK_EVERY = 0.05


class _Node(msgspec.Struct):
    id: str
    state: str
    last_beat_age: float | None


class _Listed(msgspec.Struct):
    data: list[_Node]


@dataclass(slots=True)
class Volunteer:
    """A node that lends the mock engine."""

    network: Network
    engine: EngineProcess
    folder: Path
    session: aiohttp.ClientSession  # with the operator's key
    child: Child | None = None

    async def join(self) -> None:
        """Enrol it, and wait until it serves."""
        self.folder.mkdir()
        await self._start("join", self.network.url, await new_token(self.network))

    async def come_back(self) -> None:
        """Start it again with the identity it has, and wait until it serves."""
        self._alive().process.wait(10)
        await self._start("run")

    def kill(self) -> None:
        """Kill the agent with -9."""
        self._alive().process.kill()

    async def hand_back(self) -> None:
        """Stop it as an owner in a hurry does, with two signals: what runs is handed back."""
        process = self._alive().process
        process.send_signal(signal.SIGTERM)
        # With nothing to finish it is gone at once; a stream that was just on its way there may
        # have found that out first.
        await self._until("draining", {"draining", "gone", "suspect"}, DRAIN_SECONDS)
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 10)

    def end(self) -> None:
        """End it for good."""
        if self.child is not None:
            self.child.stop()

    def _alive(self) -> Child:
        if self.child is None:
            raise StartError(f"{self.folder.name} was never started")
        return self.child

    async def _start(self, *command: str) -> None:
        argv = gai("node", *command, "--engine", "external", "--engine-url", self.engine.base_url)
        argv += ["--model", "mock", "--slots", "64", "--data-dir", str(self.folder / "node")]
        self.child = spawn("gai-node", argv, self.folder)
        await self._until("ready", {"ready"}, READY_SECONDS)

    async def _until(self, what: str, states: set[str], seconds: float) -> None:
        """Wait until a beat sent from now on tells one of the states."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            node = await self._seen()
            # What was heard of a killed node's earlier life says nothing of this one.
            fresh = node is not None and (node.last_beat_age or 0) < time.monotonic() - began
            if node is not None and fresh and node.state in states:
                return
            await asyncio.sleep(LOOK_EVERY)
        raise StartError(f"{self.folder.name} not {what} in {seconds:g} s:\n{self._alive().tail()}")

    async def _seen(self) -> _Node | None:
        identity = self.folder / "node" / "identity.json"
        if not await asyncio.to_thread(identity.exists):
            return None
        name = msgspec.json.decode(await asyncio.to_thread(identity.read_bytes))["node"]
        async with self.session.get(f"{self.network.url}/api/v1/nodes") as answer:
            listed = msgspec.json.decode(await answer.read(), type=_Listed)
        return next((node for node in listed.data if node.id == name), None)
