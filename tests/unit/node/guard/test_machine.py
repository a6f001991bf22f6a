"""The guard's machine, step by step."""

import pytest

from garage_ai.node.guard.machine import Machine
from garage_ai.node.guard.signals import (
    BLIND_SECONDS,
    ORDER,
    RULES,
    STALE_SECONDS,
    TOLD,
    Reading,
    SignalName,
    Verdict,
)
from garage_ai.node.guard.words import SIGNALS, Sentence, sentence

WHY = Sentence("a game is running", "ett spel körs")


def machine(*, drain: float = 20.0, resume_after: float = 20.0) -> Machine:
    made = Machine()
    made.drain, made.resume_after = drain, resume_after
    return made


def say(
    to: Machine, signal: SignalName, verdict: Verdict, at: float, *, urgent: bool = False
) -> None:
    to.take(Reading(signal, verdict, at, WHY if verdict != "free" else Sentence(), urgent))


def test_every_signal_has_a_rule_and_a_name() -> None:
    """The tables cover each other."""
    assert set(RULES) == set(ORDER) == set(SIGNALS) == set(TOLD)


def test_serves_as_long_as_nothing_is_said() -> None:
    """Nothing known, nothing to do."""
    assert machine().decide(0.0, working=False).action == "serve"


def test_a_game_frees_the_memory_at_once() -> None:
    """Whatever runs is given back."""
    guard = machine()
    say(guard, "game", "busy", 1.0)
    decision = guard.decide(1.0, working=True)
    assert (decision.action, decision.reason, decision.signal) == ("release", WHY, "game")


def test_a_drain_waits_for_what_runs() -> None:
    """It ends with its time, or when nothing runs any more."""
    for working, actions in ((True, ["drain", "drain", "release"]), (False, ["release"] * 3)):
        guard = machine(drain=10.0)
        say(guard, "schedule", "busy", 0.0)
        assert [guard.decide(at, working=working).action for at in (0.0, 9.9, 10.0)] == actions


def test_a_drain_that_is_called_off_goes_back_to_serving() -> None:
    """The engine was never stopped."""
    guard = machine()
    say(guard, "schedule", "busy", 0.0)
    assert guard.decide(0.0, working=True).action == "drain"
    say(guard, "schedule", "free", 5.0)
    assert guard.decide(5.0, working=True).action == "resume"
    assert guard.decide(5.5, working=True).action == "serve"


def test_a_metered_line_keeps_the_engine() -> None:
    """Only new work is refused, however long it lasts."""
    guard = machine()
    for at in (0.0, 100.0, 200.0):
        say(guard, "metered", "busy", at)
        assert guard.decide(at, working=False).action == "no_new_work"


def test_an_urgent_pause_frees_at_once() -> None:
    """`pause --now` waits for nobody."""
    guard = machine()
    say(guard, "owner", "busy", 0.0, urgent=True)
    assert guard.decide(0.0, working=True).action == "release"


def test_a_passing_use_of_the_card_is_not_believed() -> None:
    """It must hold for two seconds."""
    guard = machine()
    say(guard, "gpu", "busy", 0.0)
    assert guard.decide(1.9, working=True).action == "serve"
    say(guard, "gpu", "free", 1.95)
    say(guard, "gpu", "busy", 3.0)
    assert guard.decide(4.9, working=True).action == "serve"
    assert guard.decide(5.0, working=True).action == "release"


def test_the_first_look_is_believed_at_once() -> None:
    """A game that runs already is not made to wait for a model to be loaded and dropped again."""
    guard = machine()
    say(guard, "gpu", "busy", 0.0)
    say(guard, "cpu", "unknown", 0.0)
    guard.believe()
    decision = guard.decide(0.0, working=False)
    assert (decision.action, decision.signal) == ("release", "gpu")
    say(guard, "gpu", "free", 1.0)
    assert guard.decide(1.0, working=False).action == "release"
    assert guard.decide(21.0, working=False).action == "release"  # the processor, still not known
    say(guard, "cpu", "free", 21.0)
    assert guard.decide(41.0, working=False).action == "resume"


def test_waits_until_it_is_over_for_sure() -> None:
    """A game that comes back within the time finds the PC free still."""
    guard = machine(resume_after=20.0)
    say(guard, "game", "busy", 0.0)
    guard.decide(0.0, working=False)
    say(guard, "game", "free", 10.0)
    waiting = guard.decide(29.9, working=False)
    assert waiting.action == "release"
    assert waiting.reason == sentence("over", seconds=20.0, why=SIGNALS["game"])
    say(guard, "game", "busy", 29.95)
    assert guard.decide(40.0, working=False).reason == WHY
    say(guard, "game", "free", 50.0)
    assert guard.decide(70.0, working=False).action == "resume"


