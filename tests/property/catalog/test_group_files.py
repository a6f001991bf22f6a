"""Of the form that really runs, made of what a model's files hold, as of published ones."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.parts.weights import weights_of
from tests.property.catalog.test_groups import GIB, Group, groups, knowns, wishes, with_more

from garage_ai.catalog import (
    QUANTISATIONS,
    GroupFit,
    GroupRefusal,
    Link,
    Shape,
    Weighed,
    Wish,
    form_of,
    plan_group,
)


@st.composite
def models(draw: st.DrawFn) -> tuple[Weighed, Weighed]:
    """Draw a model as its files say it is, and as it truly is."""
    known = draw(knowns)
    names = [name for name in known.quantisations if QUANTISATIONS[name].engine == "vllm"]
    truly = QUANTISATIONS[draw(st.sampled_from(names))]._replace(tied=draw(st.booleans()))
    table = draw(st.sampled_from(["model.embed_tokens.weight", "tok_embeddings.weight"]))
    held = weights_of(known.shape, truly, table)
    form = form_of(truly.name, held, known.shape, truly.compute, truly.block)
    return Weighed(known.shape, form), Weighed(known.shape, truly)


def planned(model: Weighed, group: Group, wish: Wish) -> GroupFit | GroupRefusal:
    return plan_group(model.shape, [model.form], *group, wish)


def part(shape: Shape, found: GroupFit, stage: int) -> Shape:
    return next(shape.part(found.tensor).runs(found.layers[stage]))


@given(models(), groups(), wishes)
def test_a_plan_keeps_within_the_group(
    model: tuple[Weighed, Weighed], group: Group, wish: Wish
) -> None:
    """No card is to hold more than it has room for, and none less than its part truly takes."""
    said, (shape, truly) = model
    found = planned(said, group, wish)
    if not isinstance(found, GroupFit):
        return
    width = shape.expert_intermediate or shape.intermediate
    assert found.tensor == 1 or width % (found.tensor * truly.block) == 0
    for rank in found.ranks:
        ends = (rank.stage == 0) + (rank.stage == found.pipeline - 1)
        least = truly.weights(part(shape, found, rank.stage), ends)
        assert 0.9999 * least <= rank.weights <= rank.needed <= rank.room


@given(models(), groups(), wishes, st.randoms(use_true_random=False))
def test_the_order_of_rigs_is_nothing(
    model: tuple[Weighed, Weighed], group: Group, wish: Wish, random: Random
) -> None:
    """Each rig reads its own files and comes to the plan of all."""
    rigs, links = group
    turned = [Link(other, one, gbit, rtt_ms) for one, other, gbit, rtt_ms in links]
    shuffled = random.sample(rigs, len(rigs)), random.sample(turned, len(turned))
    assert planned(model[0], shuffled, wish) == planned(model[0], group, wish)


@given(models(), groups(), wishes, st.lists(st.integers(0, 30 * GIB), min_size=1, max_size=4))
def test_more_room_is_never_worse(
    model: tuple[Weighed, Weighed], group: Group, wish: Wish, more: list[int]
) -> None:
    """What fits still fits when any cards are larger, with as much context."""
    found = planned(model[0], group, wish)
    if isinstance(found, GroupFit):
        larger = planned(model[0], with_more(group, more), wish)
        assert isinstance(larger, GroupFit)
        assert (larger.sequences, larger.context) >= (found.sequences, found.context)
