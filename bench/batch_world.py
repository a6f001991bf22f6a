"""A network whose every part is a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.request import Request, urlopen

import aiohttp

from bench.processes import Child, StartError, answers, free_ports, mock_engine, spawn, wait_for
from bench.product import ON_CREDIT, gai
from garage_ai.local.nats_server import NatsServer
from garage_ai.network.authority import Authority
from garage_ai.storage import sqlite_url

if TYPE_CHECKING:
    from tests.parts.postgresql import Cluster

__all__ = ["KINDS", "MODEL", "Kind", "Part", "World", "running_world"]

Kind = Literal["gateway", "node", "nats", "database"]
KINDS: tuple[Kind, ...] = ("gateway", "node", "nats", "database")
"""What is killed in each round, in any order, and then one more gateway."""

MODEL = "mock"
SLOTS = 16
NODES = 2
LEASE_SECONDS = "3"
ANSWER_SECONDS = 0.5
START_SECONDS = 120.0
ASK_SECONDS = 10.0


@dataclass(slots=True)
class Part:
    """A process that is killed with -9 and started again in its place."""

    name: str
    argv: list[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    child: Child | None = None
    killed: int = 0

    def start(self) -> Child:
        """Start it, and do not wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = spawn(self.name, self.argv, self.folder, self.environment)
        return self.child

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.killed += 1
        self.end()

    def end(self) -> None:
        """Kill it for good."""
        if self.child is not None:
            self.child.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.process.wait(10)


@dataclass(slots=True)
class World:
    """Gateways, a NATS server, nodes that share a mock engine, and the database."""

    database: str
    cluster: Cluster | None
    urls: list[str]
    gateways: list[Part]
    nats: Part
    nodes: list[Part]
    key: str = ""
    databases_killed: int = 0

    async def hurt(self, what: Kind, chance: random.Random) -> None:
        """Kill one part of a kind, chosen at random, and start it again a moment later."""
        pause = chance.uniform(0, 1)
        if what == "database":
            if self.cluster is None:
                return
            self.databases_killed += 1
            await asyncio.to_thread(self.cluster.kill)
            await asyncio.sleep(pause)
            await asyncio.to_thread(self.cluster.start)
            return
        kinds: dict[Kind, list[Part]] = {
            "gateway": self.gateways,
            "node": self.nodes,
            "nats": [self.nats],
        }
        part = chance.choice(kinds[what])
        await asyncio.to_thread(part.kill)
        await asyncio.sleep(pause)
        part.start()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        asked: object = None,
        form: Callable[[], aiohttp.FormData] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Ask any gateway, again and again, as a patient client would; give what it says."""
        headers = {"authorization": f"Bearer {self.key}", **(headers or {})}
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        told = ""
        for attempt in range(200):
            url = self.urls[attempt % len(self.urls)] + path
            try:
                async with (
                    aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
                    session.request(
                        method, url, data=form() if form else None, json=asked
                    ) as answer,
                ):
                    body = await answer.read()
                if answer.status in (200, 201):
                    return body
                told = f"{answer.status} {body[:300]!r}"
                if answer.status < 500:
                    break
            except (aiohttp.ClientError, TimeoutError) as error:
                told = type(error).__name__
            await asyncio.sleep(0.3)
        raise StartError(f"{method} {path}: {told}")


@contextlib.asynccontextmanager
async def running_world(folder: Path, cluster: Cluster | None) -> AsyncIterator[World]:
    """Start all of it; with PostgreSQL there are two gateways, on a file one."""
    async with AsyncExitStack() as stack:
        pace = ("--first-byte-delay", str(ANSWER_SECONDS), "--slots", str(2 * SLOTS))
        engine = await stack.enter_async_context(mock_engine(*pace))
        world = _world(folder, cluster, engine.base_url)
        stack.callback(_end_all, world)
        world.nats.start()
        live = [partial(answers, f"{url}/health/live") for url in world.urls]
        started = [gateway.start() for gateway in world.gateways]
        await asyncio.gather(
            *(wait_for(*each, START_SECONDS) for each in zip(started, live, strict=True))
        )
        world.key = (folder / "data" / "admin.key").read_text("utf-8").strip()
        for node in world.nodes:
            await _join(world, node)
        serve = partial(_all_serve, world.urls[0], world.key)
        await wait_for(started[0], serve, START_SECONDS, "lent engines")
        made = await world.ask("POST", "/api/v1/keys", asked={"name": "bench"})
        world.key = json.loads(made)["key"]
        yield world


def _world(folder: Path, cluster: Cluster | None, engine: str) -> World:
    data, authority = folder / "data", Authority.open_or_create(folder / "nats")
    nats_port = free_ports(2)
    server = NatsServer(
        authority, folder / "nats", folder / "logs", port=nats_port, websocket_port=nats_port + 1
    )
    server.prepare()
    database = sqlite_url(data / "garage.db")
    if cluster is not None:
        database = cluster.url(cluster.create())
    settings = {
        "GAI_DATABASE_URL": database,
        "GAI_NATS_URLS": f"nats://127.0.0.1:{nats_port}",
        "GAI_AUTHORITY_DIR": str(folder / "nats"),
        "GAI_BATCH_LEASE_SECONDS": LEASE_SECONDS,
        "GAI_DATA_DIR": str(data),
        **ON_CREDIT,
    }
    ports = [free_ports() for _ in range(1 if cluster is None else 2)]
    gateways = [
        Part("gateway", gai("gateway", "--port", str(port)), folder / f"gateway{port}", settings)
        for port in ports
    ]
    lent = ["--engine", "external", "--engine-url", engine, "--model", MODEL, "--slots", str(SLOTS)]
    nodes = [
        Part(
            "node",
            gai("node", "run", *lent, "--data-dir", str(folder / f"node{number}" / "data")),
            folder / f"node{number}",
        )
        for number in range(NODES)
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    return World(
        database, cluster, urls, gateways, Part("nats", server.argv(), folder / "logs"), nodes
    )


async def _join(world: World, node: Part) -> None:
    """Enrol a node; from then on it is only run."""
    made = await world.ask("POST", "/api/v1/tokens", asked={})
    run, token = node.argv, json.loads(made)["token"]
    place = run.index("run")
    node.argv = [*run[:place], "join", world.urls[0], token, *run[place + 1 :]]
    node.start()
    node.argv = run


def _all_serve(url: str, key: str) -> bool:
    """Tell whether all nodes can be given work."""
    request = Request(f"{url}/api/v1/nodes", headers={"authorization": f"Bearer {key}"})  # noqa: S310
    with contextlib.suppress(OSError), urlopen(request, timeout=5) as answer:  # noqa: S310
        nodes: list[dict[str, object]] = json.load(answer)["data"]
        return [node["state"] for node in nodes] == ["ready"] * NODES
    return False


def _end_all(world: World) -> None:
    for part in (*world.nodes, *world.gateways, world.nats):
        part.end()
