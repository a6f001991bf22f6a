"""Whole days of an owner's life go past the guard's machine."""

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.node.guard.machine import Decision, Machine
from garage_ai.node.guard.signals import LEVELS, ORDER, RULES, Reading, SignalName
from garage_ai.node.guard.words import Sentence

STEP = 0.5
EVERY = 2.0
WHY = Sentence("because", "därför")


@dataclass(frozen=True)
class Stretch:
    """For so many seconds these signals say so."""

    seconds: float
    busy: frozenset[SignalName]
    unknown: frozenset[SignalName]
    urgent: bool
    working: bool


@dataclass(frozen=True)
class Moment:
    """What was so at a moment, and what was decided."""

    at: float
    busy: frozenset[SignalName]
    """Those that speak against serving: unknown ones that fail closed among them."""
    decision: Decision


SIGNALS = st.frozensets(st.sampled_from(ORDER), max_size=3)
STRETCHES = st.builds(
    Stretch, st.sampled_from([1.0, 2.0, 5.0, 15.0, 40.0]), SIGNALS, SIGNALS, st.booleans(),
    st.booleans(),
)  # fmt: skip
DAYS = st.lists(STRETCHES, min_size=1, max_size=12)
SECONDS = st.sampled_from([0.0, 3.0, 20.0])


def lived(day: list[Stretch], drain: float, resume_after: float) -> list[Moment]:
    """Let a day go past a machine, and note each moment."""
    machine = Machine()
    machine.drain, machine.resume_after = drain, resume_after
    moments: list[Moment] = []
    now = 0.0
    for stretch in day:
        against = stretch.busy | {each for each in stretch.unknown if RULES[each].fails_closed}
        end = now + stretch.seconds
        while now < end:
            if now % EVERY == 0.0:
                for signal in ORDER:
                    verdict = "busy" if signal in stretch.busy else "free"
                    if signal in stretch.unknown and signal not in stretch.busy:
                        verdict = "unknown"
                    why = WHY if verdict != "free" else Sentence()
                    machine.take(
                        Reading(signal, verdict, now, why, stretch.urgent)  # type: ignore[arg-type]
                    )
            decision = machine.decide(now, working=stretch.working)
            moments.append(Moment(now, frozenset(against), decision))
            now += STEP
    return moments


def serves(moment: Moment) -> bool:
    return moment.decision.action in ("serve", "resume")


@given(DAYS, SECONDS, SECONDS)
def test_never_serves_while_a_signal_holds(
    day: list[Stretch], drain: float, resume_after: float
) -> None:
    """Once a signal has been busy for as long as it needs to be believed, the node stands back."""
    since: dict[SignalName, float] = {}
    for moment in lived(day, drain, resume_after):
        if moment.at % EVERY == 0.0:
            since = {each: since.get(each, moment.at) for each in moment.busy}
        held = [each for each, at in since.items() if moment.at - at >= RULES[each].confirm]
        assert not (held and serves(moment))


@given(DAYS, SECONDS, SECONDS)
def test_a_release_is_at_once_when_it_must_be(
    day: list[Stretch], drain: float, resume_after: float
) -> None:
    """Where a game runs there is no drain: the first decision already frees the memory."""
    for moment in lived(day, drain, resume_after):
        if moment.at % EVERY == 0.0 and "game" in moment.busy:
            assert moment.decision.action == "release"


@given(DAYS, SECONDS, SECONDS)
def test_not_to_know_ends_no_hold_earlier_than_freedom_would(
    day: list[Stretch], drain: float, resume_after: float
) -> None:
    """A node that stands back stays back at least as long as if all the unknown had been free."""
    sure = [replace(each, unknown=frozenset()) for each in day]
    pairs = zip(lived(day, drain, resume_after), lived(sure, drain, resume_after), strict=True)
    assert all(serves(known) for blind, known in pairs if serves(blind))


@given(DAYS, st.sampled_from(ORDER), SECONDS)
def test_a_signal_that_held_and_is_not_known_any_more_goes_on_holding(
    day: list[Stretch], signal: SignalName, resume_after: float
) -> None:
    """Until its bound, whatever came before; then a node comes back unless a limit was set."""
    held = Stretch(15.0, frozenset({signal}), frozenset(), urgent=False, working=False)
    blind = Stretch(40.0, frozenset(), frozenset({signal}), urgent=False, working=False)
    *_, last = lived([*day, held, blind], 0.0, resume_after)
    assert not serves(last)
    assert last.decision.signal == signal


@given(DAYS, SECONDS, SECONDS)
def test_comes_back_by_itself(day: list[Stretch], drain: float, resume_after: float) -> None:
    """When all has been clear for the owner's time, the node serves."""
    calm = Stretch(
        resume_after + EVERY + STEP, frozenset(), frozenset(), urgent=False, working=True
    )
    assert serves(lived([*day, calm], drain, resume_after)[-1])


@given(DAYS, SECONDS)
def test_does_not_flap(day: list[Stretch], drain: float) -> None:
    """Signals that linger bring the node back no more often than they let it rest."""
    lingering = frozenset(each for each in ORDER if RULES[each].lingers)
    calm = [
        Stretch(each.seconds, each.busy & lingering, each.unknown & lingering, False, each.working)
        for each in day
    ]
    resume_after = 20.0
    moments = lived(calm, drain, resume_after)
    resumes = sum(moment.decision.action == "resume" for moment in moments)
    assert resumes <= len(moments) * STEP / resume_after
    actions = [moment.decision.action for moment in moments]
    changes = sum(before != after for before, after in pairwise(actions))
    # Each way down has three steps at most, and each way back two.
    assert changes <= 5 * (resumes + 1)


@given(DAYS, SECONDS, SECONDS)
def test_every_decision_against_serving_has_its_reason(
    day: list[Stretch], drain: float, resume_after: float
) -> None:
    """In both languages, with the signal that it comes from."""
    for moment in lived(day, drain, resume_after):
        decision = moment.decision
        if not serves(moment):
            assert decision.reason.en
            assert decision.reason.sv
            assert decision.signal in ORDER


@given(DAYS, SECONDS, SECONDS)
def test_what_was_reached_stays_until_all_is_over(
    day: list[Stretch], drain: float, resume_after: float
) -> None:
    """The node never goes back halfway: from freed memory only to serving."""
    before = -1
    for moment in lived(day, drain, resume_after):
        level = -1 if serves(moment) else LEVELS.index(moment.decision.action)
        assert level == -1 or level >= before
        before = level


@given(DAYS, SECONDS, SECONDS)
def test_a_drain_has_an_end(day: list[Stretch], drain: float, resume_after: float) -> None:
    """It lasts no longer than the owner's time, and not at all when nothing runs."""
    began: float | None = None
    for moment in lived(day, drain, resume_after):
        if moment.decision.action != "drain":
            began = None
            continue
        began = moment.at if began is None else began
        assert moment.at - began < drain
