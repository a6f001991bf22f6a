"""How vLLM is run on this PC: from cards, model and wishes to argv and environment. Pure.

What a model needs in memory is not computed here: context, sequences and shares come from the owner
or from a memory plan. A model's quantisation is what its files hold; nothing is quantised on the
way in, since the digest that the network knows it by would then be another model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from garage_ai.catalog import FolderConfig
from garage_ai.node.engines.vllm_python import Card, Facts, quiet_environment
from garage_ai.node.errors import NotPossible
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

DEFAULT_SLOTS: Final = 16
"""Sequences at a time: a card reads its weights once for all of them; each wants its own cache."""

LONGEST_SHARE: Final = 0.92
"""vLLM's own default, for a card that nobody else uses."""

RESERVE: Final = 512 * 1024 * 1024
"""Bytes of a card that stay free beside what the desktop uses now: windows come and go."""

LEAST_SHARE: Final = 0.1
DEFAULT_CACHE_GIB: Final = 2
"""Memory for the cache on a CPU, where vLLM's own default takes half of the machine."""

MARK: Final = "GARAGE_AI_RUN"
"""Names the folder of the agent that an engine's process belongs to, in its environment."""

SERVER: Final = "vllm.entrypoints.openai.api_server"
_BFLOAT: Final = (8, 0)
_MAX_CHOICES: Final = 128
_MAX_LOGPROBS: Final = 20

LEAST_CAPABILITY: Final[Mapping[str, tuple[int, int]]] = {
    "awq": (7, 5),
    "awq_marlin": (7, 5),
    "compressed-tensors": (7, 0),
    "experts_int8": (8, 0),
    "fbgemm_fp8": (8, 0),
    "fp8": (7, 5),
    "fp_quant": (10, 0),
    "gptq": (6, 0),
    "gptq_marlin": (6, 0),
    "moe_wna16": (7, 0),
    "mxfp4": (8, 0),
    "torchao": (7, 5),
}
"""By a quantisation's name in `config.json`: `get_min_capability` of vLLM 0.32's classes for it."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the owner, or a memory plan, asks for; None where the default is to be taken.

    `context` in tokens of one sequence, `memory_share` of each card, `cache_gib` for a CPU.
    """

    slots: int | None = None
    context: int | None = None
    tensor_parallel: int | None = None
    memory_share: float | None = None
    cache_gib: int | None = None
    threads: int | None = None
    chat_template: Path | None = None


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM is run; `memory_share` None on a CPU, `cache_gib` and `threads` None elsewhere."""

    python: Path
    folder: Path
    name: str
    digest: Digest
    kind: ModelKind
    slots: int
    context: int
    dtype: str = "auto"
    tensor_parallel: int = 1
    memory_share: float | None = None
    cache_gib: int | None = None
    threads: int | None = None
    chat_template: Path | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether no card is used."""
        return self.cache_gib is not None


@dataclass(frozen=True, slots=True)
class Model:
    """The model to be served: where its files are, and what they say of it."""

    folder: Path
    name: str
    digest: Digest
    kind: ModelKind
    context: int
    config: FolderConfig


def plan(python: Path, facts: Facts, model: Model, wishes: Wishes) -> VllmOptions:
    """Decide how vLLM is run. Raises: NotPossible, in words for the owner."""
    base = VllmOptions(
        python=python,
        folder=model.folder,
        name=model.name,
        digest=model.digest,
        kind=model.kind,
        slots=wishes.slots or DEFAULT_SLOTS,
        context=_context(model, wishes.context),
        chat_template=wishes.chat_template,
    )
    return _on_cpu(base, wishes) if facts.device == "cpu" else _on_cards(base, facts, model, wishes)


def _on_cpu(base: VllmOptions, wishes: Wishes) -> VllmOptions:
    if wishes.tensor_parallel not in (None, 1) or wishes.memory_share is not None:
        raise NotPossible("This vLLM runs on the CPU: there are no cards to share out.")
    cache = wishes.cache_gib or DEFAULT_CACHE_GIB
    return replace(base, dtype="bfloat16", cache_gib=cache, threads=wishes.threads)


def _on_cards(base: VllmOptions, facts: Facts, model: Model, wishes: Wishes) -> VllmOptions:
    if facts.device != "cuda" or not facts.cards:
        raise NotPossible(
            f"This vLLM is built for {facts.device or 'an unknown device'}, and no card that it "
            "can use was found. Check the driver with nvidia-smi."
        )
    if wishes.cache_gib is not None:
        raise NotPossible("--kv-cache-gib is for the CPU; --memory-share bounds a card.")
    cards = _cards(facts.cards, model.config, wishes.tensor_parallel)
    return replace(
        base,
        dtype=_dtype(cards, model.config),
        tensor_parallel=len(cards),
        memory_share=wishes.memory_share or _share(cards),
    )


