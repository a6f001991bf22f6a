"""Whom a node's engine is for: asked for, renewed, bounded, ended, and nothing ever shared."""

import pytest

from garage_ai.node.dedication import (
    DRAIN_SECONDS,
    MOST_SECONDS,
    REST_SECONDS,
    Dedication,
    Turn,
)

JOB = "batch_1"
LEASE = 45.0


def turn(
    dedication: Dedication,
    now: float,
    *,
    runs: bool = True,
    may_run: bool = True,
    serves: bool = True,
    busy: bool = False,
) -> Turn:
    return dedication.turn(now, runs=runs, may_run=may_run, serves=serves, busy=busy)


def given(now: float = 0.0) -> Dedication:
    """A node that one job has, with an engine made for it."""
    dedication = Dedication(allowed=True)
    assert dedication.ask(JOB, LEASE, now)
    assert turn(dedication, now) == Turn("release")
    assert turn(dedication, now, runs=False) == Turn("start")
    dedication.started()
    return dedication


def test_an_engine_is_made_anew_for_a_job_and_anew_after_it() -> None:
    """What served everybody is gone before the job's comes, and that is gone before the next."""
    dedication = given()
    assert (dedication.job, dedication.made_for, dedication.changes) == (JOB, JOB, False)
    assert turn(dedication, 1.0) == Turn("wait", LEASE - 1.0)
    dedication.end(JOB, 2.0)
    assert dedication.changes
    assert turn(dedication, 2.0) == Turn("release")
    assert turn(dedication, 2.0, runs=False) == Turn("start")
    dedication.started()
    assert (dedication.made_for, dedication.changes) == ("", False)


def test_what_runs_has_some_time_before_the_engine_changes() -> None:
    """It is waited for, but not for long; when that is over is known beforehand."""
    dedication = Dedication(allowed=True)
    dedication.ask(JOB, LEASE, 0.0)
    assert turn(dedication, 0.0, busy=True) == Turn("wait", DRAIN_SECONDS)
    assert dedication.leaves_at == DRAIN_SECONDS
    assert turn(dedication, 4.0, busy=True) == Turn("wait", DRAIN_SECONDS - 4.0)
    assert turn(dedication, DRAIN_SECONDS, busy=True) == Turn("release")


def test_a_gateway_that_is_silent_loses_the_node() -> None:
    """Each asking gives it for so long; without one the node takes itself back."""
    dedication = given()
    assert dedication.ask(JOB, LEASE, 30.0)
    assert turn(dedication, 30.0 + LEASE - 1) == Turn("wait", 1.0)
    assert turn(dedication, 30.0 + LEASE) == Turn("release")
    assert dedication.job == ""


def test_no_job_has_a_node_for_ever() -> None:
    """However often it is asked for."""
    dedication, now = given(), 0.0
    while now < MOST_SECONDS:
        assert dedication.job == JOB
        assert dedication.ask(JOB, LEASE, now)
        turn(dedication, now)
        now += 10.0
    assert turn(dedication, MOST_SECONDS) == Turn("release")
    assert not dedication.ask(JOB, LEASE, MOST_SECONDS)
    assert not dedication.open(MOST_SECONDS + REST_SECONDS - 1)
    dedication.started()
    assert dedication.open(MOST_SECONDS + REST_SECONDS)


def test_one_job_at_a_time() -> None:
    """Another waits, and ends nobody's but its own."""
    dedication = given()
    assert not dedication.ask("batch_2", LEASE, 1.0)
    dedication.end("batch_2", 1.0)
    assert dedication.job == JOB


def test_an_owner_who_does_not_lend_it_so_is_not_asked_twice() -> None:
    """Forbidden it does not begin; forbidden meanwhile it ends."""
    assert not Dedication().ask(JOB, LEASE, 0.0)
    dedication = given()
    dedication.allowed = False
    assert turn(dedication, 1.0) == Turn("release")


@pytest.mark.parametrize("refusal", [{"may_run": False}, {"serves": False}])
def test_the_owner_comes_first(refusal: dict[str, bool]) -> None:
    """Who wants his PC has it at once; the job's engine goes, and none follows until he is done."""
    dedication = given()
    assert turn(dedication, 1.0, **refusal) == Turn("release")
    assert dedication.job == ""
    assert turn(dedication, 1.0, runs=False, **refusal) == Turn("wait")
    assert turn(dedication, 500.0, runs=False) == Turn("start")


def test_a_node_that_stands_still_at_its_start_loads_all_the_same() -> None:
    """As ever: paused by a drain alone, its own engine is there when that ends."""
    assert turn(Dedication(), 0.0, runs=False, serves=False) == Turn("start")
