"""Does a model fit on these cards, with what context, for how many at once? Pure.

The answer is computed, not measured: what an engine really takes differs by driver, version and
desktop. It keeps a reserve for that, and says in a sentence why something does not fit.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
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
Heads = Literal["attention", "key", "linear"]


class Place(NamedTuple):
    """A card, or the PC's own memory, as room for a model: bytes, GB/s if known, generation."""

    name: str
    room: int
    bandwidth: float | None = None
    compute: tuple[int, int] | None = None
    processor: bool = False


class Wish(NamedTuple):
    """What is hoped for; less is taken in this order: context, sequences, quantisation.

    Less context than `least` is not taken.
    """

    context: int = _LONGEST
    sequences: int = _MOST
    least: int = LEAST_CONTEXT


class Fit(NamedTuple):
    """How a model would run, on how many cards (none: on the processor). Bytes are of all together.

    `speed` is tokens per second of one stream, estimated from the bandwidth of cards that work one
    after the other; None where the bandwidth is not known. `measured` is what it really took.
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
    measured: int | None = None

    @property
    def needed(self) -> int:
        """Give the bytes it takes: as measured, else as computed."""
        if self.measured is not None:
            return self.measured
        return self.weights + self.cache + self.other


class Refusal(NamedTuple):
    """Why a model does not fit: the form that came nearest, the bytes it would need, and has."""

    reason: Reason
    quantisation: str
    needed: int
    room: int


Measured = Mapping[tuple[str, int, int], int]
"""Bytes that a model was measured to take here, by form, context and sequences."""

USUAL: Final = Wish()
UNMEASURED: Final[Measured] = MappingProxyType({})


def plan(
    shape: Shape,
    forms: Sequence[Quantisation],
    places: Sequence[Place],
    wish: Wish = USUAL,
    measured: Measured = UNMEASURED,
) -> Fit | Refusal:
    """Find the best way to run a model here.

    Forms are tried from many bits to few; with each, all cards that can share the work. What was
    measured takes the place of what would be computed.
    """
    refusals: list[Refusal] = []
    for form in forms:
        found = _with(shape, form, places, wish, measured)
        if isinstance(found, Fit):
            return found
        refusals.append(found)
    if not refusals:
        return Refusal("no_form", "", 0, 0)
    # The nearest miss tells the owner most.
    return min(refusals, key=lambda each: (each.reason != "too_large", each.needed - each.room))


def _with(
    shape: Shape, form: Quantisation, places: Sequence[Place], wish: Wish, measured: Measured
) -> Fit | Refusal:
    able = [place for place in places if _runs(form, place)]
    if not able:
        cards = any(not place.processor for place in places)
        return Refusal("too_old" if cards else "no_card", form.name, form.weights(shape), 0)
    fits: list[Fit] = []
    misses: list[Refusal] = []
    for group in _groups(shape, form, able):
        found = plan_on(shape, form, group, wish, measured)
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
        if form.engine == "llamacpp" or divides(shape, count):
            yield ordered[:count]


def divides(shape: Shape, count: int) -> bool:
    """Tell whether vLLM can cut the model's layers into so many equal parts."""
    return indivisible(shape, count) is None


def indivisible(shape: Shape, count: int) -> tuple[Heads, int] | None:
    """Name the heads that cannot be dealt out to so many equal parts, and how many there are."""
    if shape.heads % count:
        return "attention", shape.heads
    # Fewer key heads than cards are copied, more are dealt out.
    if shape.kv_heads % count and count % shape.kv_heads:
        return "key", shape.kv_heads
    if shape.linear and shape.linear.key_heads % count:
        return "linear", shape.linear.key_heads
    return None


def plan_on(
    shape: Shape,
    form: Quantisation,
    group: Sequence[Place],
    wish: Wish = USUAL,
    measured: Measured = UNMEASURED,
) -> Fit | Refusal:
    """Plan one form for exactly these cards."""
    count = len(group)
    rooms = [place.room for place in group]
    room = sum(rooms) if form.engine == "llamacpp" else min(rooms) * count
    weights = form.weights(shape)
    for context, sequences in sizes(shape, wish):
        cache = _cache(shape, form, count, context) * sequences
        other = other_bytes(shape, form, count, sequences)
        seen = measured.get((form.name, context, sequences))
        needed = weights + cache + other if seen is None else seen
        if needed <= room:
            speed = _speed(shape, form, group, context)
            cards = sum(not place.processor for place in group)
            return Fit(form, cards, context, sequences, weights, cache, other, room, speed, seen)
    return Refusal("too_large", form.name, needed, room)


def sizes(shape: Shape, wish: Wish) -> Iterator[tuple[int, int]]:
    """Ask for less and less: half the context until it is the least, then half the sequences."""
    context = min(wish.context, shape.context)
    least = max(1, min(wish.least, context))
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


def other_bytes(shape: Shape, form: Quantisation, count: int, sequences: int) -> int:
    """Give the bytes of all that is neither weight nor cache, on all cards."""
    widest = max(shape.intermediate, shape.expert_intermediate * shape.experts_used)
    batch = BATCH if form.engine == "vllm" else BATCH // 4
    activations = batch * (2 * widest + 6 * shape.hidden) * _BF16
    logits = sequences * shape.vocabulary * _LOGIT_BYTES
    graphs = GRAPHS if form.engine == "vllm" else 0
    return activations + logits + (RUNTIME + graphs) * count


def _speed(shape: Shape, form: Quantisation, group: Sequence[Place], context: int) -> float | None:
    """Estimate the tokens per second of one stream that is half its context long."""
    slowest = min((place.bandwidth or 0.0 for place in group), default=0.0)
    if not slowest:
        return None
    read = form.read_for_a_token(shape) + shape.cache_bytes(context // 2)
    share = EXPERTS_EFFICIENCY if shape.experts else EFFICIENCY
    return share * slowest * 1e9 / read


__all__ = [
    "BATCH",
    "EFFICIENCY",
    "EXPERTS_EFFICIENCY",
    "GIB",
    "LEAST_CONTEXT",
    "RESERVE",
    "RUNTIME",
    "USUAL",
    "Fit",
    "Heads",
    "Measured",
    "Place",
    "Reason",
    "Refusal",
    "Wish",
    "divides",
    "indivisible",
    "other_bytes",
    "plan",
    "plan_on",
    "sizes",
]
