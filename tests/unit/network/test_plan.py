"""What follows an attempt."""

import random
from typing import get_args

import pytest

from garage_ai.network.attempt import (
    LINK_LOST,
    OUT_OF_TIME,
    REPLACED,
    TOO_LARGE,
    Verdict,
    VerdictKind,
)
from garage_ai.network.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineFull,
    EngineRejected,
    ModelLoading,
    NoCapacity,
    NodeLost,
    NodeTimeout,
    NodeUnheard,
    NodeYielded,
    NoNode,
)
from garage_ai.network.models import Life
from garage_ai.network.plan import (
    LONGEST_DELAY,
    MAX_BOUNCES,
    NO_TRY,
    Again,
    GiveUp,
    Plan,
    as_error,
    blame,
)
from garage_ai.wire.ids import NodeId

N = Life(NodeId("n"), 1)
CHANCE = random.Random(3)
KINDS: tuple[VerdictKind, ...] = get_args(VerdictKind)


def after(plan: Plan, kind: VerdictKind, code: str = "") -> object:
    """Ask the plan."""
    return plan.after(Verdict(kind, "why", code), N, CHANCE)


@pytest.mark.parametrize(
    "kind", ["engine_failed", "bad_reply", "lost", "unwilling", "yielded", "timeout"]
)
def test_a_failed_node_is_followed_by_another_within_bounds(kind: VerdictKind) -> None:
    """Three more tries with growing, jittered pauses; then the error."""
    plan = Plan(retries=3)
    steps = [after(plan, kind) for _ in range(4)]
    delays = [step.delay for step in steps if isinstance(step, Again)]
    assert len(delays) == 3
    assert all(0 < delay <= LONGEST_DELAY for delay in delays)
    assert isinstance(steps[3], GiveUp)
    assert plan.excluded == {N}


@pytest.mark.parametrize("code", ["frame_lost", "frame_repeated", LINK_LOST, REPLACED])
def test_a_node_that_is_well_is_only_avoided(code: str) -> None:
    """Words lost on the way say nothing of it: it is asked again where nobody else has room."""
    plan = Plan(retries=3)
    assert isinstance(after(plan, "lost", code), Again)
    assert (plan.excluded, plan.avoided) == (set(), {N})


@pytest.mark.parametrize(("kind", "code"), [("timeout", OUT_OF_TIME), ("cancelled", "")])
def test_what_another_node_would_not_mend_is_final(kind: VerdictKind, code: str) -> None:
    """Spent time and a client that left are not tried again."""
    assert isinstance(after(Plan(retries=3), kind, code), GiveUp)


@pytest.mark.parametrize("code", ["first_byte", "engine_timeout"])
def test_one_that_is_too_slow_to_begin_is_followed_by_another(code: str) -> None:
    """It is that node's card that hangs, or is too small; the request has time left."""
    plan = Plan(retries=3)
    assert isinstance(after(plan, "timeout", code), Again)
    assert (plan.excluded, plan.tries) == ({N}, 1)
    # Whoever asks again by himself is told at once: it would be three times as many otherwise.
    assert isinstance(after(Plan(retries=3, once_slow=True), "timeout", code), GiveUp)


@pytest.mark.parametrize("second", [kind for kind in KINDS if kind != "answered"])
def test_a_rejection_is_shown_to_one_other(second: VerdictKind) -> None:
    """Whatever that one says instead of an answer, the first one's words stand."""
    plan = Plan(retries=3)
    assert after(plan, "rejected", "context_length_exceeded") == Again(0.0)
    assert (plan.excluded, plan.tries) == ({N}, 1)
    step = after(plan, second)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, ContextLengthExceeded)
    assert plan.tries == (1 if second in NO_TRY else 2)


def test_a_rejection_that_nobody_else_may_judge_stands() -> None:
    """Without a try left it is final."""
    step = after(Plan(retries=0), "rejected")
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, EngineRejected)


def test_busy_costs_no_try_but_has_an_end() -> None:
    """Refusals are bounded on their own."""
    plan = Plan(retries=0)
    for _ in range(MAX_BOUNCES):
        assert after(plan, "busy") == Again(0.0)
    assert isinstance(after(plan, "busy"), GiveUp)
    assert plan.tries == 0
    assert plan.excluded == set()


def test_giving_way_to_a_chat_costs_no_try() -> None:
    """It waits again at once; where that goes on and on, other nodes are preferred, with pauses.

    An end has it all the same: a node may do nothing but take requests and let them go.
    """
    plan = Plan(retries=0)
    assert after(plan, "preempted") == Again(0.0)
    assert (plan.tries, plan.excluded, plan.avoided) == (0, set(), set())
    steps = [after(plan, "preempted") for _ in range(1, MAX_BOUNCES)]
    delays = [step.delay for step in steps if isinstance(step, Again)]
    assert len(delays) == MAX_BOUNCES - 1
    assert all(0 < delay <= LONGEST_DELAY for delay in delays)
    assert (plan.tries, plan.excluded, plan.avoided) == (0, set(), {N})
    step = after(plan, "preempted")
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, NoCapacity)