def _context(model: Model, wished: int | None) -> int:
    if wished is not None and wished > model.context:
        raise NotPossible(
            f"{model.name} was made for {model.context} tokens; --context {wished} is too long."
        )
    return wished or model.context


def _cards(cards: Sequence[Card], config: FolderConfig, wished: int | None) -> Sequence[Card]:
    """Give the cards that hold a part of the model each: equal ones, as many as divide it."""
    if wished is not None:
        if wished > len(cards):
            raise NotPossible(f"--tensor-parallel {wished}: this PC has {len(cards)} cards.")
        if config.heads % wished:
            raise NotPossible(
                f"--tensor-parallel {wished} does not divide the model's {config.heads} heads."
            )
        return cards[:wished]
    equal = [card for card in cards if (card.name, card.total) == (cards[0].name, cards[0].total)]
    count = max(n for n in range(1, len(equal) + 1) if config.heads % n == 0)
    return equal[:count]


def _dtype(cards: Sequence[Card], config: FolderConfig) -> str:
    """Choose how numbers are kept, and refuse cards that cannot compute with the model's weights.

    Raises: NotPossible.
    """
    oldest = min(cards, key=lambda card: card.capability)
    needed = LEAST_CAPABILITY.get(config.quantisation)
    if needed is not None and oldest.capability < needed:
        raise NotPossible(
            f"{config.quantisation} needs a card of compute capability {_dotted(needed)}; "
            f"{oldest.name} has {_dotted(oldest.capability)}. Choose another quantisation."
        )
    # Before Ampere there is no arithmetic for bfloat16; half keeps its size.
    return "auto" if oldest.capability >= _BFLOAT else "half"


def _share(cards: Sequence[Card]) -> float:
    """Give the share of each card that is free now, less a reserve; vLLM asks for no more.

    Raises: NotPossible.
    """
    # vLLM refuses to start when less is free than it was promised, so hundredths are cut off.
    share = min((card.free - RESERVE) / card.total for card in cards)
    cut = int(min(share, LONGEST_SHARE) * 100) / 100
    if cut < LEAST_SHARE:
        tightest = min(cards, key=lambda card: card.free)
        raise NotPossible(
            f"{tightest.name} has {tightest.free / 2**30:.1f} of {tightest.total / 2**30:.1f} GiB "
            "free. Close what uses the card, or wait until it is free."
        )
    return cut


def argv(options: VllmOptions, socket: str) -> list[str]:
    """Give the command that serves on a unix socket, named from the folder it starts in."""
    words = [str(options.python), "-m", SERVER]
    pairs: dict[str, object] = {
        "--model": options.folder,
        "--served-model-name": options.name,
        "--uds": socket,
        "--load-format": "safetensors",
        "--dtype": options.dtype,
        "--max-model-len": options.context,
        "--max-num-seqs": options.slots,
        "--tensor-parallel-size": options.tensor_parallel,
        "--max-logprobs": _MAX_LOGPROBS,
    }
    if options.memory_share is not None:
        pairs["--gpu-memory-utilization"] = options.memory_share
    if options.chat_template is not None:
        pairs["--chat-template"] = options.chat_template
    words += [str(word) for pair in pairs.items() for word in pair]
    words += ["--enable-prefix-caching", "--no-enable-log-requests", "--disable-uvicorn-access-log"]
    words.append("--disable-fastapi-docs")
    return [*words, "--enforce-eager"] if options.on_cpu else words


def environment(options: VllmOptions, run: Path, around: Mapping[str, str]) -> dict[str, str]:
    """Give the environment to serve in; `around` is the agent's own."""
    own = quiet_environment(around) | {
        MARK: str(run),
        "VLLM_MAX_N_SEQUENCES": str(_MAX_CHOICES),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    }
    if options.cache_gib is not None:
        own["VLLM_CPU_KVCACHE_SPACE"] = str(options.cache_gib)
    if options.threads is not None:
        own["OMP_NUM_THREADS"] = str(options.threads)
    return own


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


__all__ = [
    "DEFAULT_SLOTS",
    "LEAST_CAPABILITY",
    "MARK",
    "SERVER",
    "Model",
    "VllmOptions",
    "Wishes",
    "argv",
    "environment",
    "plan",
]
