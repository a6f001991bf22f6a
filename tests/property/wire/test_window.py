"""The credit window: order, back-pressure and their violations."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.wire.errors import Lost, OutOfTurn, Repeated, TooManyBytes, WindowOverrun
from garage_ai.wire.frames import MAX_DATA, UNNUMBERED, Alive, Credit, Data, Packet
from garage_ai.wire.ids import AttemptId
from garage_ai.wire.window import CREDIT_EVERY, WINDOW, Receiver, Sender

A = AttemptId("a")
MB = 1 << 20
sizes = st.lists(st.integers(1, MAX_DATA), min_size=1, max_size=40)


def packets(count: int) -> list[Packet]:
    """Give packets of one byte each, in order."""
    sender = Sender(A)
    return [sender.pack(Data(bytes([n % 256]))) for n in range(count)]


@given(st.integers(2, 20), st.data())
def test_a_lost_packet_is_found(count: int, data: st.DataObject) -> None:
    """Whichever packet but the last is missing, the next one tells."""
    sent = packets(count)
    missing = data.draw(st.integers(0, count - 2))
    receiver = Receiver(MB)
    for packet in sent[:missing]:
        receiver.accept(packet)
    with pytest.raises(Lost):
        receiver.accept(sent[missing + 1])


@given(st.integers(1, 20), st.data())
def test_a_doubled_packet_is_found(count: int, data: st.DataObject) -> None:
    """Whichever packet comes again, now or later, it is refused."""
    sent = packets(count)
    receiver = Receiver(MB)
    for packet in sent:
        receiver.accept(packet)
    with pytest.raises(Repeated):
        receiver.accept(data.draw(st.sampled_from(sent)))


@given(st.permutations(range(6)))
def test_any_reordering_is_found(order: list[int]) -> None:
    """Only the right order is taken whole."""
    sent = packets(6)
    receiver = Receiver(MB)
    try:
        for index in order:
            receiver.accept(sent[index])
    except (Lost, Repeated):
        assert order != sorted(order)
    else:
        assert order == sorted(order)


@given(sizes, st.data())
def test_the_window_bounds_what_is_under_way(wanted: list[int], data: st.DataObject) -> None:
    """However receiver and sender take turns, no more than a window is ever unconsumed."""
    sender, receiver = Sender(A), Receiver(len(wanted) * MAX_DATA + 1)
    waiting, pending = deque(wanted), 0
    while waiting or pending:
        if waiting and waiting[0] <= sender.room:
            size = waiting.popleft()
            receiver.accept(sender.pack(Data(b"x" * size)))
            pending += size
            assert pending <= WINDOW
        else:
            assert pending > WINDOW - MAX_DATA - CREDIT_EVERY or not waiting
            taken = data.draw(st.integers(1, pending)) if pending else 0
            credit = receiver.consume(taken)
            pending -= taken
            if credit is not None:
                sender.credited(credit)
            elif data.draw(st.booleans()):
                # A sign of life: the credit as it stands, though it is not due.
                sender.credited(receiver.credit())
    assert receiver.consumed == sum(wanted)


def test_data_that_is_empty_is_none() -> None:
    """It would be work and a sign of life that no bound counts."""
    with pytest.raises(OutOfTurn):
        Receiver(MB).accept(Sender(A).pack(Data(b"")))


@given(st.integers(1, WINDOW))
def test_a_receiver_that_takes_everything_always_frees_its_sender(step: int) -> None:
    """With all data taken there is room for a packet again: no deadlock."""
    sender, receiver = Sender(A), Receiver(100 * MB)
    for _ in range(40):
        size = min(step, MAX_DATA, sender.room)
        receiver.accept(sender.pack(Data(b"x" * size)))
        credit = receiver.consume(size)
        if credit is not None:
            sender.credited(credit)
        assert sender.room >= MAX_DATA


@given(st.lists(st.integers(0, WINDOW), max_size=20))
def test_repeated_and_reordered_credits_are_harmless(credits_: list[int]) -> None:
    """Room never shrinks, and never exceeds a window beyond the greatest credit."""
    sender = Sender(A)
    for _ in range(4):
        sender.pack(Data(b"x" * MAX_DATA))
    room = sender.room
    for credit in credits_:
        if credit > sender.sent:
            with pytest.raises(OutOfTurn):
                sender.credited(credit)
            continue
        sender.credited(credit)
        assert sender.room >= room
        room = sender.room
        assert room <= WINDOW


def test_one_stalled_reader_delays_none_of_a_hundred_others() -> None:
    """Back-pressure belongs to one attempt: its own sender stops, the others do not."""
    senders = [Sender(AttemptId(str(n))) for n in range(101)]
    receivers = [Receiver(100 * MB) for _ in senders]
    moved = [0] * len(senders)
    for _ in range(50):
        for n, (sender, receiver) in enumerate(zip(senders, receivers, strict=True)):
            if sender.room < MAX_DATA:
                continue
            receiver.accept(sender.pack(Data(b"x" * MAX_DATA)))
            moved[n] += 1
            if n == 0:
                continue  # this client takes nothing
            credit = receiver.consume(MAX_DATA)
            if credit is not None:
                sender.credited(credit)
    assert moved[0] == WINDOW // MAX_DATA
    assert moved[1:] == [50] * 100


def test_more_than_the_credit_is_an_overrun() -> None:
    """A sender that ignores the window is caught by the receiver."""
    receiver = Receiver(100 * MB)
    for seq in range(4):
        receiver.accept(Packet(A, seq, (Data(b"x" * MAX_DATA),)))
    with pytest.raises(WindowOverrun):
        receiver.accept(Packet(A, 4, (Data(b"x" * MAX_DATA),)))


def test_more_than_the_whole_may_hold_is_too_much() -> None:
    """The total is bounded, whatever the credit."""
    receiver = Receiver(10)
    with pytest.raises(TooManyBytes):
        receiver.accept(Packet(A, 0, (Data(b"x" * 11),)))


def test_data_needs_a_number_but_credit_does_not() -> None:
    """Only what is harmless when repeated may stand outside the order."""
    receiver = Receiver(10)
    assert receiver.accept(Packet(A, UNNUMBERED, (Credit(0), Alive()))) == (Credit(0), Alive())
    with pytest.raises(OutOfTurn):
        receiver.accept(Packet(A, UNNUMBERED, (Data(b"x"),)))


def test_a_sender_refuses_to_overrun_itself() -> None:
    """Packing more than there is room for is an error here, not at the peer."""
    sender = Sender(A)
    with pytest.raises(WindowOverrun):
        sender.pack(Data(b"x" * (MAX_DATA + 1)))


def test_taking_more_than_came_is_an_error() -> None:
    """Consumption cannot exceed what was received."""
    receiver = Receiver(10)
    receiver.accept(Packet(A, 0, (Data(b"xy"),)))
    with pytest.raises(OutOfTurn):
        receiver.consume(3)