def test_a_restarted_node_may_be_asked_again() -> None:
    """A session that is gone excludes nobody, but others go before; a draining node is excluded."""
    plan = Plan(retries=0)
    step = after(plan, "away", "wrong_session")
    assert isinstance(step, Again)
    assert step.delay > 0
    assert (plan.excluded, plan.avoided) == (set(), {N})
    after(plan, "away", "draining")
    assert plan.excluded == {N}


@pytest.mark.parametrize("kind", KINDS)
def test_blame(kind: VerdictKind) -> None:
    """Only the node's own failures count against it."""
    failures = {"engine_failed", "bad_reply", "lost", "timeout"}
    expected = "failure" if kind in failures else "success" if kind == "answered" else "none"
    assert blame(Verdict(kind), committed=True) == expected


def test_a_lost_link_is_nobodys_fault() -> None:
    """When the gateway falls off the network its nodes are not blamed."""
    assert blame(Verdict("lost", code=LINK_LOST)) == "none"


def test_a_request_that_wants_more_than_all_the_time_is_no_nodes_fault() -> None:
    """A client may ask for an answer of any length."""
    assert blame(Verdict("timeout", code=OUT_OF_TIME)) == "none"


@pytest.mark.parametrize("code", ["first_byte", "engine_timeout"])
def test_one_that_is_slow_to_begin_is_in_doubt(code: str) -> None:
    """A prompt may be so long that nobody is done with it in time."""
    assert blame(Verdict("timeout", code=code)) == "doubt"


@pytest.mark.parametrize(
    ("code", "committed", "expected"),
    [
        ("engine_500", False, "doubt"),
        ("engine_error", False, "doubt"),
        ("engine_error", True, "failure"),
        ("engine_lost", False, "failure"),
        ("engine_protocol", False, "failure"),
    ],
)
def test_an_engine_that_speaks_is_in_doubt(code: str, committed: bool, expected: str) -> None:
    """A dead engine is the node's failure; an error of a living one may be the request's."""
    assert blame(Verdict("engine_failed", code=code), committed=committed) == expected


def test_an_answer_too_large_is_in_doubt() -> None:
    """The request asked for it, unless another node has less to say; a stream is the node's own."""
    assert blame(Verdict("rejected", code=TOO_LARGE)) == "doubt"
    assert blame(Verdict("bad_reply", code=TOO_LARGE), committed=True) == "failure"
    assert blame(Verdict("rejected", code="engine_rejected")) == "none"


@pytest.mark.parametrize(
    ("verdict", "error", "status"),
    [
        (Verdict("rejected", code="context_length_exceeded"), ContextLengthExceeded, 400),
        (Verdict("rejected", code="engine_rejected"), EngineRejected, 400),
        (Verdict("timeout"), NodeTimeout, 504),
        (Verdict("away", code="loading"), ModelLoading, 503),
        (Verdict("away", code="paused"), NoNode, 503),
        (Verdict("yielded"), NodeYielded, 502),
        (Verdict("lost", code="silence"), NodeLost, 502),
        (Verdict("lost", code=LINK_LOST), NodeUnheard, 502),
        (Verdict("lost", code=REPLACED), NodeUnheard, 502),
        (Verdict("unwilling", code="engine_429"), EngineFull, 502),
        (Verdict("engine_failed", code="engine_503"), EngineFull, 502),
        (Verdict("unwilling", code="engine_401"), EngineFailed, 502),
        (Verdict("engine_failed", code="engine_500"), EngineFailed, 502),
    ],
)
def test_the_error_a_client_sees(verdict: Verdict, error: type[Exception], status: int) -> None:
    """Each end has its type and status."""
    seen = as_error(verdict)
    assert type(seen) is error
    assert seen.status == status


@pytest.mark.parametrize("kind", KINDS)
def test_every_end_has_an_error_with_a_message(kind: VerdictKind) -> None:
    """No verdict is left without words."""
    assert as_error(Verdict(kind)).message


def test_an_answer_that_gets_on_may_wait_for_ever() -> None:
    """A batch request that gave way a hundred times, and met a full node each time, goes on."""
    plan = Plan(retries=3)
    for _ in range(2 * MAX_BOUNCES):
        for kind in ("preempted", "busy", "busy"):
            assert isinstance(after(plan, kind), Again)
        plan.got_on()
    steps = [after(plan, "busy") for _ in range(MAX_BOUNCES + 1)]
    assert isinstance(steps[-1], GiveUp)
