"""Planning for a group of rigs: the reference model, how work is divided, and what is refused."""

from itertools import combinations

import msgspec
import pytest

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    GroupFit,
    GroupRefusal,
    Link,
    Obstacle,
    Place,
    Rig,
    Wish,
    find_card,
    plan_group,
)
from garage_ai.catalog.group_layouts import TENSOR_GBIT, TRIP_LIMIT_MS
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
    ProcessorsInARow,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)

GIB = 1 << 30
NEXT = "Qwen3-Next-80B-A3B-Instruct"
LAN = Link("a", "b", 1.0, 0.3)
FAST = Link("a", "b", 25.0, 0.05)
SIXTEEN, TWENTY_FOUR = "RTX 4060 Ti 16GB", "RTX 3090"


def rig(name: str, *cards: str) -> Rig:
    found = [card for each in cards if (card := find_card(each))]
    assert len(found) == len(cards)
    return Rig(
        name,
        tuple(
            Place(card.name, card.memory * GIB - RESERVE, card.bandwidth, card.compute)
            for card in found
        ),
    )


def planned(
    model: str,
    *rigs: Rig,
    links: tuple[Link, ...] = (LAN,),
    forms: str = "",
    wish: Wish = Wish(),  # noqa: B008
) -> GroupFit | GroupRefusal:
    known = KNOWN[model]
    names = forms.split() or known.quantisations
    chosen = [form for name, form in QUANTISATIONS.items() if name in names]
    return plan_group(known.shape, chosen, rigs, links, wish)


def fit(model: str, *rigs: Rig, links: tuple[Link, ...] = (LAN,), forms: str = "") -> GroupFit:
    found = planned(model, *rigs, links=links, forms=forms)
    assert isinstance(found, GroupFit), found
    return found


def refused(
    model: str, *rigs: Rig, links: tuple[Link, ...] = (LAN,), forms: str = ""
) -> tuple[Obstacle, ...]:
    found = planned(model, *rigs, links=links, forms=forms)
    assert isinstance(found, GroupRefusal), found
    return found.obstacles


def test_four_cards_of_sixteen_in_one_pc_hold_the_reference_model() -> None:
    """One tensor-parallel set; two key heads go on four cards, each twice."""
    found = fit(NEXT, rig("a", *[SIXTEEN] * 4))
    assert (found.form, found.tensor, found.pipeline) == ("int4-experts", 4, 1)
    assert [(rank.rig, rank.card, rank.part) for rank in found.ranks] == [
        ("a", n, n) for n in range(4)
    ]
    # A quarter of 44.9 GiB, and every router on every card.
    assert found.ranks[0].weights / GIB == pytest.approx(11.3, abs=0.1)
    shape = KNOWN[NEXT].shape
    keys = 12 * found.context * 2 * 256 * 2
    states = shape.cache_bytes(0) // 4
    assert found.ranks[0].cache == pytest.approx(found.sequences * (keys + states), rel=0.001)


def test_two_pcs_of_two_cards_are_a_pipeline_of_two_sets() -> None:
    """Over 1 Gbit/s layers stay whole in a PC, and tensor parallel over both is told as refused."""
    found = fit(NEXT, rig("b", SIXTEEN, SIXTEEN), rig("a", SIXTEEN, SIXTEEN))
    assert (found.form, found.tensor, found.pipeline) == ("int4-experts", 2, 2)
    assert (found.rigs, found.layers) == (("a", "b"), (24, 24))
    assert [(rank.rig, rank.stage, rank.part) for rank in found.ranks] == [
        ("a", 0, 0),
        ("a", 0, 1),
        ("b", 1, 0),
        ("b", 1, 1),
    ]
    assert found.obstacles == (LinkTooNarrow(one="a", other="b", gbit=1.0, limit_gbit=TENSOR_GBIT),)


def test_four_reference_cards_hold_it_in_eight_bits() -> None:
    """4 x 24 GB: more bits come before more speed, and a card is not filled to its brim."""
    found = fit(NEXT, rig("a", *[TWENTY_FOUR] * 4))
    assert (found.form, found.tensor, found.context) == ("fp8", 4, 16_384)
    assert all(rank.room - rank.needed >= SPARE for rank in found.ranks)


@pytest.mark.parametrize(
    ("cards", "short"), [([TWENTY_FOUR] * 2, 0.67), (["RTX 4060 8GB"] * 4, 5.46)]
)
def test_what_is_too_small_is_refused_with_the_numbers(cards: list[str], short: float) -> None:
    """2 x 24 GB and 4 x 8 GB: four bits alone are 45 GiB, and each card is short of so much."""
    first = refused(NEXT, rig("a", *cards))[0]
    assert isinstance(first, MemoryShort)
    assert (first.form, first.cards) == ("int4-experts", len(cards))
    assert first.weights / GIB == pytest.approx(45.1, rel=0.01)
    assert first.short / GIB == pytest.approx(short, abs=0.01)
    assert first.short == first.needed - first.room


