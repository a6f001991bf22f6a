"""The waiting room between members: fair by weight, and nobody waits for ever."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.network.errors import NoCapacity
from garage_ai.network.waiting import HEAVIEST, LIGHTEST, Turn, WaitingRoom

MODEL = "m"
WEIGHTS = st.floats(0, 1e9)
Ticket = tuple[str, int]


def serve_one(room: WaitingRoom[Ticket]) -> Ticket | None:
    served: list[Ticket] = []

    def offer(ticket: Ticket) -> bool:
        if not served:
            served.append(ticket)
            return True
        return False

    room.serve(MODEL, offer)
    return served[0] if served else None


@given(
    own=st.integers(0, 5),
    weight=WEIGHTS,
    present=st.lists(st.tuples(st.sampled_from("abcdef"), WEIGHTS), max_size=20),
    served=st.integers(0, 20),
    arrivals=st.lists(
        st.lists(st.tuples(st.sampled_from("abcdefghijk"), WEIGHTS), max_size=3),
        min_size=1,
        max_size=12,
    ),
)
def test_every_request_is_served_within_a_bound(
    own: int,
    weight: float,
    present: list[tuple[str, float]],
    served: int,
    arrivals: list[list[tuple[str, float]]],
) -> None:
    """However heavy those are that come later, and however many: each gets its turn.

    With a room of `size` and k requests of its own before it, after at most
    (k + 1) · HEAVIEST / LIGHTEST · (size + 1) others.
    """
    size = 32
    room: WaitingRoom[Ticket] = WaitingRoom(size)
    for number, (member, theirs) in enumerate(present):
        room.enter(MODEL, (member, number), member=member, weight=theirs)
    for _ in range(min(served, len(present))):
        serve_one(room)
    for number in range(own + 1):
        room.enter(MODEL, ("me", number), member="me", weight=weight)
    bound = (own + 1) * HEAVIEST / LIGHTEST * (size + 1)
    count = turn = 0
    while (ticket := serve_one(room)) != ("me", own):
        assert ticket is not None
        count += 1
        assert count <= bound
        for member, theirs in arrivals[turn % len(arrivals)]:
            if len(room) < size:
                room.enter(MODEL, (member, count), member=member, weight=theirs)
        turn += 1


@given(st.integers(1, 20), st.integers(0, 20))
def test_who_found_its_slot_taken_stands_where_it_stood(before: int, later: int) -> None:
    """It goes before those who came after it, whoever has waited or come meanwhile."""
    room: WaitingRoom[Ticket] = WaitingRoom(64)
    turn = Turn(0.0)
    for number in range(before):
        room.enter(MODEL, ("other", number), member="other")
    for number in range(before - 1):
        assert serve_one(room) == ("other", number)
    room.enter(MODEL, ("me", 0), member="me", turn=turn)
    for number in range(later):
        room.enter(MODEL, ("late", number), member=f"late{number}")
    assert {serve_one(room), serve_one(room)} == {("other", before - 1), ("me", 0)}
    room.enter(MODEL, ("me", 0), member="me", turn=turn)
    room.enter(MODEL, ("late", later), member="latest")
    assert serve_one(room) == ("me", 0)
    # A line that ended and began anew counts from nothing.
    while serve_one(room) is not None:
        pass
    room.enter(MODEL, ("new", 0), member="new")
    room.enter(MODEL, ("me", 0), member="me", turn=turn)
    room.enter(MODEL, ("new", 1), member="new")
    assert [serve_one(room) for _ in range(3)] == [("me", 0), ("new", 0), ("new", 1)]


@given(st.integers(1, 200), st.floats(1, 8))
def test_a_crowd_does_not_shut_one_out(crowd: int, weight: float) -> None:
    """Whoever has a single request is served in turn with one who has two hundred."""
    room: WaitingRoom[Ticket] = WaitingRoom(256)
    for number in range(crowd):
        room.enter(MODEL, ("many", number), member="many", weight=weight)
    room.enter(MODEL, ("one", 0), member="one", weight=weight)
    order = [serve_one(room) for _ in range(2)]
    assert ("one", 0) in order


@given(st.integers(1, 8), st.integers(1, 8))
def test_twice_the_weight_is_twice_the_turns(light: int, heavy: int) -> None:
    """Of two who always wait, each gets turns by its weight, to within one step of each."""
    room: WaitingRoom[Ticket] = WaitingRoom(400)
    for number in range(160):
        room.enter(MODEL, ("a", number), member="a", weight=light)
        room.enter(MODEL, ("b", number), member="b", weight=heavy)
    turns = 90
    to_a = sum(ticket is not None and ticket[0] == "a" for ticket in map(serve_one, [room] * turns))
    assert abs(to_a - turns * light / (light + heavy)) <= 1 + HEAVIEST


@given(st.floats(1, 8), st.integers(2, 8))
def test_cutting_an_account_up_wins_no_turns(weight: float, accounts: int) -> None:
    """Accounts that share a standing get together what the one would have had."""
    room: WaitingRoom[Ticket] = WaitingRoom(1000)
    each = max(LIGHTEST, weight / accounts)
    for number in range(100):
        room.enter(MODEL, ("other", number), member="other", weight=weight)
        for account in range(accounts):
            name = f"part{account}"
            room.enter(MODEL, (name, number), member=name, weight=each)
    turns = 60
    won = sum(ticket is not None and ticket[0] != "other" for ticket in map(serve_one, [room] * 60))
    share = each * accounts / (each * accounts + weight)
    assert won <= turns * share + 1 + 2 * HEAVIEST


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 12))
def test_a_full_room_is_shared(entries: list[str], size: int) -> None:
    """The newest request of who has most makes place for one who has fewer; none is counted twice.

    Nobody is refused who holds fewer than its even part of the room.
    """
    pushed: list[Ticket] = []
    room: WaitingRoom[Ticket] = WaitingRoom(size, pushed.append)
    inside: dict[str, list[int]] = {member: [] for member in "abc"}
    for number, member in enumerate(entries):
        before = len(pushed)
        try:
            room.enter(MODEL, (member, number), member=member)
        except NoCapacity:
            most = max(map(len, inside.values()))
            assert sum(map(len, inside.values())) == size
            assert len(inside[member]) + 1 >= most
            continue
        inside[member].append(number)
        for loser, lost in pushed[before:]:
            assert inside[loser].pop() == lost
        assert len(room) == sum(map(len, inside.values())) <= size


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=40))
def test_what_is_under_way_goes_first(entries: list[tuple[str, bool]]) -> None:
    """Answers that lost their node come before everything, the newest of them at the head."""
    room: WaitingRoom[Ticket] = WaitingRoom(64)
    for number, (member, first) in enumerate(entries):
        room.enter(MODEL, (member, number), member=member, first=first)
    order = [serve_one(room) for _ in entries]
    firsts = [(m, n) for n, (m, first) in enumerate(entries) if first]
    assert order[: len(firsts)] == firsts[::-1]
    assert len(room) == 0
    assert not room.waits(MODEL)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["in", "out", "up"])),
        max_size=60,
    )
)
def test_those_whom_it_does_not_suit_keep_nobody_back(moves: list[tuple[str, int, str]]) -> None:
    """Any mix of coming, going and being served out of turn leaves the count right."""
    room: WaitingRoom[Ticket] = WaitingRoom(100)
    inside: dict[int, Ticket] = {}
    for count, (member, kind, what) in enumerate(moves):
        if what == "in":
            number = room.enter(MODEL, (member, count), member=member, weight=kind)
            inside[number] = (member, count)
        elif what == "out" and inside:
            number = sorted(inside)[kind % len(inside)]
            room.leave(MODEL, number)
            room.leave(MODEL, number)
            del inside[number]
        else:
            wanted = {ticket for ticket in inside.values() if ticket[0] == member}
            room.serve(MODEL, wanted.__contains__)
            inside = {number: each for number, each in inside.items() if each not in wanted}
        assert len(room) == len(inside)
        assert room.waits(MODEL) == bool(inside)
