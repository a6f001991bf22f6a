"""Whatever the rigs: a plan keeps within them, is always the same one, and refusals are true."""

from itertools import combinations
from random import Random
from typing import assert_never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    GroupFit,
    GroupRefusal,
    Link,
    Obstacle,
    Place,
    Rig,
    Wish,
    plan_group,
)
from garage_ai.catalog.group_layouts import MOST_RIGS, TENSOR_GBIT, TRIP_LIMIT_MS
from garage_ai.catalog.group_memory import SPARE
from garage_ai.catalog.groups import (
    CardTooOld,
    ExpertsTooNarrow,
    HeadsIndivisible,
    LinkTooNarrow,
    LinkUnmeasured,
    MemoryShort,
    NoCard,
    NoForm,
    NoSuchSet,
    ProcessorsInARow,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)
from garage_ai.catalog.known_shapes import Known

GIB = 1 << 30

knowns = st.sampled_from([known for known in KNOWN.values() if known.shape.layers <= 48])
cards = st.builds(
    Place,
    st.sampled_from(["one", "another"]),
    st.integers(0, 60 * GIB),
    st.sampled_from([None, 300.0, 900.0]),
    st.sampled_from([None, (7, 5), (8, 6), (8, 9)]),
    st.sampled_from([False, False, False, True]),
)
wishes = st.builds(Wish, st.integers(128, 100_000), st.integers(1, 16), st.integers(128, 8192))


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Rig], list[Link]]:
    """Draw up to three rigs, and what most of them have measured between each other."""
    held = draw(st.lists(st.lists(cards, min_size=1, max_size=4), min_size=1, max_size=3))
    rigs = [Rig(f"rig {n}", tuple(each)) for n, each in enumerate(held)]
    links = []
    for one, other in combinations([rig.name for rig in rigs], 2):
        gbit = draw(st.sampled_from([None, 0.9, 4.7, 8.6, 9.4, 25.0]))
        if gbit is not None:
            rtt_ms = draw(st.sampled_from([0.05, 0.3, 2.0, 7.0]))
            links.append(Link(one, other, gbit, rtt_ms))
    return rigs, links


Group = tuple[list[Rig], list[Link]]


def planned(known: Known, group: Group, wish: Wish, tensor: int = 0) -> GroupFit | GroupRefusal:
    forms = [form for name, form in QUANTISATIONS.items() if name in known.quantisations]
    return plan_group(known.shape, forms, *group, wish, tensor=tensor)


def with_more(group: Group, more: list[int]) -> Group:
    """Give each card so much more, counted through the group; the last figure goes on for all."""
    rigs, links = group
    figures = iter(more)
    larger = [
        Rig(name, tuple(card._replace(room=card.room + next(figures, more[-1])) for card in held))
        for name, held in rigs
    ]
    return larger, links


@given(knowns, groups(), wishes)
def test_a_plan_keeps_within_the_group(known: Known, group: Group, wish: Wish) -> None:
    """No card holds more than it has room for, and the engine's rules are kept."""
    found = planned(known, group, wish)
    if not isinstance(found, GroupFit):
        return
    rigs = {rig.name: rig for rig in group[0]}
    for rank in found.ranks:
        assert 0 <= rank.needed <= rank.room == rigs[rank.rig].cards[rank.card].room
    assert len({(rank.rig, rank.card) for rank in found.ranks}) == len(found.ranks)
    assert len(found.ranks) == found.tensor * found.pipeline
    given_by = [sum(rank.rig == name for rank in found.ranks) for name in found.rigs]
    assert len(set(given_by)) == 1
    assert len(found.layers) == found.pipeline
    assert sum(found.layers) == known.shape.layers
    assert min(found.layers) >= 1
    assert 1 <= found.sequences <= wish.sequences
    assert found.context <= min(wish.context, known.shape.context)
    if (found.context, found.sequences) != (min(wish.least, wish.context, known.shape.context), 1):
        assert all(rank.room - rank.needed >= SPARE for rank in found.ranks)
    # Nothing of the model is left out.
    whole = QUANTISATIONS[found.form].weights(known.shape)
    assert sum(rank.weights for rank in found.ranks) >= whole
    for stage in range(found.pipeline):
        ranks = [rank for rank in found.ranks if rank.stage == stage]
        assert [rank.part for rank in ranks] == list(range(found.tensor))
        places = [rigs[rank.rig].cards[rank.card] for rank in ranks]
        assert len({(place.name, place.compute, place.processor) for place in places}) == 1
    measured = {frozenset(link[:2]): link for link in group[1]}
    for pair in combinations(found.rigs, 2):
        link = measured[frozenset(pair)]
        assert link.rtt_ms <= TRIP_LIMIT_MS
        if found.pipeline == 1:
            assert link.gbit >= TENSOR_GBIT


