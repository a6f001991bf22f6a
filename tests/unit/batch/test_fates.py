"""What becomes of an item without an answer."""

import json

import pytest

from garage_ai.accounts import LimitReached, ModelForbidden
from garage_ai.accounts.errors import BudgetExceeded, RateLimited
from garage_ai.batch.errors import FileStoreUnavailable, LineRefused
from garage_ai.batch.worker.fates import MAX_ATTEMPTS, Failure, pause_after
from garage_ai.network.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineFull,
    ModelLoading,
    NatsUnavailable,
    NoCapacity,
    NodeLost,
    NodeUnheard,
    NodeYielded,
    NoNode,
    RegionUnavailable,
    UnknownModel,
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NoCapacity("busy"), "model"),
        (EngineFull("429"), "model"),
        (NoNode("nobody"), "batch"),
        (ModelLoading("loading"), "batch"),
        (UnknownModel("gone for a moment"), "batch"),
        (RegionUnavailable("none there"), "batch"),
        (NatsUnavailable("no link"), "batch"),
        (NodeYielded("its owner took it back"), "batch"),
        (NodeUnheard("the gateway lost its link"), "batch"),
        (FileStoreUnavailable("away"), "batch"),
        (RateLimited("too many", retry_after=3.0), "key"),
        (BudgetExceeded("used up", retry_after=3.0), "key"),
        (LineRefused("member_suspended", "for a while"), "key"),
        (LineRefused("invalid_api_key", "not known here yet"), "key"),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_without_room_an_item_waits(error: Exception, cause: str) -> None:
    """However often: nobody is at fault; and it is told whom to leave in peace meanwhile."""
    failure = Failure.of(error)
    assert (failure.fate(MAX_ATTEMPTS + 5), failure.cause) == ("wait", cause)
    is_known = isinstance(error, RateLimited | BudgetExceeded)
    assert failure.retry_after == (3.0 if is_known else None)


@pytest.mark.parametrize("kind", [RateLimited, BudgetExceeded])
def test_a_limit_that_can_never_be_met_ends_an_item(kind: type[LimitReached]) -> None:
    """No wait helps one that asks for more than the whole limit; it is told as the API tells it."""
    failure = Failure.of(kind("1000 tokens per minute"))
    assert (failure.fate(1), failure.status, failure.type) == ("over", 429, "rate_limit_error")
    assert "1000 tokens per minute" in json.loads(failure.envelope(1))["error"]["message"]


@pytest.mark.parametrize(
    "error",
    [ContextLengthExceeded("too long"), ModelForbidden("no"), LineRefused("revoked_api_key", "no")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_the_clients_is_not_tried_again(error: Exception) -> None:
    """The same would come of it."""
    failure = Failure.of(error)
    assert failure.fate(1) == "over"
    assert 400 <= failure.status < 500


@pytest.mark.parametrize(
    "error",
    [EngineFailed("died"), NodeLost("gone"), TimeoutError(), ValueError("a fault of ours")],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_is_tried_three_times(error: Exception) -> None:
    """Then the item itself is thought to be the reason."""
    fates = [Failure.of(error).fate(attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert fates == ["again", "again", "over"]


def test_an_engine_has_time_to_be_started_again() -> None:
    """Some seconds before the second attempt, and longer before the third."""
    assert 2.0 < pause_after(1) < 10.0
    assert 10.0 < pause_after(2) < 30.0


def test_the_reason_is_told_as_the_api_tells_it() -> None:
    """OpenAI's envelope, with the attempts where there were several; nothing inner is shown."""
    first = json.loads(Failure.of(EngineFailed("The engine died.")).envelope(1))
    assert first == {
        "error": {
            "message": "The engine died.",
            "type": "server_error",
            "param": None,
            "code": "engine_error",
        }
    }
    last = json.loads(Failure.of(ValueError("secret")).envelope(3))
    assert last["error"]["code"] == "internal_error"
    assert last["error"]["message"].endswith("This was attempt 3 of 3.")
    assert "secret" not in last["error"]["message"]
