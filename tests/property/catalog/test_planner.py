"""Whatever the cards: a plan keeps within them, and more room never gives less."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.catalog import KNOWN, QUANTISATIONS, Fit, Place, Wish, plan
from garage_ai.catalog.known_shapes import Known

GIB = 1 << 30
knowns = st.sampled_from(list(KNOWN.values()))
rooms = st.lists(st.integers(0, 64 * GIB), min_size=1, max_size=4)
wishes = st.builds(Wish, st.integers(128, 300_000), st.integers(1, 64), st.integers(-9, 300_000))


def planned(known: Known, given_rooms: list[int], wish: Wish) -> object:
    forms = [form for name, form in QUANTISATIONS.items() if name in known.quantisations]
    places = [Place("card", room, 900.0, (8, 6)) for room in given_rooms]
    return plan(known.shape, forms, places, wish)


@given(knowns, rooms, wishes)
def test_a_plan_keeps_within_the_cards(known: Known, given_rooms: list[int], wish: Wish) -> None:
    """No more memory, cards, context or sequences than there are or were asked for."""
    found = planned(known, given_rooms, wish)
    if not isinstance(found, Fit):
        return
    assert found.weights + found.cache + found.other <= found.room <= sum(given_rooms)
    assert 1 <= found.cards <= len(given_rooms)
    assert 1 <= found.sequences <= wish.sequences
    longest = min(wish.context, known.shape.context)
    assert min(wish.least, longest) <= found.context <= longest
    assert found.speed is not None
    assert found.speed > 0


@given(knowns, rooms, wishes, st.integers(0, 32 * GIB))
def test_more_room_is_never_worse(
    known: Known, given_rooms: list[int], wish: Wish, more: int
) -> None:
    """What fits still fits on larger cards, in as many bits."""
    found = planned(known, given_rooms, wish)
    larger = planned(known, [room + more for room in given_rooms], wish)
    if isinstance(found, Fit):
        assert isinstance(larger, Fit)
        order = list(QUANTISATIONS)
        assert order.index(larger.quantisation.name) <= order.index(found.quantisation.name)
        if larger.quantisation == found.quantisation:
            assert (larger.sequences, larger.context) >= (found.sequences, found.context)
