"""The best model for cards, before its file is here to be read."""

import pytest
from tests.parts.manifests import bare_manifest
from tests.unit.catalog.test_offload import burden

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    Demand,
    Known,
    Offload,
    Place,
    offload,
)
from garage_ai.catalog.planner import GIB, LEAST_CONTEXT, Fit, Wish, plan_on
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.node.fitting.best import best_model, least_room
from garage_ai.node.hardware.models import Gpu

FORMS = [
    (known, form)
    for known in KNOWN.values()
    for name, form in QUANTISATIONS.items()
    if form.engine == "llamacpp" and name in known.quantisations
]


def card(gibibytes: int, number: int = 1) -> Gpu:
    return Gpu(name="card", uuid=f"GPU-{number}", total=gibibytes * GIB, free=0)


@pytest.mark.parametrize(
    ("known", "form"), FORMS, ids=[f"{known.shape.name} {form.name}" for known, form in FORMS]
)
@pytest.mark.parametrize("cards", [1, 2])
def test_what_is_chosen_fits_once_it_is_read(known: Known, form: Quantisation, cards: int) -> None:
    """The planner, which knows layers and heads, asks for no more; nor for far less."""
    size = form.weights(known.shape)
    rooms = [Place("card", least_room(bare_manifest("m", size)) // cards + 1)] * cards
    found = plan_on(known.shape, form, rooms, Wish(LEAST_CONTEXT, 1))
    assert isinstance(found, Fit)
    assert found.needed > 0.75 * found.room


SAID = [(None, 8), (16_384, 2), (32_768, 8), (512, 16), (128, 64), (40_960, None)]


@pytest.mark.parametrize(
    ("known", "form"), FORMS, ids=[f"{known.shape.name} {form.name}" for known, form in FORMS]
)
@pytest.mark.parametrize("cards", [1, 2])
def test_what_the_owner_said_fits_once_it_is_read(
    known: Known, form: Quantisation, cards: int
) -> None:
    """Context and slots are kept to by the planner, so there is room for them from the start."""
    shape = known.shape
    size = form.weights(shape)
    told = bare_manifest(
        "m", size, parameters=round(known.published * 1e9), context_length=shape.context
    )
    for context, slots in SAID:
        rooms = [Place("card", least_room(told, context, slots) // cards + 1)] * cards
        demand = Demand(context, slots)
        found = offload(shape, burden(shape.name, form.name), rooms, demand)
        assert isinstance(found, Offload), (context, slots)


def test_the_owners_word_may_leave_room_for_a_smaller_one_only() -> None:
    """A context that the model was not made for is not reckoned."""
    large = bare_manifest(
        "large", 8 * GIB, rank=1, parameters=14_000_000_000, context_length=32_768
    )
    small = bare_manifest("small", 4 * GIB, parameters=7_000_000_000, context_length=8192)
    both, twelve = [large, small], [card(12)]
    assert best_model(both, twelve) == large
    assert best_model(both, twelve, context=4096, slots=1) == large
    assert best_model(both, twelve, context=16_384, slots=2) == small
    assert best_model(both, twelve, slots=8) == small
    assert least_room(small, 32_768, 2) == least_room(small, 8192, 2)


def test_the_networks_order_decides() -> None:
    """Its rank, then the parameters, then the name; never the order in which it tells."""
    models = [
        bare_manifest("a", GIB, parameters=7),
        bare_manifest("b", GIB, parameters=9),
        bare_manifest("c", GIB, rank=1),
        bare_manifest("d", GIB, rank=1),
    ]
    for told in (models, models[::-1]):
        assert best_model(told, [card(8)]) == models[3]
        assert best_model([each for each in told if not each.rank], [card(8)]) == models[1]


def test_two_cards_hold_what_one_does_not() -> None:
    """llama.cpp gives each some of the layers; without any there is nothing to choose."""
    large, small = bare_manifest("large", 18 * GIB, rank=1), bare_manifest("small", GIB)
    assert best_model([small, large], [card(12)]) == small
    assert best_model([small, large], [card(12), card(12, 2)]) == large
    assert best_model([small, large], []) is None


def test_a_model_that_the_disk_does_not_hold_is_not_chosen() -> None:
    """It would be fetched for an hour and then refused."""
    large, small = bare_manifest("large", 8 * GIB, rank=1), bare_manifest("small", GIB)
    assert best_model([small, large], [card(24)], disk=8 * GIB) == large
    assert best_model([small, large], [card(24)], disk=8 * GIB - 1) == small
    assert best_model([small, large], [card(24)], disk=0) is None
