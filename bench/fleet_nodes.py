"""Simulated nodes with real links: entered in the books, each with its own key and connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle

from bench.choice import fleet_beat
from bench.processes import StartError
from bench.product import Network
from garage_ai.accounts import EnrolmentTokens, Nodes
from garage_ai.catalog import DEFAULT_MODEL, Catalog, digest_of
from garage_ai.network.authority import Authority, UserCredentials
from garage_ai.storage import Storage
from garage_ai.wire import subjects
from garage_ai.wire.connection import Connection, connect
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import BEAT_INTERVAL, encode_message
from garage_ai.wire.nkey import KeyPair, Role

__all__ = ["Beating", "SimulatedNode", "beats", "fleet"]

DIALLING = 25  # connections opened at a time


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """A node of the books and its link."""

    id: NodeId
    link: Connection

    def beat(self, seq: int, model: str, digest: str) -> None:
        """Send one heartbeat."""
        message = fleet_beat(seq, f"fleet-{self.id}", model, digest)
        self.link.publish(subjects.beat(None, self.id), encode_message(message))


@asynccontextmanager
async def fleet(network: Network, books: str, count: int) -> AsyncIterator[list[SimulatedNode]]:
    """Enter nodes in the books and connect each with a JWT of its own."""
    authority = Authority.open_or_create(network.data / "nats")
    gate = asyncio.Semaphore(DIALLING)
    storage = await Storage.open(books)
    try:
        entered = [await _enter(storage, number) for number in range(count)]
    finally:
        await storage.close()

    async def dial(node: NodeId, pair: KeyPair) -> SimulatedNode:
        credentials = UserCredentials(pair, lambda key: authority.node_jwt(node, key, None))
        async with gate:
            link = await connect(
                [network.nats_url], credentials=credentials, name=node, give_up_after=30
            )
        return SimulatedNode(node, link)

    nodes = await asyncio.gather(*(dial(*one) for one in entered))
    try:
        yield nodes
    finally:
        await asyncio.gather(*(node.link.close() for node in nodes))


async def _enter(storage: Storage, number: int) -> tuple[NodeId, KeyPair]:
    pair = KeyPair.generate(Role.USER)
    token = await EnrolmentTokens(storage).create()
    node = await Nodes(storage).enrol(token.secret or "", pair.public, f"fleet {number}")
    return node.id, pair


class Beating:
    """Sends every node's beat once an interval, evenly spread; `sent` counts them."""

    def __init__(self, nodes: Sequence[SimulatedNode]) -> None:
        self.sent = 0
        self._nodes = nodes
        manifest = Catalog.load().by_name(DEFAULT_MODEL)
        if manifest is None:
            raise StartError(f"the catalogue has no {DEFAULT_MODEL}")
        self._model, self._digest = manifest.id, digest_of(manifest)

    async def run(self) -> None:
        """Send until cancelled."""
        pause = BEAT_INTERVAL / len(self._nodes)
        start = time.monotonic()
        for node in cycle(self._nodes):
            node.beat(1 + self.sent // len(self._nodes), self._model, self._digest)
            self.sent += 1
            await asyncio.sleep(max(0.0, start + self.sent * pause - time.monotonic()))


@asynccontextmanager
async def beats(nodes: Sequence[SimulatedNode]) -> AsyncIterator[Beating]:
    """Let the nodes beat for the length of a block."""
    beating = Beating(nodes)
    task = asyncio.create_task(beating.run())
    try:
        yield beating
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)
