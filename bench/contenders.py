"""What is compared: the engine alone, Garage AI, and the peers `bench/peers.sh` installed.

Each is started from outside, as its users start it, in front of the same engine.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import Target
from bench.processes import (
    ROOT,
    EngineProcess,
    answers,
    family,
    free_ports,
    spawn,
    wait_for,
)
from bench.product import ON_CREDIT, joined_node, network_roles, new_key, running_network

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


@contextlib.asynccontextmanager
async def garage(
    engine_url: str, folder: Path, *, model: str = "mock", slots: int = 64
) -> AsyncIterator[tuple[Contender, Contender]]:
    """Run the whole product: `gai up --no-node`, and a node that lends the engine.

    Given twice: with a key whose requests are billed, and with the operator's, which are not.
    """
    async with (
        running_network(folder, ON_CREDIT) as network,
        joined_node(network, folder, engine_url, model, slots) as node,
    ):
        roles = {**network_roles(network), "agent": family(node.pid)}
        free = network.target(model)
        billed = replace(free, api_key=await new_key(network))
        yield Contender(billed, roles), Contender(replace(free, name="unbilled"), roles)


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
        yield Contender(Target("vllm-router", base_url), {"vllm-router": family(child.pid)})
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
        yield Contender(target, {"litellm": family(child.pid)})
    finally:
        child.stop()
