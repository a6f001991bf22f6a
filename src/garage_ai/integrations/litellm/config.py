"""LiteLLM's configuration for a gateway. Pure: models and prices in, YAML out.

Read in LiteLLM 1.108.7; what each line is for stands beside it in what is written.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

CONFIG: Final = "config.yaml"
CALLBACK: Final = "garage_ai_litellm.py"
"""The callback's name beside the configuration; LiteLLM imports it by this name."""

REQUEST_SECONDS: Final = 600
STREAM_SECONDS: Final = 120

_MODES: Final = {"chat": "chat", "completion": "completion", "embedding": "embedding"}
_PER_TOKEN: Final = Decimal(10) ** 12
"""From nGAI per 1,000 tokens to GAI per token."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What 1,000 tokens cost, in nGAI."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Served:
    """A model that the gateway serves; `context` in tokens, 0 where it is not known."""

    name: str
    kind: str = "chat"
    context: int = 0
    prices: Prices | None = None


def config(gateway: str, models: Iterable[Served], prices: Prices | None = None) -> str:
    """Write the configuration for a gateway's base URL, without /v1.

    `prices` hold for models that bring none of their own; without either a model is free.
    """
    # A star in a name is a pattern to LiteLLM: such a model would take the calls of others.
    named = {each.name: each for each in models if "*" not in each.name}
    served = sorted(named.values(), key=lambda each: each.name)
    lines = [*_HEAD, "model_list:" if served else "model_list: []"]
    for model in served:
        lines += _model(f"{gateway.rstrip('/')}/v1", model, model.prices or prices)
    return "\n".join([*lines, *_TAIL]) + "\n"


def callback_source() -> str:
    """Give the callback as it is copied beside the configuration."""
    return Path(__file__).with_name("callback.py").read_text("utf-8")


def _model(api_base: str, model: Served, prices: Prices | None) -> Sequence[str]:
    context = [f"      max_input_tokens: {model.context}"] if model.context else []
    return [
        f"  - model_name: {_text(model.name)}",
        "    litellm_params:",
        # `hosted_vllm/` would have LiteLLM run batches by itself.
        f"      model: {_text('openai/' + model.name)}",
        f"      api_base: {_text(api_base)}",
        "      api_key: os.environ/GAI_API_KEY",
        *(() if prices else ("      # no price is known: LiteLLM's budgets do not count it",)),
        f"      input_cost_per_token: {_per_token(prices.prompt if prices else 0)}",
        f"      output_cost_per_token: {_per_token(prices.completion if prices else 0)}",
        f"      timeout: {REQUEST_SECONDS}",
        f"      stream_timeout: {STREAM_SECONDS}",
        "      max_retries: 0",
        "    model_info:",
        f"      id: {_text('garage-ai/' + model.name)}",
        f"      mode: {_MODES.get(model.kind, 'chat')}",
        *context,
        "      disable_background_health_check: true",
    ]


def _per_token(price: int) -> str:
    return f"{Decimal(price) / _PER_TOKEN:.15f}".rstrip("0").ljust(3, "0")


def _text(text: str) -> str:
    """Quote for YAML, of which JSON is a part: a model's name may be anything."""
    return json.dumps(text, ensure_ascii=False)


_HEAD: Final = (
    "# LiteLLM in front of Garage AI, written by `gai litellm`. Costs are GAI, not dollars.",
    "# It wants in its environment: GAI_GATEWAY, GAI_API_KEY (scopes inference and usage),",
    "# LITELLM_MASTER_KEY (sk-… and long), LITELLM_LOCAL_MODEL_COST_MAP=True.",
)

_TAIL: Final = (
    "router_settings:",
    "  routing_strategy: simple-shuffle",
    "  num_retries: 0 # the gateway tries other nodes itself; retries here would multiply",
    "  # One deployment of each model: to cool it down would only turn one failure into many.",
    "  disable_cooldowns: true",
    "litellm_settings:",
    f"  callbacks: [{CALLBACK.removesuffix('.py')}.handler]",
    "  num_retries: 0",
    f"  request_timeout: {REQUEST_SECONDS} # LiteLLM's own is 6000 s",
    "general_settings:",
    "  master_key: os.environ/LITELLM_MASTER_KEY",
    "  cancel_on_disconnect: true # a client that leaves frees its node",
    "  # Health checks are real completions: they would wake sleeping PCs. Probe",
    "  # /health/liveliness or /health/readiness, never /health.",
    "  background_health_checks: false",
    "  # With PostgreSQL: virtual keys, teams, budgets. `gai litellm map` says whose they are.",
    "  # database_url: os.environ/DATABASE_URL",
)

__all__ = ["CALLBACK", "CONFIG", "Prices", "Served", "callback_source", "config"]
