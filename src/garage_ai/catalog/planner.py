"""Does a model fit on these cards, with what context, for how many at once? Pure.

The answer is computed, not measured: what an engine really takes differs by driver, version and
desktop. It keeps a reserve for that, and says in a sentence why something does not fit.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.shapes import Shape

GIB: Final = 1 << 30

RESERVE: Final = GIB
"""What desktop and driver hold of a card: 596 and 434 MiB on a recorded RTX 4080 SUPER with KDE."""

LEAST_CONTEXT: Final = 4096
"""A conversation; a node that offers less is little use."""

GRAPHS: Final = GIB // 2
"""CUDA graphs of a handful of sequences; vLLM logs 0.2 to 0.6 GiB for such."""

RUNTIME: Final = GIB // 4
"""CUDA's own context on each card: 0.03 to 0.25 GiB in vLLM's logs (vllm issues 13882, 13061)."""

BATCH: Final = 2048
"""Tokens that go through a layer together in prefill (vLLM's default for chunked prefill)."""

EFFICIENCY: Final = 0.6
"""Share of the published bandwidth that making tokens reaches, 0.5 to 0.7 in published runs: on an
RTX 3090 48.5 tokens/s of a 7B in F16 (llama.cpp pull request 4766), on an RTX 4090 93 of an 8B in
Q6_K (LLM-inference-speed-benchmarks issue 10), on an RTX 5090 222 of an 8B in Q4_K_M."""

EXPERTS_EFFICIENCY: Final = 0.3
"""The same for models of many small experts, whose parts cost more to start than to read: on an
RTX 3090 110 to 134 tokens/s of a 30B with 3B active in Q4_K_M (calebcoffie.com/benchmarks)."""

_LONGEST: Final = 32_768
_MOST: Final = 8
_BF16: Final = 2
_LOGIT_BYTES: Final = 6


Reason = Literal["too_large", "too_old", "no_card", "no_form"]


class Place(NamedTuple):
    """A card, or the PC's own memory, as room for a model: bytes, GB/s if known, generation."""

    name: str
    room: int
    bandwidth: float | None = None
    compute: tuple[int, int] | None = None
    processor: bool = False


class Wish(NamedTuple):
    """What is hoped for; less is taken in this order: context, sequences, quantisation."""

    context: int = _LONGEST
    sequences: int = _MOST


class Fit(NamedTuple):
    """How a model would run, on how many cards (none: on the processor). Bytes are of all together.

    `speed` is tokens per second of one stream, estimated from the bandwidth of cards that work one
    after the other; None where the bandwidth is not known.
    """

    quantisation: Quantisation
    cards: int
    context: int
    sequences: int
    weights: int
    cache: int
    other: int
    room: int
    speed: float | None


class Refusal(NamedTuple):
    """Why a model does not fit: the form that came nearest, the bytes it would need, and has."""

    reason: Reason
    quantisation: str
    needed: int
    room: int


USUAL: Final = Wish()


def plan(
    shape: Shape, forms: Sequence[Quantisation], places: Sequence[Place], wish: Wish = USUAL
) -> Fit | Refusal:
    """Find the best way to run a model here.

    Forms are tried from many bits to few; with each, all cards that can share the work.
    """
    refusals: list[Refusal] = []
    for form in forms:
        found = _with(shape, form, places, wish)
        if isinstance(found, Fit):
            return found
        refusals.append(found)
    if not refusals:
        return Refusal("no_form", "", 0, 0)
    # The nearest miss tells the owner most.
    return min(refusals, key=lambda each: (each.reason != "too_large", each.needed - each.room))


def _with(shape: Shape, form: Quantisation, places: Sequence[Place], wish: Wish) -> Fit | Refusal:
    able = [place for place in places if _runs(form, place)]
    if not able:
        cards = any(not place.processor for place in places)
        return Refusal("too_old" if cards else "no_card", form.name, form.weights(shape), 0)
    fits: list[Fit] = []
    misses: list[Refusal] = []
    for group in _groups(shape, form, able):
        found = _on(shape, form, group, wish)
        if isinstance(found, Fit):
            fits.append(found)
        else:
            misses.append(found)
    if fits:
        return max(fits, key=lambda fit: (fit.sequences, fit.context, -fit.cards))
    return min(misses, key=lambda each: each.needed - each.room)


def _runs(form: Quantisation, place: Place) -> bool:
    if place.processor:
        return form.engine == "llamacpp"
    return place.compute is None or place.compute >= form.compute


def _groups(shape: Shape, form: Quantisation, places: list[Place]) -> Iterator[list[Place]]:
    """Give each set of cards that can hold the model together, the roomiest first.

    vLLM cuts every layer into equal parts, so heads must divide and the smallest card decides;
    llama.cpp gives each card some of the layers, and any number of cards does.
    """
    ordered = sorted(places, key=lambda place: -place.room)
    for count in range(1, len(ordered) + 1):
        if form.engine == "llamacpp" or _divides(shape, count):
            yield ordered[:count]


def _divides(shape: Shape, count: int) -> bool:
    if shape.heads % count:
        return False
    # Fewer key heads than cards are copied, more are dealt out.
    return shape.kv_heads % count == 0 or count % shape.kv_heads == 0


def _on(shape: Shape, form: Quantisation, group: list[Place], wish: Wish) -> Fit | Refusal:
    count = len(group)
    rooms = [place.room for place in group]
    room = sum(rooms) if form.engine == "llamacpp" else min(rooms) * count
    weights = form.weights(shape)
    for context, sequences in _steps(shape, wish):
        cache = _cache(shape, form, count, context) * sequences
        other = _other(shape, form, count, sequences)
        if weights + cache + other <= room:
            speed = _speed(shape, form, group, context)
            cards = sum(not place.processor for place in group)
            return Fit(form, cards, context, sequences, weights, cache, other, room, speed)
    return Refusal("too_large", form.name, weights + cache + other, room)


def _steps(shape: Shape, wish: Wish) -> Iterator[tuple[int, int]]:
    """Ask for less and less: half the context until it is the least, then half the sequences."""
    context = min(wish.context, shape.context)
    least = min(LEAST_CONTEXT, context)
    while context > least:
        yield context, wish.sequences
        context = max(context // 2, least)
    sequences = wish.sequences
    while sequences >= 1:
        yield least, sequences
        sequences //= 2


def _cache(shape: Shape, form: Quantisation, count: int, context: int) -> int:
    """Give the bytes of one sequence on all cards; a key head that is copied counts each time."""
    once = shape.cache_bytes(context)
    copies = max(1, count // shape.kv_heads) if form.engine == "vllm" else 1
    return once * copies


def _other(shape: Shape, form: Quantisation, count: int, sequences: int) -> int:
    """Give the bytes of all that is neither weight nor cache, on all cards."""
    widest = max(shape.intermediate, shape.expert_intermediate * shape.experts_used)
    batch = BATCH if form.engine == "vllm" else BATCH // 4
    activations = batch * (2 * widest + 6 * shape.hidden) * _BF16
    logits = sequences * shape.vocabulary * _LOGIT_BYTES
    graphs = GRAPHS if form.engine == "vllm" else 0
    return activations + logits + (RUNTIME + graphs) * count


def _speed(shape: Shape, form: Quantisation, group: list[Place], context: int) -> float | None:
    """Estimate the tokens per second of one stream that is half its context long."""
    slowest = min((place.bandwidth or 0.0 for place in group), default=0.0)
    if not slowest:
        return None
    read = form.read_for_a_token(shape) + shape.cache_bytes(context // 2)
    share = EXPERTS_EFFICIENCY if shape.experts else EFFICIENCY
    return share * slowest * 1e9 / read


__all__ = [
    "GIB",
    "RESERVE",
    "Fit",
    "Place",
    "Reason",
    "Refusal",
    "Wish",
    "plan",
]
