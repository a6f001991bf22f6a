"""Which version runs next, whatever happened before."""

import pytest

from garage_ai.node.update.plan import (
    INSTALLED,
    Failure,
    State,
    Trial,
    confirmed,
    next_start,
    postponed,
    rolled_back,
    started,
    taken_back,
    updated,
)
from garage_ai.wire.versions import AgentVersion

OLD = AgentVersion(0, 1, 0)
FRESH = State("0.2.0", INSTALLED, Trial(60.0), installed="/usr/bin/python3")


def start(state: State, *, installed: AgentVersion | None = OLD, gone: str = "") -> State:
    """Start, with every version there but one."""
    return next_start(state, installed, lambda version: version != gone, 7.0)


def test_without_a_choice_the_installed_one_runs() -> None:
    """And nothing is written."""
    assert start(State()) == State()


def test_a_new_version_is_on_trial_until_it_is_confirmed() -> None:
    """Then it is what every start runs."""
    state = updated(State(), "0.2.0", seconds=60.0, installed="/usr/bin/python3")
    assert start(state) == state == FRESH
    won = confirmed(started(state))
    assert start(won) == won
    assert (won.current, won.before, won.trial) == ("0.2.0", INSTALLED, None)


def test_a_trial_that_was_begun_and_not_won_is_lost() -> None:
    """However it ended: killed, out of power, out of its mind."""
    lost = start(started(FRESH))
    assert lost.current == INSTALLED
    assert lost.failed == Failure("0.2.0", "it ended before it served", 7.0)
    assert start(lost) == lost


def test_an_owner_who_ends_a_trial_does_not_lose_it() -> None:
    """It begins anew with the next start."""
    assert start(postponed(started(FRESH))) == FRESH


def test_it_goes_back_to_the_version_before_and_not_further() -> None:
    """From a third version to the second, not to the installed one."""
    third = updated(confirmed(FRESH), "0.3.0", seconds=60.0, installed="/usr/bin/python3")
    assert third.before == "0.2.0"
    back = taken_back(started(third), "why", 1.0)
    assert (back.current, back.before, back.failed) == ("0.2.0", None, Failure("0.3.0", "why", 1.0))
    assert rolled_back(confirmed(third)) == State("0.2.0", installed="/usr/bin/python3")


@pytest.mark.parametrize("installed", [AgentVersion(0, 2, 0), AgentVersion(0, 10, 0)])
def test_an_installed_version_that_is_newer_by_now_runs(installed: AgentVersion) -> None:
    """start.sh has brought it; a process of a chosen version does not compare itself."""
    assert start(confirmed(FRESH), installed=installed).current == INSTALLED
    assert start(confirmed(FRESH), installed=None).current == "0.2.0"


def test_a_version_that_is_gone_is_not_run() -> None:
    """Nor the one before it, where that is gone as well."""
    gone = start(confirmed(FRESH), gone="0.2.0")
    assert gone.current == INSTALLED
    assert gone.failed is not None
    third = updated(confirmed(FRESH), "0.3.0", seconds=60.0, installed="")
    assert next_start(third, OLD, lambda _: False, 7.0).current == INSTALLED


def test_reasons_are_bounded() -> None:
    """They are kept in a file and shown."""
    failed = taken_back(FRESH, "x" * 5000, 1.0).failed
    assert failed is not None
    assert len(failed.reason) == 1000
