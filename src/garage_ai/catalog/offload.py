"""How llama.cpp puts a file on a PC's cards: layers, context, slots, form of the cache. Pure.

Beside the planner, which asks what form of a model would fit, this one has the file: its layers
are weighed one by one, and what is decided is what the engine is started with. All layers go on
the cards, or it is refused; how many would go is in the refusal, for an owner who accepts the rest
on the processor and says so.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from garage_ai.catalog.gguf_shape import Burden
from garage_ai.catalog.planner import (
    BATCH,
    EFFICIENCY,
    EXPERTS_EFFICIENCY,
    LEAST_CONTEXT,
    RUNTIME,
    USUAL,
    Place,
)
from garage_ai.catalog.shapes import Shape

CacheType = Literal["f16", "q8_0"]

CACHE_BYTES: Final[dict[CacheType, float]] = {"f16": 2.0, "q8_0": 34 / 32}
"""Bytes of one number: q8_0 has 32 of eight bits and a scale of sixteen (ggml-common.h)."""

FLASH_HEADS: Final = frozenset({64, 80, 96, 112, 128, 256})
"""Sizes of a head that every CUDA card has flash attention for, which a cache of eight bits needs
(ggml-cuda/fattn.cu); with another the engine would do it on the processor."""

PROCESSOR_BANDWIDTH: Final = 50.0
"""GB/s at which a PC's own memory is read: two channels of DDR4-3200 are 51.2."""

_UBATCH: Final = BATCH // 4
"""llama.cpp puts 512 tokens through a layer together (--ubatch-size)."""

_BYTES: Final = 2
_LOGIT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of the cards; None: as much as fits, up to what is usual.

    What the owner has said is kept to. `layers` fewer than all of them puts the first ones, and
    their share of the cache, on the processor.
    """

    context: int | None = None
    slots: int | None = None
    layers: int | None = None
    caches: tuple[CacheType, ...] = ("f16", "q8_0")


@dataclass(frozen=True, slots=True)
class Offload:
    """How it is run: which of the places, and on each how many of the layers, the end counted as
    one. Bytes are of all cards together; `slowdown` is how many times longer a token takes than
    with all layers on the cards, estimated.
    """

    places: tuple[int, ...]
    split: tuple[int, ...]
    of: int
    context: int
    slots: int
    cache_type: CacheType
    weights: int
    cache: int
    other: int
    room: int
    slowdown: float = 1.0

    @property
    def layers(self) -> int:
        """How many layers are on cards."""
        return sum(self.split)

    @property
    def needed(self) -> int:
        """Bytes it takes of all cards together."""
        return self.weights + self.cache + self.other


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Why it does not fit: bytes needed at the least and there; how many layers would fit."""

    needed: int
    room: int
    layers: int
    of: int


@dataclass(frozen=True, slots=True)
class _Size:
    """One step of giving up."""

    context: int
    slots: int
    cache_type: CacheType


def offload(
    shape: Shape, burden: Burden, places: Sequence[Place], demand: Demand
) -> Offload | TooLarge:
    """Find how to run a file on the best card alone, or on as many as it takes.

    Given up, in this order: bits of the cache, context, cards (more are taken), slots.
    """
    if shape.windowed:
        # A layer with a window keeps what goes through it together as well.
        shape = replace(shape, window=shape.window + _UBATCH)
    order = sorted(range(len(places)), key=lambda n: -places[n].room)
    wanted = demand.slots or USUAL.sequences
    found: list[Offload] = []
    for count in range(1, len(order) + 1):
        # Cards keep the order they have in the container, whatever their size.
        group = tuple(sorted(order[:count]))
        fit = _on(shape, burden, [places[n] for n in group], group, demand)
        if fit is not None:
            found.append(fit)
            if fit.slots == wanted:
                break
    if found:
        return max(found, key=lambda fit: (fit.slots, fit.context, -len(fit.places)))
    return _refusal(shape, burden, places, demand)


def _on(
    shape: Shape,
    burden: Burden,
    places: Sequence[Place],
    group: tuple[int, ...],
    demand: Demand,
) -> Offload | None:
    of = len(burden.layers) + 1
    layers = min(demand.layers or of, of)
    split = _split(layers, [place.room for place in places])
    for size in _steps(shape, demand):
        parts = _parts(shape, burden, split, size)
        if all(sum(part) <= place.room for part, place in zip(parts, places, strict=True)):
            weights, cache, other = (sum(column) for column in zip(*parts, strict=True))
            return Offload(
                places=group,
                split=split,
                of=of,
                context=size.context,
                slots=size.slots,
                cache_type=size.cache_type,
                weights=weights,
                cache=cache,
                other=other,
                room=sum(place.room for place in places),
                slowdown=_slowdown(shape, burden, places, layers),
            )
    return None


