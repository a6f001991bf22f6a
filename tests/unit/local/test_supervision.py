"""The machine that decides when a child is started, restarted and ended."""

import pytest

from garage_ai.local.supervision import (
    Begin,
    Due,
    Exited,
    InvalidTransition,
    Kill,
    Policy,
    Ready,
    Report,
    Spawn,
    Stop,
    Supervision,
    Terminate,
    Unanswered,
    Wait,
    backoff,
)

POLICY = Policy(
    first_delay=1.0, max_delay=8.0, good_after=20.0, start_limit=60.0, stop_limit=5.0, worry_after=3
)


def begun() -> Supervision:
    machine = Supervision(POLICY)
    machine.handle(Begin())
    return machine


def test_it_starts_the_child_and_gives_it_time_to_get_ready() -> None:
    """Begin starts the child under the start limit."""
    machine = Supervision(POLICY)
    assert machine.handle(Begin()) == (Spawn(), Wait(60.0))
    assert machine.state == "starting"


def test_ready_ends_the_start_limit() -> None:
    """A child that is ready is not killed by the start limit."""
    machine = begun()
    assert machine.handle(Ready(1.0)) == (Wait(None),)
    assert machine.state == "ready"
    assert machine.handle(Due()) == ()


def test_a_child_that_ends_by_itself_is_started_again_after_a_pause() -> None:
    """An unasked end is reported, waited out and followed by a new start."""
    machine = begun()
    machine.handle(Ready(1.0))
    assert machine.handle(Exited(2.0, -9, draw=1.0)) == (Report(-9, 1, 1.0, False), Wait(1.0))
    assert machine.state == "backoff"
    assert machine.handle(Due()) == (Spawn(), Wait(60.0))


def test_failures_in_a_row_wait_longer_and_are_worried_about() -> None:
    """The third end in a row says that this has gone on for long."""
    machine = begun()
    reports = []
    for at in range(3):
        reports.append(machine.handle(Exited(float(at), 1, draw=1.0))[0])
        machine.handle(Due())
    assert reports == [
        Report(1, 1, 1.0, False),
        Report(1, 2, 2.0, False),
        Report(1, 3, 4.0, True),
    ]


def test_a_good_period_makes_a_clean_slate() -> None:
    """A child that was ready for long counts its failures from one again."""
    machine = begun()
    machine.handle(Exited(0.0, 1, draw=0.0))
    machine.handle(Due())
    machine.handle(Ready(10.0))
    report = machine.handle(Exited(30.0, 1, draw=1.0))[0]
    assert report == Report(1, 1, 1.0, False)


def test_a_short_life_keeps_the_count() -> None:
    """A child that was ready only briefly has failed again."""
    machine = begun()
    machine.handle(Exited(0.0, 1, draw=0.0))
    machine.handle(Due())
    machine.handle(Ready(10.0))
    report = machine.handle(Exited(29.9, 1, draw=1.0))[0]
    assert report == Report(1, 2, 2.0, False)


def test_a_child_that_never_gets_ready_is_killed() -> None:
    """The start limit kills; the exit that follows counts as a failure."""
    machine = begun()
    assert machine.handle(Due()) == (Kill(), Wait(None))
    assert isinstance(machine.handle(Exited(60.0, -9, draw=0.5))[0], Report)


def test_a_ready_child_that_does_not_answer_again_and_again_is_killed() -> None:
    """One answer in between begins the count anew; the end is then an end like others."""
    machine = Supervision(Policy(hung_after=3))
    machine.handle(Begin())
    machine.handle(Ready(1.0))
    for event in (Unanswered(), Unanswered(), Ready(2.0), Unanswered(), Unanswered()):
        assert machine.handle(event) == ()
    assert machine.handle(Unanswered()) == (Kill(),)
    report, _ = machine.handle(Exited(3.0, -9, draw=1.0))
    assert isinstance(report, Report)
    assert machine.state == "backoff"


def test_a_child_that_is_being_stopped_is_not_hurried_by_silence() -> None:
    """Who drains need not answer; the limit of the stop is what ends it."""
    machine = Supervision(Policy(hung_after=1))
    machine.handle(Begin())
    machine.handle(Ready(1.0))
    machine.handle(Stop(5.0))
    assert machine.handle(Unanswered()) == ()


def test_silence_is_of_no_interest_unless_asked_about() -> None:
    """Without `hung_after` nobody is killed for it."""
    machine = begun()
    machine.handle(Ready(1.0))
    assert all(machine.handle(Unanswered()) == () for _ in range(100))


def test_stop_asks_first_and_kills_after_the_limit() -> None:
    """Stopping is SIGTERM, then SIGKILL when its time is up."""
    machine = begun()
    assert machine.handle(Stop()) == (Terminate(), Wait(5.0))
    assert machine.handle(Due()) == (Kill(), Wait(None))
    assert machine.handle(Exited(9.0, -9, draw=0.5)) == (Wait(None),)
    assert machine.state == "stopped"


def test_stop_takes_its_own_limit() -> None:
    """A drain gets the time that is left."""
    assert begun().handle(Stop(27.0)) == (Terminate(), Wait(27.0))


def test_stop_between_two_starts_is_immediate() -> None:
    """With no child running there is nothing to wait for."""
    machine = begun()
    machine.handle(Exited(1.0, 1, draw=0.5))
    assert machine.handle(Stop()) == (Wait(None),)
    assert machine.state == "stopped"


def test_ready_while_stopping_is_of_no_interest() -> None:
    """A late word of a child being stopped changes nothing."""
    machine = begun()
    machine.handle(Stop())
    assert machine.handle(Ready(1.0)) == ()
    assert machine.state == "stopping"


def test_an_impossible_event_tells_its_story() -> None:
    """An exit without a child is a bug and says in which state it came."""
    machine = Supervision(POLICY)
    with pytest.raises(InvalidTransition, match=r"Exited.*stopped"):
        machine.handle(Exited(0.0, 0, draw=0.0))


def test_backoff_is_half_chance() -> None:
    """Restarts of many children are spread."""
    assert backoff(POLICY, 1, 0.0) == 0.5
    assert backoff(POLICY, 1, 1.0) == 1.0
    assert backoff(POLICY, 99, 1.0) == 8.0
