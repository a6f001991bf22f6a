"""The planner: what fits, what is given up first, and what is refused in words."""

import pytest

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    Fit,
    Place,
    Refusal,
    Wish,
    find_card,
    known_cards,
    plan,
)
from garage_ai.catalog.cards import CARDS, REFERENCE
from garage_ai.catalog.planner import LEAST_CONTEXT

GIB = 1 << 30


def place(name: str) -> Place:
    card = find_card(name)
    assert card is not None
    return Place(card.name, card.memory * GIB - RESERVE, card.bandwidth, card.compute)


def planned(model: str, *cards: Place, forms: str = "", wish: Wish = Wish()) -> Fit | Refusal:  # noqa: B008
    known = KNOWN[model]
    names = forms.split() or known.quantisations
    chosen = [form for name, form in QUANTISATIONS.items() if name in names]
    return plan(known.shape, chosen, cards, wish)


def fit(model: str, *cards: Place, forms: str = "", wish: Wish = Wish()) -> Fit:  # noqa: B008
    found = planned(model, *cards, forms=forms, wish=wish)
    assert isinstance(found, Fit), found
    return found


def refusal(model: str, *cards: Place, forms: str = "") -> Refusal:
    found = planned(model, *cards, forms=forms)
    assert isinstance(found, Refusal), found
    return found


def test_eight_gibibytes_hold_a_seven_billion_model_in_four_bits() -> None:
    """What owners of an RTX 3070 run in practice."""
    found = fit("Qwen2.5-7B-Instruct", place("RTX 3070"))
    assert found.quantisation.name in ("Q4_K_M", "int4")
    assert found.context >= LEAST_CONTEXT


def test_the_reference_card_holds_a_32b_in_four_bits_and_no_more() -> None:
    """24 GiB: Q4_K_M of 20 GB with a short context; in eight bits it is refused."""
    found = fit("Qwen2.5-32B-Instruct", place("RTX 3090"))
    assert found.quantisation.name == "Q4_K_M"
    missed = refusal("Qwen2.5-32B-Instruct", place("RTX 3090"), forms="Q8_0")
    assert (missed.reason, missed.quantisation) == ("too_large", "Q8_0")
    assert missed.needed > missed.room == 23 * GIB


def test_eighty_billions_need_three_cards_of_the_reference() -> None:
    """Qwen3-Next in four bits: 45 GiB of weights are too much for two 3090, three hold them."""
    model, card = "Qwen3-Next-80B-A3B-Instruct", place("RTX 3090")
    for form in ("bf16", "fp8", "int4-experts", "Q4_K_M"):
        found = refusal(model, card, card, forms=form)
        assert (found.reason, found.quantisation) == ("too_large", form)
    assert fit(model, card, card, card).cards == 3


def test_context_is_given_up_before_sequences_and_those_before_bits() -> None:
    """One card, less and less room: first the context halves, then the sequences, then the bits."""
    model, wish = "Llama-3.1-8B-Instruct", Wish(context=16_384, sequences=8)
    seen = []
    for gibibytes in (40, 28, 24, 20, 19, 18, 16, 12, 8, 6):
        room = Place("a card", gibibytes * GIB, compute=(8, 6))
        found = fit(model, room, forms="bf16 Q4_K_M", wish=wish)
        seen.append((found.quantisation.name, found.sequences, found.context))
    assert seen[0] == ("bf16", 8, 16_384)
    order = {"bf16": 1, "Q4_K_M": 0}
    whole = [each for each in seen if each[0] == "bf16"]
    assert whole == sorted(whole, key=lambda each: (each[1], each[2]), reverse=True)
    assert [order[each[0]] for each in seen] == sorted(
        (order[each[0]] for each in seen), reverse=True
    )
    assert all(context == LEAST_CONTEXT for _, sequences, context in seen if sequences < 8)
    assert {sequences for _, sequences, _ in whole} > {8}


def test_heads_must_divide_among_cards() -> None:
    """40 heads go on two cards and not on three, where the third stays out of it."""
    three = [place("RTX 3090")] * 3
    assert fit("Qwen2.5-14B-Instruct", *three, forms="bf16").cards == 2


def test_llamacpp_takes_any_number_of_unequal_cards() -> None:
    """It gives each card some of the layers."""
    cards = place("RTX 3060"), place("RTX 3060"), place("RTX 3070")
    found = fit("Qwen2.5-32B-Instruct", *cards, forms="Q4_K_M")
    assert (found.cards, found.room) == (3, (11 + 11 + 7) * GIB)


