"""Turns of batches: fair by weight, nobody waits for ever, the earlier deadline first."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.batch.worker.turns import HEAVIEST, LIGHTEST, Turns, Waiting

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANY = 10_000


def waiting(
    batch: str, member: str, weight: float = 1, items: int = MANY, hours: int = 24
) -> Waiting:
    return Waiting(batch, member, weight, NOON + timedelta(hours=hours), items)


batches = st.lists(
    st.builds(
        waiting,
        batch=st.uuids().map(str),
        member=st.sampled_from("abcd"),
        weight=st.floats(0, 1e6),
        items=st.integers(0, 30),
        hours=st.integers(1, 24),
    ),
    max_size=12,
    unique_by=lambda each: each.batch,
)


@given(batches, st.integers(0, 100))
def test_room_is_given_away_as_far_as_there_are_items(found: list[Waiting], room: int) -> None:
    """Never more than a batch has, and nothing stays empty that somebody could fill."""
    shares = Turns().share(room, found)
    items = {each.batch: each.items for each in found}
    assert all(0 < share <= items[batch] for batch, share in shares.items())
    assert sum(shares.values()) == min(room, sum(items.values()))


@given(batches, st.integers(0, 100))
def test_within_a_member_the_earlier_deadline_goes_first(found: list[Waiting], room: int) -> None:
    """No batch gets an item while an earlier one of the same member has some left."""
    shares = Turns().share(room, found)
    for one in found:
        for other in found:
            if one.member == other.member and one.deadline < other.deadline:
                assert not shares.get(other.batch) or shares.get(one.batch, 0) == one.items


@given(st.floats(0.5, 8), st.floats(0.5, 8), st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_twice_the_weight_is_twice_the_turns(one: float, two: float, rooms: list[int]) -> None:
    """Whatever the room of each round, together they are shared by weight, to within a step."""
    turns, got = Turns(), 0
    for room in rooms:
        shares = turns.share(room, [waiting("x", "a", one), waiting("y", "b", two)])
        got += shares.get("x", 0)
    assert abs(got - sum(rooms) * one / (one + two)) <= 1 + HEAVIEST / LIGHTEST


@given(
    st.integers(1, 20),
    st.lists(st.lists(st.tuples(st.sampled_from("bcdefg"), st.floats(0, 1e6)), max_size=6)),
)
def test_nobody_waits_for_ever(room: int, rounds: list[list[tuple[str, float]]]) -> None:
    """Whoever has an item is served within a bound, however many and heavy the others are."""
    turns, others = Turns(), 6
    bound = others * HEAVIEST / LIGHTEST + others + 1
    given_away = 0
    for crowd in [*rounds, *[[(name, 1e6) for name in "bcdefg"]] * int(bound / room + 2)]:
        found = [waiting(f"{name}{n}", name, weight) for n, (name, weight) in enumerate(crowd)]
        shares = turns.share(room, [waiting("mine", "a", 0, items=1), *found])
        if "mine" in shares:
            break
        given_away += sum(shares.values())
        assert given_away <= bound
    else:
        raise AssertionError("never served")


@given(st.integers(1, 500))
def test_who_comes_late_has_saved_nothing(before: int) -> None:
    """A member that was away shares from now on, and does not get what it has not asked for."""
    turns = Turns()
    turns.share(before, [waiting("x", "a")])
    shares = turns.share(20, [waiting("x", "a"), waiting("y", "b")])
    assert abs(shares["x"] - shares["y"]) <= 1
