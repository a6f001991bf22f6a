"""What a model ought to cost, from published figures of the reference card. Pure.

A price is the share of an hour of one RTX 3090 24 GB, which is one GAI, that 1,000 tokens take:

    prompt      1,000 / (TFLOPS · PREFILL_SHARE / (2 · active parameters)) s
    completion  1,000 / (STREAMS / seconds of a step) s
    a step      (weights read + STREAMS · cache of CONTEXT tokens) / (bandwidth · planner's share),
                but STEP_SECONDS at least

times the number of reference cards that hold the model, rounded to two figures. Speed as a node
tells it is in none of this.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    REFERENCE,
    RESERVE,
    Catalog,
    Fit,
    Manifest,
    Place,
    Quantisation,
    Shape,
    Wish,
    digest_of,
    plan_on,
)
from garage_ai.catalog.planner import EFFICIENCY, EXPERTS_EFFICIENCY, GIB
from garage_ai.ledger.charges import PER_TOKENS, Price
from garage_ai.ledger.models import GAI, NanoGai

TFLOPS: Final = 71.0
"""An RTX 3090's dense FP16 tensor cores with FP32 sums (NVIDIA, GA102 whitepaper, appendix A)."""

PREFILL_SHARE: Final = 0.5
"""Share of it that reading prompts reaches while answers are made beside."""

STREAMS: Final = 4
"""Answers made at a time: half of the eight slots a node has by default, as an evening fills."""

CONTEXT: Final = 4096
"""Tokens that each of them looks back on: a conversation."""

STEP_SECONDS: Final = 0.002
"""Least time of a step: a few hundred kernels of some microseconds each, however small the model.
It also keeps what a toy model costs from rounding to nothing."""

MOST_CARDS: Final = 8

FIGURES: Final = 2

USUAL_MODEL: Final = ("Llama-3.1-8B-Instruct", "Q4_K_M")
"""What a model that nobody knows costs as much as: the usual size on one gaming card."""


class Speeds(NamedTuple):
    """Tokens per second of the reference card: prompts read, and answers made of all streams."""

    prefill: float
    decode: float


def speeds_of(shape: Shape, form: Quantisation) -> Speeds:
    """Say how fast the reference card runs a model, by published figures."""
    active = shape.attention + shape.dense + shape.expert_active + shape.embedding
    read = form.read_for_a_token(shape)
    if shape.experts:
        # Several streams ask for different experts, up to all of them.
        each = form.experts * shape.expert_active / 8
        read += round(min(form.experts * shape.expert / 8, STREAMS * each) - each)
    share = EXPERTS_EFFICIENCY if shape.experts else EFFICIENCY
    return _speeds(active, read + STREAMS * shape.cache_bytes(CONTEXT), share)


def _speeds(active: int, read: int, share: float) -> Speeds:
    step = max(STEP_SECONDS, read / (share * REFERENCE.bandwidth * 1e9))
    return Speeds(PREFILL_SHARE * TFLOPS * 1e12 / (2 * active), STREAMS / step)


def single_stream(shape: Shape, form: Quantisation) -> float:
    """Give the tokens per second of one stream alone on the reference card."""
    read = form.read_for_a_token(shape) + shape.cache_bytes(CONTEXT // 2)
    share = EXPERTS_EFFICIENCY if shape.experts else EFFICIENCY
    return 1 / max(STEP_SECONDS, read / (share * REFERENCE.bandwidth * 1e9))


def cards_for(shape: Shape, form: Quantisation) -> int:
    """Say how many reference cards hold a model with STREAMS conversations; MOST_CARDS at most."""
    place = Place(REFERENCE.name, REFERENCE.memory * GIB - RESERVE, REFERENCE.bandwidth)
    wish = Wish(context=CONTEXT, sequences=STREAMS)
    counts = range(1, MOST_CARDS + 1)
    fits = ((count, plan_on(shape, form, [place] * count, wish)) for count in counts)
    return next((count for count, fit in fits if _whole(fit)), MOST_CARDS)


def _whole(fit: object) -> bool:
    return isinstance(fit, Fit) and fit.sequences == STREAMS


def price_for(shape: Shape, form: Quantisation) -> Price:
    """Derive the price of a model whose shape is known."""
    return _price(speeds_of(shape, form), cards_for(shape, form))


def price_of_manifest(manifest: Manifest) -> Price:
    """Derive the price of a model of the catalogue, from its size where its shape is not known."""
    known = _known(manifest)
    if known is not None:
        return price_for(*known)
    weights = sum(file.size for file in manifest.files)
    cards = -(-weights // (REFERENCE.memory * GIB - RESERVE))
    return _price(_speeds(manifest.parameters, weights, EFFICIENCY), max(1, cards))


def _known(manifest: Manifest) -> tuple[Shape, Quantisation] | None:
    known = {name.casefold(): each.shape for name, each in KNOWN.items()}
    shape = known.get(manifest.id.casefold()) or known.get(manifest.name.casefold())
    form = QUANTISATIONS.get(manifest.quantisation)
    return None if shape is None or form is None else (shape, form)


def usual_price() -> Price:
    """Derive the price of a model that is in no catalogue."""
    model, form = USUAL_MODEL
    return price_for(KNOWN[model].shape, QUANTISATIONS[form])


def tariff(catalog: Catalog) -> Iterator[tuple[str, Price, str]]:
    """Give what every model of the catalogue ought to cost: digest, price, and what it is."""
    for manifest in catalog:
        yield str(digest_of(manifest)), price_of_manifest(manifest), manifest.name


def expected_speeds(catalog: Catalog) -> Iterator[tuple[str, float]]:
    """Give the tokens per second of one stream on the reference card, of each catalogue model."""
    for manifest in catalog:
        known = _known(manifest)
        weights = sum(file.size for file in manifest.files)
        alone = weights / (EFFICIENCY * REFERENCE.bandwidth * 1e9)
        speed = single_stream(*known) if known else 1 / max(STEP_SECONDS, alone)
        yield str(digest_of(manifest)), speed


def _price(speeds: Speeds, cards: int) -> Price:
    prompt, completion = (_share_of_hour(each, cards) for each in speeds)
    return Price(prompt, completion)


def _share_of_hour(speed: float, cards: int) -> NanoGai:
    nano = cards * GAI * PER_TOKENS / (speed * 3600)
    return NanoGai(max(1, rounded(round(nano))))


def rounded(amount: int) -> int:
    """Round half up to two figures, so that a price can be said aloud."""
    scale: int = 10 ** max(0, len(str(amount)) - FIGURES)
    return (amount + scale // 2) // scale * scale


__all__ = [
    "CONTEXT",
    "PREFILL_SHARE",
    "STEP_SECONDS",
    "STREAMS",
    "TFLOPS",
    "USUAL_MODEL",
    "Speeds",
    "cards_for",
    "expected_speeds",
    "price_for",
    "price_of_manifest",
    "rounded",
    "single_stream",
    "speeds_of",
    "tariff",
    "usual_price",
]
