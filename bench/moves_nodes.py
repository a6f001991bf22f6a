"""Volunteers of `bench.moves`: nodes in processes of their own, to be hurt and to come back."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from bench.processes import Child, StartError, spawn
from bench.product import Network, gai, new_token
from garage_ai.node.control import ask_agent
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard.limits import Limits, save_limits

__all__ = ["Lending", "Volunteer", "lends_llamacpp", "lends_mock"]

READY_SECONDS = 60.0
DRAIN_SECONDS = 10.0
LEAVE_SECONDS = 1.0
"""What an owner's pause leaves to what runs, in place of the default of 20 s."""
LOOK_EVERY = 0.05


class _Model(msgspec.Struct):
    engine: str


class _Node(msgspec.Struct):
    id: str
    state: str
    last_beat_age: float | None
    models: list[_Model] = []

    @property
    def told(self) -> str:
        """Its state; not ready before its engine is, which a resumed agent still loads."""
        loaded = any(model.engine == "ready" for model in self.models)
        return "loading" if self.state == "ready" and not loaded else self.state


class _Listed(msgspec.Struct):
    data: list[_Node]


@dataclass(frozen=True, slots=True)
class Lending:
    """What is lent: the options of `gai node`, and whether a token must allow it bare."""

    options: tuple[str, ...]
    bare: bool = False


def lends_mock(url: str) -> Lending:
    """Lend a mock engine, which all volunteers share."""
    return Lending(
        ("--engine", "external", "--engine-url", url, "--model", "mock", "--slots", "64")
    )


def lends_llamacpp(model: str, slots: int) -> Lending:
    """Lend llama.cpp, one of each volunteer's own, on one thread and without a sandbox."""
    options = ("--engine", "llamacpp", "--sandbox", "none", "--model", model, "--threads", "1")
    return Lending((*options, "--slots", str(slots), "--context", "1024"), bare=True)


@dataclass(slots=True)
class Volunteer:
    """A node that lends an engine."""

    network: Network
    lending: Lending
    folder: Path
    session: aiohttp.ClientSession  # with the operator's key
    child: Child | None = None
    away: bool = False  # paused by its owner, with its agent still there

    async def join(self) -> None:
        """Enrol it, and wait until it serves."""
        self.folder.mkdir()
        node = self._node
        node.prepare()
        save_limits(node.path, Limits(drain=LEAVE_SECONDS))
        token = await new_token(self.network, bare=self.lending.bare)
        await self._start("join", self.network.url, token)

    async def come_back(self) -> None:
        """Start it again with the identity it has, or end its pause, and wait until it serves."""
        if self.away:
            self.away = False
            await asyncio.to_thread(ask_agent, self._node.run, "resume")
            await self._until("ready", {"ready"}, READY_SECONDS)
            return
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

    async def leave(self) -> None:
        """Pause it as an owner with a little time does; what runs at the end is moved."""
        self.away = True
        await asyncio.to_thread(ask_agent, self._node.run, "pause")
        await self._until("paused", {"paused"}, DRAIN_SECONDS)

    def end(self) -> None:
        """End it for good."""
        if self.child is not None:
            self.child.stop()

    @property
    def _node(self) -> NodeFolder:
        return NodeFolder(self.folder / "node")

    def _alive(self) -> Child:
        if self.child is None:
            raise StartError(f"{self.folder.name} was never started")
        return self.child

    async def _start(self, *command: str) -> None:
        argv = gai("node", *command, *self.lending.options)
        argv += ["--data-dir", str(self._node.path)]
        self.child = spawn("gai-node", argv, self.folder)
        await self._until("ready", {"ready"}, READY_SECONDS)

    async def _until(self, what: str, states: set[str], seconds: float) -> None:
        """Wait until a beat sent from now on tells one of the states."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            node = await self._seen()
            # What was heard of a killed node's earlier life says nothing of this one.
            fresh = node is not None and (node.last_beat_age or 0) < time.monotonic() - began
            if node is not None and fresh and node.told in states:
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