def test_the_smallest_card_decides_where_layers_are_cut() -> None:
    """vLLM's parts are equal: a small second card is worse than none."""
    found = fit("Llama-3.1-8B-Instruct", place("RTX 3090"), place("RTX 3070"), forms="bf16")
    assert (found.cards, found.room) == (1, 23 * GIB)


def test_old_cards_get_what_they_can_run() -> None:
    """Turing has no bf16; llama.cpp runs on it, and gpt-oss in its one form does not."""
    turing = Place("RTX 2080 Ti", 22 * GIB, 616.0, (7, 5))
    assert fit("Llama-3.1-8B-Instruct", turing).quantisation.name == "Q8_0"
    assert refusal("gpt-oss-20b", turing).reason == "too_old"


def test_without_a_card_the_processor_runs_llamacpp_alone() -> None:
    """What no form of llama.cpp exists for is refused for want of a card."""
    memory = Place("", 30 * GIB, processor=True)
    found = fit("Llama-3.1-8B-Instruct", memory)
    assert (found.quantisation.engine, found.cards, found.speed) == ("llamacpp", 0, None)
    assert refusal("gpt-oss-20b", memory).reason == "no_card"
    assert refusal("gpt-oss-20b").reason == "no_card"


def test_a_model_in_no_known_form_is_refused() -> None:
    """Nothing to try is not a fit."""
    assert not isinstance(planned("gpt-oss-20b", place("RTX 3090"), forms="none"), Fit)
    assert plan(KNOWN["gpt-oss-20b"].shape, [], [place("RTX 3090")]) == Refusal("no_form", "", 0, 0)


def test_a_context_is_never_longer_than_trained() -> None:
    """Asking for more than a model knows gives what it knows."""
    found = fit("Mistral-7B-Instruct-v0.3", place("RTX 5090"), wish=Wish(10**6, 1))
    assert found.context == 32_768


@pytest.mark.parametrize(
    ("model", "form", "card", "published"),
    [
        # llama.cpp pull request 4766: Llama 7B F16, of Mistral 7B's size, tg128
        ("Mistral-7B-Instruct-v0.3", "bf16", "RTX 3090", 48.5),
        # dmatora/LLM-inference-speed-benchmarks issue 10 has Q6_K at 93: between these two
        ("Llama-3.1-8B-Instruct", "Q8_0", "RTX 4090", 75.0),
        # calebcoffie.com/benchmarks: a 30B with 3B active, 109.6 to 134.2
        ("Qwen3-30B-A3B", "Q4_K_M", "RTX 3090", 120.0),
    ],
)
def test_speed_is_of_the_published_size(model: str, form: str, card: str, published: float) -> None:
    """An estimate, right to about a third."""
    found = fit(model, place(card), forms=form, wish=Wish(4096, 1))
    assert found.speed == pytest.approx(published, rel=0.35)


@pytest.mark.parametrize(
    ("name", "memory", "found"),
    [
        ("NVIDIA GeForce RTX 3090", 25_769_803_776, "RTX 3090"),
        ("rtx 3060", None, "RTX 3060"),
        ("4090", None, "RTX 4090"),
        ("NVIDIA GeForce RTX 4080 SUPER", 16_376 << 20, "RTX 4080 SUPER"),
        ("NVIDIA GeForce RTX 3060", 8 * GIB, None),
        ("NVIDIA GeForce RTX 3090 Laptop GPU", None, None),
        ("NVIDIA H100", None, None),
    ],
)
def test_finds_a_card_by_its_drivers_name(name: str, memory: int | None, found: str | None) -> None:
    """A card of another size, or for laptops, is another card, and not known."""
    card = find_card(name, memory)
    assert (card and card.name) == found


def test_twins_are_told_apart_by_their_memory() -> None:
    """The RTX 4060 Ti comes with 8 and with 16 GB; unsaid, the larger one is meant."""
    for name, memory, size in [
        ("RTX 4060 Ti 8GB", None, 8),
        ("RTX 4060 Ti 16 GiB", None, 16),
        ("RTX 4060 Ti", 8188 << 20, 8),
        ("RTX 4060 Ti", None, 16),
    ]:
        card = find_card(name, memory)
        assert card is not None
        assert card.memory == size


def test_the_reference_card_is_one() -> None:
    """Every factor is relative to it, and every card is in the list once."""
    assert REFERENCE.factor == 1.0
    assert REFERENCE in CARDS
    assert len({(card.name, card.memory) for card in CARDS}) == len(CARDS)
    assert len(known_cards()) == len({card.name for card in CARDS})
