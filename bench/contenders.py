"""What is compared: the engine alone, Garage AI, and the peers `bench/peers.sh` installed.

Each is started from outside, as its users start it, in front of the same engine.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.load import Target
from bench.processes import (
    ROOT,
    Child,
    EngineProcess,
    StartError,
    answers,
    free_ports,
    spawn,
    wait_for,
)

__all__ = ["Contender", "direct", "garage", "installed_peers", "litellm", "vllm_router"]

PEERS = ROOT / "bench" / ".peers"


@dataclass(frozen=True, slots=True)
class Contender:
    """A running way to the engine, and the processes it is made of (role to process ids)."""

    target: Target
    roles: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name used in tables."""
        return self.target.name


def direct(engine: EngineProcess, model: str = "mock") -> Contender:
    """Return the engine itself."""
    return Contender(Target("direct", engine.base_url, model))


def installed_peers() -> list[str]:
    """Name the peers that are installed."""
    return [n for n in ("vllm-router", "litellm") if (PEERS / n / "bin" / n).exists()]


@contextlib.asynccontextmanager
async def vllm_router(engine_url: str, folder: Path) -> AsyncIterator[Contender]:
    """Run vLLM's Rust router in front of the engine."""
    port, metrics = free_ports(), free_ports()
    argv = [str(PEERS / "vllm-router" / "bin" / "vllm-router")]
    argv += ["--worker-urls", engine_url.removesuffix("/v1"), "--policy", "round_robin"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics)]
    child = spawn("vllm-router", argv, folder)
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        await wait_for(child, lambda: answers(f"{base_url}/models", contains="mock"), 30)
        yield Contender(Target("vllm-router", base_url), {"vllm-router": _family(child.pid)})
    finally:
        child.stop()


@contextlib.asynccontextmanager
async def litellm(engine_url: str, folder: Path) -> AsyncIterator[Contender]:
    """Run LiteLLM's proxy, without a database, in front of the engine."""
    port, key = free_ports(), f"sk-{secrets.token_hex(24)}"
    upstream = {"model": "openai/mock", "api_base": engine_url, "api_key": "sk-none"}
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "mock", "litellm_params": upstream}],
                "general_settings": {"master_key": key},
            }
        )
    )
    argv = [str(PEERS / "litellm" / "bin" / "litellm"), "--config", str(config)]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    child = spawn("litellm", argv, folder, environment)
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        await wait_for(child, lambda: answers(f"{base_url}/models", key, "mock"), 90)
        target = Target("litellm", base_url, api_key=key)
        yield Contender(target, {"litellm": _family(child.pid)})
    finally:
        child.stop()


@contextlib.asynccontextmanager
async def garage(
    engine_url: str, folder: Path, *, model: str = "mock", slots: int = 64
) -> AsyncIterator[Contender]:
    """Run the whole product: `gai up --no-node`, and a node that lends the engine."""
    async with AsyncExitStack() as stack:
        network = await _network(folder, stack)
        options = ["--engine-url", engine_url, "--model", model, "--slots", str(slots)]
        node = await _node(network, folder, options, model, stack)
        roles = {**_network_roles(network.child), "agent": _family(node.pid)}
        target = Target("garage", f"{network.url}/v1", model, network.key)
        yield Contender(target, roles)


@dataclass(frozen=True, slots=True)
class _Network:
    child: Child
    url: str
    key: str


def _gai(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("gai")), *arguments]


async def _network(folder: Path, stack: AsyncExitStack) -> _Network:
    port, nats_port = free_ports(), free_ports(2)
    data = folder / "network"
    argv = _gai("up", "--no-node", "--port", str(port), "--nats-port", str(nats_port))
    child = spawn("gai-up", [*argv, "--data-dir", str(data)], folder)
    stack.callback(child.stop)
    await wait_for(child, lambda: "\nready" in f"\n{child.output()}", 60)
    key = (data / "admin.key").read_text().strip()
    return _Network(child, f"http://127.0.0.1:{port}", key)


async def _node(
    network: _Network, folder: Path, options: Sequence[str], model: str, stack: AsyncExitStack
) -> Child:
    access = ["--gateway", network.url, "--api-key", network.key]
    command = _gai("node", "token", "--json", *access)
    made = subprocess.run(command, capture_output=True, timeout=30, check=False)  # noqa: ASYNC221
    if made.returncode:
        raise StartError(f"gai node token: {made.stderr.decode('utf-8', 'replace')}")
    token = json.loads(made.stdout)["token"]
    argv = _gai("node", "join", network.url, token, "--engine", "external", *options)
    child = spawn("gai-node", [*argv, "--data-dir", str(folder / "node")], folder)
    stack.callback(child.stop)
    models = f"{network.url}/v1/models"
    await wait_for(child, lambda: answers(models, network.key, model), 60, "listed")
    return child


def _network_roles(child: Child) -> dict[str, list[int]]:
    """Tell the processes under `gai up` apart by what they run."""
    roles: dict[str, list[int]] = {"gateway": [], "nats-server": [], "supervisor": []}
    for process in [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]:
        arguments = process.cmdline()
        if "nats-server" in process.name() or any("nats-server" in part for part in arguments[:1]):
            roles["nats-server"].append(process.pid)
        elif any("gateway" in part for part in arguments):
            roles["gateway"].append(process.pid)
        else:
            roles["supervisor"].append(process.pid)
    return roles


def _family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [process.pid, *(child.pid for child in process.children(recursive=True))]