def test_the_owner_need_not_wait() -> None:
    """`gai node resume` works at once."""
    guard = machine()
    say(guard, "owner", "busy", 0.0)
    guard.decide(0.0, working=False)
    say(guard, "owner", "free", 1.0)
    assert guard.decide(1.0, working=False).action == "resume"


def test_the_loudest_speaks() -> None:
    """The stronger one gives the reason; among equals the first in the order."""
    guard = machine()
    say(guard, "metered", "busy", 0.0)
    say(guard, "schedule", "busy", 0.0)
    assert guard.decide(0.0, working=True).signal == "schedule"
    say(guard, "owner", "busy", 0.0)
    assert guard.decide(0.0, working=True).signal == "owner"
    say(guard, "gamemode", "busy", 1.0)
    assert guard.decide(1.0, working=True).signal == "gamemode"


@pytest.mark.parametrize("signal", ORDER)
def test_what_cannot_be_read_is_never_called_free(signal: SignalName) -> None:
    """One that fails closed keeps the node from serving, with the blindness as the reason."""
    guard = machine()
    say(guard, signal, "unknown", 0.0)
    guard.decide(0.0, working=False)
    say(guard, signal, "unknown", 60.0)
    decision = guard.decide(60.0, working=False)
    if RULES[signal].fails_closed:
        assert decision.reason == sentence("blind", signal=SIGNALS[signal], why=WHY)
    else:
        assert decision.action == "serve"


def blind_in_a_game() -> Machine:
    """Give one that a game on the card holds, of which from second 10 on nothing is known."""
    guard = machine(resume_after=20.0)
    say(guard, "gpu", "busy", 0.0)
    assert guard.decide(2.0, working=False).action == "release"
    say(guard, "gpu", "unknown", 10.0)
    return guard


def test_a_game_of_which_nothing_is_known_any_more_is_not_over() -> None:
    """A driver that hangs under it brings no model back; only the word that it is free does."""
    guard = blind_in_a_game()
    for at in (30.0, 600.0, BLIND_SECONDS - 1):
        say(guard, "gpu", "unknown", at)
        decision = guard.decide(at, working=False)
        assert decision.action == "release"
        assert decision.reason == sentence("unsure", signal=SIGNALS["gpu"], why=WHY)
    say(guard, "gpu", "free", 1900.0)
    assert guard.decide(1919.0, working=False).action == "release"
    assert guard.decide(1920.0, working=False).action == "resume"


def test_a_signal_that_is_gone_for_good_does_not_hold_for_ever() -> None:
    """Half an hour after its last word it is over, with the time that all must be quiet."""
    guard = blind_in_a_game()
    say(guard, "gpu", "unknown", BLIND_SECONDS)
    assert guard.decide(BLIND_SECONDS, working=False).action == "release"
    assert guard.decide(BLIND_SECONDS + 20, working=False).action == "resume"


def test_a_reader_that_falls_silent_in_a_game_goes_on_holding() -> None:
    """Its old word that a game runs is the last that is known."""
    guard = machine()
    say(guard, "gamemode", "busy", 0.0)
    guard.decide(0.0, working=False)
    decision = guard.decide(STALE_SECONDS + 100, working=False)
    why = sentence("stale", seconds=STALE_SECONDS)
    assert decision.action == "release"
    assert decision.reason == sentence("unsure", signal=SIGNALS["gamemode"], why=why)


def test_the_owner_ends_a_hold_of_which_nothing_is_known() -> None:
    """`gai node resume` is his word that the game is over; what is busy or was asked for stays."""
    guard = blind_in_a_game()
    guard.trust(11.0)
    assert guard.decide(11.0, working=False).action == "resume"
    for signal, verdict in (("game", "busy"), ("game", "unknown"), ("gpu", "busy")):
        guard = machine()
        say(guard, signal, verdict, 0.0)  # type: ignore[arg-type]
        guard.decide(2.0, working=False)
        guard.trust(2.0)
        assert guard.decide(2.0, working=False).action == "release"


def test_a_reader_that_fell_silent_is_not_believed() -> None:
    """An old word that all is well counts as no word."""
    guard = machine()
    say(guard, "price", "free", 0.0)
    assert guard.decide(STALE_SECONDS, working=False).action == "serve"
    assert guard.decide(STALE_SECONDS + 1, working=False).action == "release"


def test_a_signal_nobody_wants_any_more_is_forgotten() -> None:
    """A limit taken away no longer holds the node back."""
    guard = machine()
    say(guard, "game", "busy", 0.0)
    guard.decide(0.0, working=False)
    guard.forget("game")
    assert guard.decide(1.0, working=False).action == "resume"
