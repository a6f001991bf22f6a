"""Two accounts of one call, compared."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.ledger import NanoGai
from garage_ai.ledger.proxied import Comparison, ProxiedCall, compare
from garage_ai.storage import OPERATOR, KeyId, MemberId, UsageRecord

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
CALL = ProxiedCall(
    call_id="c1",
    request_id="req_1",
    begun_at=NOON,
    ended_at=NOON + timedelta(seconds=1),
    model="mock",
    route="acompletion",
    stream=True,
    sent=True,
    outcome="ok",
    prompt_tokens=16,
    completion_tokens=5,
    cost=NanoGai(26_000),
)
RECORD = UsageRecord(
    request_id="req_1",
    at=NOON,
    member=MemberId("mbr_proxy"),
    key_id=KeyId("key_proxy"),
    route="chat",
    model="mock",
    digest=None,
    node="n_1",
    outcome="ok",
    stream=True,
    prompt_tokens=16,
    completion_tokens=5,
    content_events=5,
    bytes_out=90,
    ttft_s=0.1,
    duration_s=0.5,
    attempts=1,
    charge=26_000,
    caller_id="c1",
)
# The gateway's own count of the same answer, of which it bills.
RECOUNTED = RECORD.but(
    charge=31_000,
    counted_prompt_tokens=18,
    counted_completion_tokens=7,
    count_source="tokenizer",
)


def test_a_call_that_the_gateway_counts_otherwise_is_recounted() -> None:
    """Both sides have the engine's tokens; the charge is of others, so costs are not compared."""
    assert compare(CALL, [RECOUNTED]) == ("recounted", [])


@pytest.mark.parametrize(
    "counted",
    [(16, 5), (None, None)],
    ids=["the same count", "nothing counted"],
)
def test_a_call_without_another_count_is_equal(counted: tuple[int | None, int | None]) -> None:
    """A count that agrees with the engine's bills the same tokens: then costs are compared."""
    record = RECORD.but(counted_prompt_tokens=counted[0], counted_completion_tokens=counted[1])
    assert compare(CALL, [record]) == ("equal", [])
    verdict, [difference] = compare(CALL, [record.but(charge=27_000)])
    assert (verdict, difference.kind) == ("cost", "cost")
    assert (difference.litellm, difference.gateway) == ("26000", "27000")


@pytest.mark.parametrize("counted", [(18, 5), (16, 7), (18, None)])
def test_one_other_count_is_enough(counted: tuple[int, int | None]) -> None:
    """Also where only the prompt or only the answer was counted otherwise."""
    record = RECOUNTED.but(counted_prompt_tokens=counted[0], counted_completion_tokens=counted[1])
    assert compare(CALL, [record]) == ("recounted", [])


def test_a_recount_hides_no_other_tokens() -> None:
    """What the engine told must be the same on both sides all the same."""
    verdict, [difference] = compare(replace(CALL, completion_tokens=6), [RECOUNTED])
    assert (verdict, difference.kind) == ("completion_tokens", "completion_tokens")
    assert (difference.litellm, difference.gateway) == ("6", "5")


@pytest.mark.parametrize(
    ("told", "kept", "verdict"),
    [
        (69, 5, "within_tolerance"),
        (70, 5, "completion_tokens"),
        (500, 1000, "within_tolerance"),
        (499, 1000, "completion_tokens"),
        (None, 5, "within_tolerance"),
    ],
)
def test_an_abort_is_compared_with_tolerance(
    told: int | None, kept: int, verdict: Comparison
) -> None:
    """64 tokens or half of the larger figure; recounted or not, and whatever it cost."""
    call = replace(CALL, outcome="left", completion_tokens=told)
    record = RECOUNTED.but(outcome="client_closed", completion_tokens=kept)
    assert compare(call, [record])[0] == verdict


@pytest.mark.parametrize(
    ("counted", "verdict"), [(136, "within_tolerance"), (30, "completion_tokens")]
)
def test_an_abort_of_an_engine_that_told_nothing_is_compared_by_the_gateways_count(
    counted: int, verdict: Comparison
) -> None:
    """An engine that is stopped tells no figures; the gateway's are billed, so they must fit."""
    call = replace(CALL, outcome="left", completion_tokens=200)
    record = RECOUNTED.but(
        outcome="client_closed",
        prompt_tokens=None,
        completion_tokens=None,
        counted_completion_tokens=counted,
    )
    assert compare(call, [record])[0] == verdict


def test_a_call_that_is_free_by_its_key_is_equal() -> None:
    """The operator's own pays nothing, whatever LiteLLM reckons; of others that is a difference."""
    assert compare(CALL, [RECORD.but(member=OPERATOR, charge=0)]) == ("equal", [])
    assert compare(CALL, [RECORD.but(member=OPERATOR, charge=27_000)])[0] == "cost"
    assert compare(CALL, [RECORD.but(charge=0)])[0] == "cost"
