"""How vLLM is run on this PC: from cards, model and wishes to options. Pure.

What the owner says wins. What is not said comes from the cards and the catalogue's planner: all
equal cards that divide the model, of each what the desktop leaves, and as much context and as many
sequences as fit there. A model's quantisation is what its files hold; nothing is quantised on the
way in, since the digest that the network knows it by would then be another model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from garage_ai.catalog import (
    NO_WEIGHTS,
    USUAL,
    FolderConfig,
    Place,
    Quantisation,
    Refusal,
    Shape,
    Unweighed,
    Weighed,
    Weights,
    Wish,
    divides,
    form_of,
    plan_on,
)
from garage_ai.node.engines.vllm_options import Lent, VllmOptions
from garage_ai.node.engines.vllm_python import Card, Facts
from garage_ai.node.errors import NoRoom, NotPossible
from garage_ai.node.fitting.words import lacking
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

DEFAULT_SLOTS: Final = 16
"""Sequences at a time, if they fit: a card reads its weights once for all of them."""

LONGEST_SHARE: Final = 0.92
"""vLLM's own default, for a card that nobody else uses."""

RESERVE: Final = 512 * 1024 * 1024
"""Bytes of a card that stay free beside what the desktop uses now: windows come and go."""

LEAST_SHARE: Final = 0.1
DEFAULT_CACHE_GIB: Final = 2
"""Memory for the cache on a CPU, where vLLM's own default takes half of the machine."""

ON_PROCESSORS: Final = "bfloat16"
"""How numbers are kept where no card computes."""

_BFLOAT: Final = (8, 0)

NEVER_HALF: Final = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
"""Kinds of models that vLLM computes with in no `float16`, whose range they leave (vLLM,
config/model.py, `_FLOAT16_NOT_SUPPORTED_MODELS`)."""

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
    """What the owner asks for; None where the planner is to decide.

    `context` in tokens of one sequence, `memory_share` of each card, `cache_gib` for a CPU.
    `beforehand` are bytes of each card that vLLM was seen to take before it looks what is free. Of
    a model that is `grouped` this PC holds a part, and its group plans over how many cards.
    """

    slots: int | None = None
    context: int | None = None
    tensor_parallel: int | None = None
    memory_share: float | None = None
    cache_gib: int | None = None
    threads: int | None = None
    chat_template: Path | None = None
    grouped: bool = False
    beforehand: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """The model to be served: where its files are, and what they say of it.

    `shape` is None where memory cannot be computed; `weights` are what its files hold.
    """

    folder: Path
    files: tuple[tuple[str, Path], ...]
    name: str
    digest: Digest
    kind: ModelKind
    context: int
    config: FolderConfig
    shape: Shape | None = None
    weights: Weights = NO_WEIGHTS


def plan(python: Path | None, facts: Facts, model: Model, wishes: Wishes) -> VllmOptions:
    """Decide how vLLM is run. Raises: NotPossible, in words for the owner."""
    base = VllmOptions(
        python=python,
        folder=model.folder,
        files=model.files,
        name=model.name,
        digest=model.digest,
        kind=model.kind,
        slots=wishes.slots or DEFAULT_SLOTS,
        context=_context(model, wishes.context),
        chat_template=wishes.chat_template,
    )
    return _on_cpu(base, wishes) if facts.device == "cpu" else _on_cards(base, facts, model, wishes)


def _on_cpu(base: VllmOptions, wishes: Wishes) -> VllmOptions:
    alone = not wishes.grouped and wishes.tensor_parallel not in (None, 1)
    if alone or wishes.memory_share is not None:
        raise NotPossible("This vLLM runs on the CPU: there are no cards to share out.")
    cache = wishes.cache_gib or DEFAULT_CACHE_GIB
    return replace(base, dtype=ON_PROCESSORS, cache_gib=cache, threads=wishes.threads)


