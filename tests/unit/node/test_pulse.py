"""When a node beats."""

from garage_ai.node.pulse import SHORTEST, Pulse
from garage_ai.wire.messages import BEAT_INTERVAL


def test_beats_at_once_then_regularly() -> None:
    """The first beat is due at once, the next after the interval, give or take a tenth."""
    early, late = Pulse(lambda: 0.0), Pulse(lambda: 0.999_999)
    for pulse in (early, late):
        assert pulse.wait(100.0) == 0.0
        pulse.beaten(100.0)
    assert abs(early.wait(100.0) - BEAT_INTERVAL * 0.9) < 1e-3
    assert abs(late.wait(100.0) - BEAT_INTERVAL * 1.1) < 1e-3
    assert early.wait(106.0) == 0.0


def test_a_change_is_told_at_once_but_not_too_often() -> None:
    """A new face is due now, or a tenth of a second after the last beat."""
    pulse = Pulse(lambda: 0.5)
    pulse.look("a")
    pulse.beaten(0.0)
    assert not pulse.look("a")
    assert pulse.look("b")
    assert abs(pulse.wait(0.03) - (SHORTEST - 0.03)) < 1e-9
    assert pulse.wait(1.0) == 0.0


def test_a_change_that_went_back_is_told_all_the_same() -> None:
    """What was seen in between is not lost: gateways may have acted on it."""
    pulse = Pulse(lambda: 0.5)
    pulse.look("a")
    pulse.beaten(0.0)
    pulse.look("b")
    assert pulse.look("a")


def test_a_beat_that_is_asked_for_comes_within_its_time() -> None:
    """A gateway that has just begun to listen is told soon, but not too often."""
    pulse = Pulse(lambda: 0.5)
    pulse.look("a")
    pulse.beaten(0.0)
    pulse.hasten(1.0, 0.2)
    assert abs(pulse.wait(1.0) - 0.1) < 1e-9
    pulse.hasten(1.0, 100.0)
    assert abs(pulse.wait(1.0) - 0.1) < 1e-9
    pulse.beaten(1.1)
    pulse.hasten(1.1, 0.0)
    assert abs(pulse.wait(1.1) - SHORTEST) < 1e-9