@pytest.mark.parametrize(
    ("links", "obstacle"),
    [
        ((), LinkUnmeasured(one="a", other="b")),
        (
            (Link("b", "a", 10.0, 8.0),),
            TripTooLong(one="a", other="b", rtt_ms=8.0, limit_ms=TRIP_LIMIT_MS),
        ),
    ],
)
def test_rigs_too_far_apart_stay_alone(links: tuple[Link, ...], obstacle: Obstacle) -> None:
    """First the link is told, then what a rig alone is short of."""
    told = refused(NEXT, rig("a", SIXTEEN, SIXTEEN), rig("b", SIXTEEN, SIXTEEN), links=links)
    assert told[0] == obstacle
    assert isinstance(told[1], MemoryShort)
    assert told[1].cards == 2


def test_of_two_measurements_the_worse_counts() -> None:
    """A link that was slow one way is slow."""
    links = (LAN, Link("b", "a", 1.0, 2.5))
    told = refused(NEXT, rig("a", SIXTEEN, SIXTEEN), rig("b", SIXTEEN, SIXTEEN), links=links)
    assert isinstance(told[0], TripTooLong)


def test_a_fast_link_carries_a_set_over_both_rigs_where_that_is_faster() -> None:
    """Eight key heads deal out without copies: same context, and cards read at the same time."""
    rigs = rig("a", TWENTY_FOUR), rig("b", TWENTY_FOUR)
    over = fit("Qwen3-32B", *rigs, links=(FAST,), forms="fp8")
    assert (over.tensor, over.pipeline) == (2, 1)
    slow = fit("Qwen3-32B", *rigs, forms="fp8")
    assert (slow.tensor, slow.pipeline) == (1, 2)
    assert over.pace
    assert slow.pace
    assert over.pace.alone > slow.pace.alone
    assert over.pace.exchange_ms > slow.pace.exchange_ms


@pytest.mark.parametrize(
    ("gbit", "tensor"), [(10.0, 2), (9.41, 2), (8.6, 2), (5.0, 1), (4.7, 1), (0.94, 1)]
)
def test_a_cable_of_ten_gigabits_carries_a_set_by_what_it_delivers(
    gbit: float, tensor: int
) -> None:
    """Measured it is never all of what the cable is sold as; the next narrower cable is refused."""
    rigs = rig("a", TWENTY_FOUR), rig("b", TWENTY_FOUR)
    links = (Link("a", "b", gbit, 0.05),)
    assert fit("Qwen3-32B", *rigs, links=links, forms="fp8").tensor == tensor


def test_unequal_cards_make_no_set_but_a_pipeline() -> None:
    """More layers go where more room is."""
    found = fit(NEXT, rig("a", "RTX 5090", TWENTY_FOUR))
    assert (found.tensor, found.pipeline) == (1, 2)
    assert found.layers[0] > found.layers[1]
    (told,) = found.obstacles
    assert isinstance(told, UnequalCards)
    assert told.cards == ("RTX 5090", "RTX 3090")


def test_equal_cards_are_found_among_others() -> None:
    """The two that are alike work together; numbers stay those of the driver."""
    cards = rig("a", SIXTEEN, TWENTY_FOUR, TWENTY_FOUR)
    found = planned("Qwen3-32B", cards, forms="fp8", wish=Wish(4096, 1))
    assert isinstance(found, GroupFit)
    assert (found.tensor, found.pipeline) == (2, 1)
    assert [rank.card for rank in found.ranks] == [1, 2]


def test_a_card_too_old_for_a_form_is_left_out_and_named() -> None:
    """Turing computes no bf16; the other two cards keep their numbers."""
    found = fit("Llama-3.1-8B-Instruct", rig("a", "RTX 2060", SIXTEEN, SIXTEEN), forms="bf16")
    assert [rank.card for rank in found.ranks] == [1, 2]
    (told,) = found.obstacles
    assert told == CardTooOld(rig="a", card="RTX 2060", compute=(7, 5), form="bf16", wanted=(8, 0))


@pytest.mark.parametrize("ninth", [3, 24])
@pytest.mark.parametrize(("compute", "linked"), [((6, 1), True), ((8, 6), False)])
def test_a_rig_that_cannot_take_part_keeps_no_other_out(
    ninth: int, compute: tuple[int, int], linked: bool
) -> None:
    """Of nine rigs eight are looked at: never one too old or without a link, however large."""
    room = int(3.65 * GIB)
    rigs = [Rig(f"rig {n}", (Place("one", room, None, (8, 6)),)) for n in range(8)]
    rigs.append(Rig("rig 8", (Place("another", ninth * GIB, None, compute),)))
    names = [each.name for each in rigs[: 9 if linked else 8]]
    links = tuple(Link(one, other, 1.0, 0.3) for one, other in combinations(names, 2))
    wish = Wish(4096, 1)
    found = planned("Qwen3-30B-A3B", *rigs, links=links, forms="int4-experts", wish=wish)
    assert isinstance(found, GroupFit)
    if linked or ninth == 3:
        assert found.rigs == tuple(f"rig {n}" for n in range(8))
    else:
        assert found.rigs == ("rig 8",)