def _on_cards(base: VllmOptions, facts: Facts, model: Model, wishes: Wishes) -> VllmOptions:
    if facts.device != "cuda" or not facts.cards:
        raise NotPossible(
            "This vLLM is built for {device}, and no card that it can use was found. Check the "
            "driver with nvidia-smi.",
            device=facts.device or "?",
        )
    if wishes.cache_gib is not None:
        raise NotPossible("--kv-cache-gib is for the CPU; --memory-share bounds a card.")
    wished = None if wishes.grouped else wishes.tensor_parallel
    cards = _cards(facts.cards, model, wished, grouped=wishes.grouped)
    dtype = _dtype(cards, model.config)
    share = wishes.memory_share or _share(cards, wishes.beforehand)
    return replace(
        _sized(base, cards, share, model, wishes),
        dtype=dtype,
        tensor_parallel=len(cards),
        memory_share=share,
        gpus=tuple(card.uuid for card in cards if card.uuid),
    )


def _sized(
    base: VllmOptions, cards: Sequence[Card], share: float, model: Model, wishes: Wishes
) -> VllmOptions:
    """Choose context and sequences by the room on the cards. Raises: NotPossible."""
    places = _places(cards, share)
    if wishes.grouped:
        return replace(base, lent=Lent(tuple(places), _weighed(model)))
    if model.shape is None:
        return base
    form = _form(model.shape, model)
    wish = Wish(wishes.context or USUAL.context, wishes.slots or DEFAULT_SLOTS)
    if wishes.context is not None:
        wish = wish._replace(least=wishes.context)
    found = plan_on(model.shape, form, places, wish)
    if isinstance(found, Refusal):
        emptied = _places(cards, wishes.memory_share or _most(cards, wishes.beforehand))
        ever = not isinstance(plan_on(model.shape, form, emptied, wish), Refusal)
        # The words of `gai models --fits`, which says what would fit instead.
        raise NoRoom(
            "{name} does not fit: {form} needs {needed} GiB with {context} tokens of context, "
            "there are {room} on {count} x {card}. What would fit here: gai models --fits",
            reason=lacking(found.needed, found.room) if ever else "",
            name=model.name,
            form=form.name,
            needed=_gib(found.needed),
            context=min(wish.least, base.context),
            room=_gib(found.room),
            count=len(cards),
            card=cards[0].name,
        )
    # vLLM deals its cache out by the page: more sequences than fit at full length wait their turn.
    return replace(base, context=found.context, slots=wishes.slots or found.sequences)


def _places(cards: Sequence[Card], share: float) -> list[Place]:
    return [Place(card.name, int(share * card.total), None, card.capability) for card in cards]


def _weighed(model: Model) -> Weighed | Unweighed:
    if model.shape is None:
        return Unweighed(model.config.heads)
    return Weighed(model.shape, _form(model.shape, model))


def _form(shape: Shape, model: Model) -> Quantisation:
    name = model.config.quantisation or model.config.dtype
    needed = LEAST_CAPABILITY.get(name, (0, 0))
    return form_of(name, model.weights, shape, needed, model.config.block)


def _context(model: Model, wished: int | None) -> int:
    if wished is not None and wished > model.context:
        raise NotPossible(
            "{name} was made for {most} tokens; --context {wished} is too long.",
            name=model.name,
            most=model.context,
            wished=wished,
        )
    return wished or model.context


def _cards(
    cards: Sequence[Card], model: Model, wished: int | None, *, grouped: bool
) -> Sequence[Card]:
    """Give the cards that hold a part of the model each. Raises: NotPossible.

    Unless the owner says how many: of equal ones as many as divide it, where they have most room.
    A group plans over how many of them, in one set or in several.
    """
    choose = _roomiest if grouped else partial(_dividing, model)
    if wished is not None:
        if wished > len(cards):
            raise NotPossible(
                "--tensor-parallel {wished}: this PC has {count} cards.",
                wished=wished,
                count=len(cards),
            )
        _check_divides(model, wished)
        return _most_room(cards)[:wished]
    groups = [[each for each in cards if _alike(each, card)] for card in cards]
    counted = [
        choose(_most_room(group))
        for group in groups
        # PyTorch counts cards, and vLLM takes the first; only by UUID can others be chosen.
        if group[0].uuid or group[0] is cards[0]
    ]
    return max(counted, key=lambda group: sum(card.free for card in group))


def _dividing(model: Model, cards: Sequence[Card]) -> Sequence[Card]:
    """Give as many as can share the model."""
    return cards[: max(n for n in range(1, len(cards) + 1) if _divides(model, n))]