@given(knowns, groups(), wishes, st.sampled_from([1, 2, 3, 4, 8, 13]))
def test_a_wished_set_is_had_or_refused(
    known: Known, group: Group, wish: Wish, tensor: int
) -> None:
    """Of just so many cards; why not is true."""
    found = planned(known, group, wish, tensor)
    if isinstance(found, GroupFit):
        assert found.tensor == tensor
    assert found.obstacles or isinstance(found, GroupFit)
    for told in found.obstacles:
        assert is_true(told, known, group), told


@given(knowns, groups(), wishes, st.randoms(use_true_random=False))
def test_the_order_of_rigs_is_nothing(
    known: Known, group: Group, wish: Wish, random: Random
) -> None:
    """The same group gives the same plan, in whatever order it is told."""
    rigs, links = group
    turned = [Link(other, one, gbit, rtt_ms) for one, other, gbit, rtt_ms in links]
    shuffled = random.sample(rigs, len(rigs)), random.sample(turned, len(turned))
    assert planned(known, shuffled, wish) == planned(known, group, wish)


@given(knowns, groups(), wishes, st.lists(st.integers(0, 30 * GIB), min_size=1, max_size=4))
def test_more_room_is_never_worse(known: Known, group: Group, wish: Wish, more: list[int]) -> None:
    """What fits still fits when any cards are larger, in as many bits, with as much context."""
    found = planned(known, group, wish)
    if not isinstance(found, GroupFit):
        return
    larger = planned(known, with_more(group, more), wish)
    assert isinstance(larger, GroupFit)
    order = list(QUANTISATIONS)
    assert order.index(larger.form) <= order.index(found.form)
    if larger.form == found.form:
        assert (larger.sequences, larger.context) >= (found.sequences, found.context)


FEW_BITS = Known(KNOWN["Qwen3-30B-A3B"].shape, "", 30.0, ("int4-experts",))


@st.composite
def large_groups(draw: st.DrawFn) -> tuple[Group, Group]:
    """Draw more rigs than are looked at, of a card each, and the same with larger cards.

    Those that can work together all grow alike, so that the same ones are the roomiest; those too
    old for the model, and those without a link, by anything.
    """
    count = draw(st.integers(MOST_RIGS + 1, MOST_RIGS + 3))
    idle = draw(st.lists(st.sampled_from(["", "", "", "old", "alone"]), min_size=count))[:count]
    more = draw(st.integers(0, 4 * GIB))
    small, large = [], []
    for n, why in enumerate(idle):
        compute = (6, 1) if why == "old" else (8, 6)
        card = Place("one", draw(st.integers(2 * GIB, 6 * GIB)), None, compute)
        grown = draw(st.integers(0, 30 * GIB)) if why else more
        small.append(Rig(f"rig {n:02}", (card,)))
        large.append(Rig(f"rig {n:02}", (card._replace(room=card.room + grown),)))
    linked = [rig.name for rig, why in zip(small, idle, strict=True) if why != "alone"]
    links = [Link(one, other, 1.0, 0.3) for one, other in combinations(linked, 2)]
    return (small, links), (large, links)


@settings(max_examples=10)
@given(large_groups())
def test_more_room_is_never_worse_among_many_rigs(group: tuple[Group, Group]) -> None:
    """Of more rigs than are looked at none that cannot take part keeps another one out."""
    small, large = (planned(FEW_BITS, each, Wish(4096, 2)) for each in group)
    if isinstance(small, GroupFit):
        assert isinstance(large, GroupFit)
        assert (large.sequences, large.context) >= (small.sequences, small.context)