def test_experts_are_cut_only_along_their_blocks() -> None:
    """A width of 512 in blocks of 128 goes on four cards, not on eight: two sets of four do."""
    told = refused(NEXT, rig("a", *["RTX 4060 8GB"] * 8), forms="fp8")
    assert ExpertsTooNarrow(form="fp8", tensor=8, width=512, block=128) in told
    assert isinstance(told[0], MemoryShort)
    assert (told[0].tensor, told[0].pipeline) == (4, 2)
    whole = fit(NEXT, rig("a", *["RTX 4060 8GB"] * 8), forms="int4-experts")
    assert (whole.tensor, whole.pipeline) == (8, 1)


def test_heads_that_do_not_divide_are_told() -> None:
    """Three processors cannot share sixteen heads, and have no pipeline."""
    rigs = [Rig(name, (Place("cpu", 20 * GIB, processor=True),)) for name in "abc"]
    links = [Link("a", "b", 25, 0.1), Link("a", "c", 25, 0.1), Link("b", "c", 25, 0.1)]
    told = refused(NEXT, *rigs, links=tuple(links), forms="int4-experts")
    assert HeadsIndivisible(tensor=3, what="attention", heads=16) in told
    assert ProcessorsInARow(pipeline=3) in told


def test_processors_share_a_model_over_a_fast_link() -> None:
    """A group may be tried without any card; its speed is not known."""
    rigs = [Rig(name, (Place("cpu", 12 * GIB, processor=True),)) for name in "ab"]
    found = fit("Llama-3.1-8B-Instruct", *rigs, links=(FAST,), forms="bf16")
    assert (found.tensor, found.rigs, found.pace) == (2, ("a", "b"), None)


def test_a_pipeline_has_no_more_stages_than_layers() -> None:
    """48 layers do not make 49 stages."""
    alone = planned(NEXT, Rig("a", tuple(Place(str(n), 1, compute=(8, 6)) for n in range(49))))
    assert isinstance(alone, GroupRefusal)
    assert TooManyStages(pipeline=49, layers=48) in alone.obstacles


def test_nothing_to_run_on_and_nothing_to_run() -> None:
    """No card, or no form that spans cards."""
    assert refused(NEXT, Rig("a", ())) == (NoCard(),)
    assert refused(NEXT, rig("a", SIXTEEN), forms="Q4_K_M") == (NoForm(),)


def test_a_card_alone_exchanges_nothing() -> None:
    """One rank needs no buffers for neighbours."""
    one = fit("Llama-3.1-8B-Instruct", rig("a", TWENTY_FOUR), forms="bf16")
    two = fit("Llama-3.1-8B-Instruct", rig("a", TWENTY_FOUR, TWENTY_FOUR), forms="bf16")
    assert (len(one.ranks), len(two.ranks)) == (1, 2)
    assert two.ranks[0].other - one.ranks[0].other == GIB // 4
    assert one.pace
    assert one.pace.exchange_ms == 0


SPARK = Place("GB10", 110 * GIB, 273.0, (12, 1))


@pytest.mark.parametrize(
    ("lent", "alone"),
    [
        # Avarok-Cybersecurity/dgx-vllm, README: AWQ of groups of 32 on a DGX Spark
        (Rig("a", (SPARK,)), 34.9),
        # A public log of two RTX 5090, vLLM 0.19, the same AWQ, April 2026
        (rig("a", "RTX 5090", "RTX 5090"), 189.5),
    ],
    ids=["one DGX Spark", "two RTX 5090"],
)
def test_speed_is_of_the_published_size(lent: Rig, alone: float) -> None:
    """Right to a third, of the reference model in four bits."""
    found = planned(NEXT, lent, forms="int4-experts", wish=Wish(4096, 4))
    assert isinstance(found, GroupFit)
    assert found.pace
    assert found.pace.alone == pytest.approx(alone, rel=0.34)
    # Four at a time made 610 where one made 189.5.
    assert 2 * found.pace.alone < found.pace.together < 4 * found.pace.alone


def test_a_plan_and_its_obstacles_are_told_in_json() -> None:
    """With the code of each obstacle, so that programs can tell them apart."""
    found = fit(NEXT, rig("a", SIXTEEN, SIXTEEN), rig("b", SIXTEEN, SIXTEEN))
    assert msgspec.json.decode(msgspec.json.encode(found), type=GroupFit) == found
    told = msgspec.to_builtins(found.obstacles)
    assert [each["code"] for each in told] == ["link_too_narrow"]