def _steps(shape: Shape, demand: Demand) -> Iterator[_Size]:
    """Ask for less and less: fewer bits of the cache, half the context, then half the slots."""
    caches = demand.caches if shape.head_dim in FLASH_HEADS else demand.caches[:1]
    context = min(demand.context or USUAL.context, shape.context)
    contexts = [context]
    while demand.context is None and contexts[-1] > LEAST_CONTEXT:
        contexts.append(max(contexts[-1] // 2, LEAST_CONTEXT))
    slots = [demand.slots or USUAL.sequences]
    while demand.slots is None and slots[-1] > 1:
        slots.append(slots[-1] // 2)
    sizes = [(each, slots[0]) for each in contexts] + [(contexts[-1], each) for each in slots[1:]]
    for (tokens, at_once), cache in itertools.product(sizes, caches):
        yield _Size(tokens, at_once, cache)


def _split(layers: int, rooms: Sequence[int]) -> tuple[int, ...]:
    """Deal layers out by room, the largest remainders first."""
    whole = sum(rooms) or 1
    shares = [layers * room / whole for room in rooms]
    counts = [int(share) for share in shares]
    by_rest = sorted(range(len(rooms)), key=lambda n: counts[n] - shares[n])
    for n in by_rest[: layers - sum(counts)]:
        counts[n] += 1
    return tuple(counts)


def _parts(
    shape: Shape, burden: Burden, split: Sequence[int], size: _Size
) -> list[tuple[int, int, int]]:
    """Give the bytes of weights, cache and the rest on each card.

    llama.cpp leaves the first layers to the processor and deals out the others in their order;
    the end of the model is on the last card.
    """
    loads = [*burden.layers, burden.output]
    cache = shape.cache_bytes(size.context, CACHE_BYTES[size.cache_type]) * size.slots
    each = -(-cache // max(len(burden.layers), 1))
    at = len(loads) - sum(split)
    parts = []
    for count in split:
        has_end = at + count == len(loads)
        weights = sum(loads[at : at + count])
        parts.append((weights, each * (count - has_end), _other(shape, size, has_end=has_end)))
        at += count
    return parts


def _other(shape: Shape, size: _Size, *, has_end: bool) -> int:
    """Give the bytes of what is neither weight nor cache, on one card."""
    widest = max(shape.intermediate, shape.expert_intermediate * shape.experts_used)
    activations = _UBATCH * (2 * widest + 6 * shape.hidden) * _BYTES
    # Builds until the middle of 2026 keep the logits of a whole batch, later ones of the slots.
    logits = max(size.slots, _UBATCH) * shape.vocabulary * _LOGIT_BYTES
    return RUNTIME + activations + (logits if has_end else 0)


def _slowdown(shape: Shape, burden: Burden, places: Sequence[Place], layers: int) -> float:
    """Compare the time to read all weights, part of it at the speed of the PC's memory."""
    here = burden.layers[: max(0, len(burden.layers) + 1 - layers)]
    known = [place.bandwidth for place in places if place.bandwidth]
    if not here or not known:
        return 1.0
    share = EXPERTS_EFFICIENCY if shape.experts else EFFICIENCY
    rest = burden.whole - sum(here)
    card = share * min(known)
    return (rest / card + sum(here) / PROCESSOR_BANDWIDTH) / (burden.whole / card)


def _refusal(shape: Shape, burden: Burden, places: Sequence[Place], demand: Demand) -> TooLarge:
    """Say what the least would take on all cards, and how many layers of it go there."""
    of = len(burden.layers) + 1
    least = list(_steps(shape, demand))[-1]
    rooms = [place.room for place in places]
    needed = sum(map(sum, _parts(shape, burden, _split(of, rooms), least)))
    fitting = 0
    for layers in range(1, of + 1):
        parts = _parts(shape, burden, _split(layers, rooms), least)
        if any(sum(part) > room for part, room in zip(parts, rooms, strict=True)):
            break
        fitting = layers
    return TooLarge(needed, sum(rooms), fitting, of)


__all__ = ["CACHE_BYTES", "CacheType", "Demand", "Offload", "TooLarge", "offload"]