def _roomiest(cards: Sequence[Card]) -> Sequence[Card]:
    """Give as many as hold most together: of each no more is taken than the fullest has left."""
    return max(
        (cards[:count] for count in range(len(cards), 0, -1)),
        key=lambda some: len(some) * min(card.free for card in some),
    )


def _most_room(cards: Sequence[Card]) -> Sequence[Card]:
    named = all(card.uuid for card in cards)
    return sorted(cards, key=lambda card: -card.free) if named else cards


def _alike(one: Card, other: Card) -> bool:
    return (one.name, one.total) == (other.name, other.total)


def _divides(model: Model, count: int) -> bool:
    """Tell whether so many cards of one PC run the model as one set."""
    return _weighed(model).uncut(count) is None


def _heads_divide(model: Model, count: int) -> bool:
    if model.shape is not None:
        return divides(model.shape, count)
    return model.config.heads % count == 0


def _check_divides(model: Model, wished: int) -> None:
    if not _heads_divide(model, wished):
        raise NotPossible(
            "--tensor-parallel {wished} does not divide the model's {heads} heads.",
            wished=wished,
            heads=model.config.heads,
        )
    if not _divides(model, wished):
        raise NotPossible(
            "--tensor-parallel {wished} cuts the model into parts that are no whole blocks of "
            "{block}, which {form} needs.",
            wished=wished,
            block=model.config.block,
            form=model.config.quantisation,
        )


def _dtype(cards: Sequence[Card], config: FolderConfig) -> str:
    """Choose how numbers are kept, and refuse cards that cannot compute with the model's weights.

    Raises: NotPossible.
    """
    oldest = min(cards, key=lambda card: card.capability)
    needed = LEAST_CAPABILITY.get(config.quantisation)
    if needed is not None and oldest.capability < needed:
        raise NotPossible(
            "{form} needs a card of compute capability {needed}; {card} has {has}. Choose "
            "another quantisation.",
            form=config.quantisation,
            needed=_dotted(needed),
            card=oldest.name,
            has=_dotted(oldest.capability),
        )
    dtype = dtype_of(oldest.capability)
    if dtype == "half" and config.family in NEVER_HALF:
        raise NotPossible(
            "vLLM runs a model of the kind {family} on cards of compute capability {needed} or "
            "newer, an RTX 30 or later; {card} has {has}. Serve it as a GGUF file: "
            "--engine llamacpp",
            family=config.family,
            needed=_dotted(_BFLOAT),
            card=oldest.name,
            has=_dotted(oldest.capability),
        )
    return dtype


def dtype_of(capability: tuple[int, int]) -> Literal["auto", "half"]:
    """Say how numbers are kept on cards of which the oldest has this compute capability."""
    # Before Ampere there is no arithmetic for bfloat16; half keeps its size.
    return "auto" if capability >= _BFLOAT else "half"


def _most(cards: Sequence[Card], beforehand: int) -> float:
    """Give the share of each card that vLLM may have where nobody else uses one."""
    return LONGEST_SHARE - beforehand / min(card.total for card in cards)


def _share(cards: Sequence[Card], beforehand: int) -> float:
    """Give the share of each card that is free now, less a reserve; vLLM asks for no more.

    Raises: NotPossible.
    """
    # vLLM refuses to start when less is free than it was promised, so hundredths are cut off.
    share = min((card.free - RESERVE - beforehand) / card.total for card in cards)
    cut = int(min(share, _most(cards, beforehand)) * 100) / 100
    if cut < LEAST_SHARE:
        tightest = min(cards, key=lambda card: card.free)
        raise NoRoom(
            "{card} has {free} of {total} GiB free. Close what uses the card, or wait until it "
            "is free.",
            reason=lacking(int(LEAST_SHARE * tightest.total) + RESERVE + beforehand, tightest.free),
            card=tightest.name,
            free=_gib(tightest.free),
            total=_gib(tightest.total),
        )
    return cut


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


__all__ = [
    "DEFAULT_SLOTS",
    "LEAST_CAPABILITY",
    "NEVER_HALF",
    "ON_PROCESSORS",
    "Model",
    "Wishes",
    "dtype_of",
    "plan",
]