@given(knowns, groups(), wishes)
def test_a_shortage_is_exact(known: Known, group: Group, wish: Wish) -> None:
    """With so much more on every card the model fits in that form, with a byte less it does not."""
    found = planned(known, group, wish)
    told = next((each for each in found.obstacles if isinstance(each, MemoryShort)), None)
    if told is None:
        return
    forms = [QUANTISATIONS[told.form]]
    assert told.short == told.needed - told.room > 0
    enough = plan_group(known.shape, forms, *with_more(group, [told.short]), wish)
    assert isinstance(enough, GroupFit)
    less = plan_group(known.shape, forms, *with_more(group, [told.short - 1]), wish)
    assert isinstance(less, GroupRefusal)


@given(knowns, groups(), wishes)
def test_every_obstacle_is_there(known: Known, group: Group, wish: Wish) -> None:
    """What is told can be checked against the group and the model."""
    found = planned(known, group, wish)
    assert found.obstacles or isinstance(found, GroupFit)
    for told in found.obstacles:
        assert is_true(told, known, group), told


def is_true(told: Obstacle, known: Known, group: Group) -> bool:  # noqa: PLR0911
    rigs, links = {rig.name: rig for rig in group[0]}, group[1]
    measured = {frozenset(link[:2]): link for link in links}
    match told:
        case LinkUnmeasured(one=one, other=other):
            return frozenset((one, other)) not in measured
        case TripTooLong(one=one, other=other, rtt_ms=rtt_ms, limit_ms=limit_ms):
            return measured[frozenset((one, other))].rtt_ms == rtt_ms > limit_ms
        case LinkTooNarrow(one=one, other=other, gbit=gbit, limit_gbit=limit_gbit):
            return measured[frozenset((one, other))].gbit == gbit < limit_gbit
        case UnequalCards(rigs=names, cards=cards, rooms=rooms):
            held = [card for name in names for card in rigs[name].cards]
            kinds = {(card.name, card.compute, card.processor) for card in held}
            return len(kinds) > 1 and len(cards) == len(rooms) <= len(held)
        case CardTooOld(rig=name, card=card, compute=compute, form=form, wanted=wanted):
            assert wanted == QUANTISATIONS[form].compute
            return compute < wanted and (card, compute) in {
                (each.name, each.compute) for each in rigs[name].cards
            }
        case HeadsIndivisible(tensor=tensor, heads=heads, what=what):
            return heads % tensor > 0 and heads in heads_of(known, what)
        case ExpertsTooNarrow(tensor=tensor, width=width, block=block):
            return width % (tensor * block) > 0
        case TooManyStages(pipeline=pipeline, layers=layers):
            return pipeline > layers == known.shape.layers
        case ProcessorsInARow():
            return any(card.processor for rig in rigs.values() for card in rig.cards)
        case MemoryShort(form=form, weights=weights):
            return weights == QUANTISATIONS[form].weights(known.shape)
        case NoSuchSet(tensor=tensor, cards=held):
            return tensor > 0 and held == sum(len(rig.cards) for rig in rigs.values())
        case NoCard() | NoForm():
            return False
    assert_never(told)


def heads_of(known: Known, what: str) -> set[int]:
    shape = known.shape
    linear = shape.linear.key_heads if shape.linear else 0
    return {{"attention": shape.heads, "key": shape.kv_heads, "linear": linear}[what]}


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_parts_and_runs_add_up_to_the_model(known: Known, count: int) -> None:
    """Cut as the engine cuts it nothing is lost, and little beside routers and key heads copied."""
    shape = known.shape
    if shape.heads % count:
        return
    part = shape.part(count)
    whole = shape.attention + shape.dense + shape.expert
    assert whole <= count * (part.attention + part.dense + part.expert) <= 1.04 * whole
    for layers in (1, shape.layers // 3, shape.layers):
        for run in shape.runs(layers):
            assert run.layers == layers
            assert 0 <= run.linear_layers + run.windowed <= layers
    assert {run.parameters for run in shape.runs(shape.layers)} == {shape.parameters}
