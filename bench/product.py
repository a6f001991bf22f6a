"""Garage AI as its users start it: `gai up`, a token, `gai node join`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import Target
from bench.processes import Child, StartError, answers, free_ports, spawn, wait_for

__all__ = [
    "BUILD_SECONDS",
    "GRANT",
    "ON_CREDIT",
    "Network",
    "do",
    "gai",
    "joined_node",
    "network_roles",
    "new_key",
    "new_token",
    "running_network",
]

START_SECONDS = 60
BUILD_SECONDS = 600.0
"""Building an engine's image, on a runtime that copies."""

GRANT = 1_000_000
"""GAI of a member who pays for a load; of the default, a month's last day brings a thirtieth."""
ON_CREDIT = {"GAI_GRANT": str(GRANT)}


@dataclass(frozen=True, slots=True)
class Network:
    """A running `gai up --no-node`."""

    child: Child
    data: Path
    url: str  # without /v1
    nats_url: str
    key: str

    def target(self, model: str) -> Target:
        """Return it as a target for load."""
        return Target("garage", f"{self.url}/v1", model, self.key)


@contextlib.asynccontextmanager
async def running_network(
    folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Network]:
    """Run NATS and a gateway, without a node, for the length of a block."""
    port, nats_port = free_ports(), free_ports(2)
    data = folder / "network"
    argv = gai("up", "--no-node", "--port", str(port), "--nats-port", str(nats_port))
    child = spawn("gai-up", [*argv, "--data-dir", str(data)], folder, environment)
    try:
        await wait_for(child, lambda: "\nready" in f"\n{child.output()}", START_SECONDS)
        key = (data / "admin.key").read_text("utf-8").strip()
        url, nats_url = f"http://127.0.0.1:{port}", f"nats://127.0.0.1:{nats_port}"
        yield Network(child, data, url, nats_url, key)
    finally:
        child.stop()


@contextlib.asynccontextmanager
async def joined_node(
    network: Network, folder: Path, engine_url: str, model: str, slots: int
) -> AsyncIterator[Child]:
    """Run a node that lends an engine to the network, once its model is listed."""
    token = await new_token(network)
    argv = gai("node", "join", network.url, token, "--engine", "external")
    argv += ["--engine-url", engine_url, "--model", model, "--slots", str(slots)]
    child = spawn("gai-node", [*argv, "--data-dir", str(folder / "node")], folder)
    try:
        models = f"{network.url}/v1/models"
        listed = f'"{model}"'
        await wait_for(child, lambda: answers(models, network.key, listed), START_SECONDS, "listed")
        yield child
    finally:
        child.stop()


async def new_token(network: Network, *, bare: bool = False) -> str:
    """Make an enrolment token; `bare` lets its node serve without a sandbox."""
    allowed = ["--allow-unsandboxed"] if bare else []
    access = ["--gateway", network.url, "--api-key", network.key]
    process = await asyncio.create_subprocess_exec(
        *gai("node", "token", "--json", *allowed, *access),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    made, complaint = await asyncio.wait_for(process.communicate(), 30)
    if process.returncode:
        raise StartError(f"gai node token: {complaint.decode('utf-8', 'replace')}")
    return str(json.loads(made)["token"])


async def do(*words: str | Path, seconds: float = 30) -> None:
    """Run a command of `gai` that must succeed. Raises: StartError."""
    process = await asyncio.create_subprocess_exec(
        *gai(*map(str, words)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, complaint = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise StartError(f"gai {words[0]} {words[1]} did not end in {seconds:g} s") from error
    if process.returncode:
        raise StartError(f"gai {words[0]} {words[1]}: {complaint.decode('utf-8', 'replace')}")


async def new_key(network: Network) -> str:
    """Make an ordinary key, whose requests are billed."""
    access = ["--gateway", network.url, "--api-key", network.key]
    process = await asyncio.create_subprocess_exec(
        *gai("key", "create", "--name", "bench", "--json", *access),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    made, complaint = await asyncio.wait_for(process.communicate(), 30)
    if process.returncode:
        raise StartError(f"gai key create: {complaint.decode('utf-8', 'replace')}")
    return str(json.loads(made)["key"])


def network_roles(network: Network) -> dict[str, list[int]]:
    """Tell the processes under `gai up` apart by what they run."""
    roles: dict[str, list[int]] = {"gateway": [], "nats-server": [], "supervisor": []}
    top = psutil.Process(network.child.pid)
    for process in [top, *top.children(recursive=True)]:
        roles[_role(process)].append(process.pid)
    return roles


def _role(process: psutil.Process) -> str:
    if "nats-server" in process.name():
        return "nats-server"
    return "gateway" if "gateway" in " ".join(process.cmdline()) else "supervisor"


def gai(*arguments: str) -> list[str]:
    """Return the command line of the installed `gai`."""
    return [str(Path(sys.executable).with_name("gai")), *arguments]
