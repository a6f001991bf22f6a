"""What follows when a node is lost in the middle of an answer."""

import random
from typing import Any

import msgspec
import pytest

from garage_ai.network.attempt import LINK_LOST, Verdict, VerdictKind
from garage_ai.network.continuation import MAX_MOVES, Close, Continuation, Leg, Move, Part
from garage_ai.network.continued import ContinuedReader
from garage_ai.network.delivered import Delivered
from garage_ai.network.errors import ContinuationUnsound, NodeLost, NodeTimeout
from garage_ai.network.events import Usage
from garage_ai.network.models import Life
from garage_ai.network.plan import GiveUp
from garage_ai.network.replies import DONE, Seen, StreamReader
from garage_ai.wire.ids import Digest, NodeId

CHANCE = random.Random(5)
A, B, C = (Life(NodeId(name), 1) for name in "abc")
DIGEST = Digest("sha256:" + "0" * 64)
LOST = Verdict("lost", code="silence")
GAVE_WAY = Verdict("preempted", code="preempted")


def event(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    """Write a chat event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    whole = {"id": "c1", "created": 5, "model": "m", "choices": [choice]} | fields
    return b"data: " + msgspec.json.encode(whole) + b"\n\n"


def story(*, include_usage: bool = True, **fields: Any) -> Continuation:
    """Ask something, before anything is lost."""
    body = {"model": "m", "messages": [{"role": "user", "content": "count"}]} | fields
    return Continuation.of("chat", msgspec.json.encode(body), include_usage=include_usage, tried=())


def leg(*events: bytes, life: Life = A, reader: StreamReader | None = None) -> Leg:
    """Let a node say something."""
    reader = reader or StreamReader(include_usage=True)
    reader.feed(b"".join(events))
    return Leg(life, DIGEST, reader)


SAID = leg(event({"role": "assistant", "content": "1,"}), event({"content": " 2"}))


@pytest.mark.parametrize("kind", ["lost", "yielded", "engine_failed", "bad_reply"])
def test_another_goes_on(kind: VerdictKind) -> None:
    """Whatever became of the node, the text so far is what the next one begins with."""
    step = story(max_tokens=9).broke(SAID, Verdict(kind), CHANCE)
    assert isinstance(step, Move)
    assert 0 < step.delay < 1
    body = msgspec.json.decode(step.body)
    assert body["messages"][-1] == {"role": "assistant", "content": "1, 2"}
    assert body["max_tokens"] == 7


def test_at_most_three_moves() -> None:
    """Then the client hears what became of the last node."""
    told = story()
    steps = [told.broke(SAID, LOST, CHANCE) for _ in range(MAX_MOVES + 1)]
    assert all(isinstance(step, Move) for step in steps[:-1])
    assert isinstance(steps[-1], GiveUp)
    assert isinstance(steps[-1].error, NodeLost)


def test_refusals_cost_no_move_and_are_no_parts() -> None:
    """Who was busy had no part in it, and is not the reason of the end."""
    told = story()
    told.broke(SAID, LOST, CHANCE)
    for _ in range(10):
        busy = told.broke(leg(life=B, reader=ContinuedReader(True)), Verdict("busy"), CHANCE)
        assert isinstance(busy, Move)
    assert [part.node for part in told.parts] == [A.node]
    assert isinstance(told.failure, NodeLost)


def test_giving_way_is_no_move_and_a_part_only_with_words() -> None:
    """A batch request may give way as often as it takes; the moves for losses are all left."""
    told = story()
    told.broke(SAID, GAVE_WAY, CHANCE)
    for _ in range(2 * MAX_MOVES):
        assert isinstance(told.broke(SAID, GAVE_WAY, CHANCE), Move)
        again = told.broke(leg(reader=ContinuedReader(True)), GAVE_WAY, CHANCE)
        assert isinstance(again, Move)
    assert {(part.outcome, part.content_events) for part in told.parts} == {("preempted", 2)}
    assert len(told.parts) == 2 * MAX_MOVES + 1
    assert told.plan.tries == 0
    steps = [told.broke(SAID, LOST, CHANCE) for _ in range(MAX_MOVES)]
    assert all(isinstance(step, Move) for step in steps)


def test_who_failed_is_left_alone_until_somebody_got_on() -> None:
    """A node that came back is well enough to be asked again, later."""
    told = story()
    told.broke(SAID, LOST, CHANCE)
    assert told.plan.excluded == {A}
    told.broke(leg(life=B, reader=ContinuedReader(True)), LOST, CHANCE)
    assert told.plan.excluded == {A, B}
    on = leg(event({"content": " 3"}), life=C, reader=ContinuedReader(True))
    told.broke(on, LOST, CHANCE)
    assert told.plan.excluded == {C}


@pytest.mark.parametrize("code", ["frame_lost", LINK_LOST])
def test_a_node_that_is_well_may_go_on_itself(code: str) -> None:
    """It was the way that lost something."""
    told = story()
    told.broke(SAID, Verdict("lost", code=code), CHANCE)
    assert (told.plan.excluded, told.plan.avoided) == (set(), {A})


def test_what_was_tried_before_the_first_content_is_not_tried_again() -> None:
    """A node that failed this request already is left out."""
    told = Continuation.of("chat", b"{}", include_usage=False, tried={B})
    assert told.plan.excluded == {B}


def test_the_end_was_said_already() -> None:
    """Only the last word is missing, and the gateway writes that itself."""
    over = leg(event({"content": "1"}), event({}, "stop"))
    assert story().broke(over, LOST, CHANCE) == Close(DONE)


def test_the_usage_that_came_before_the_loss_counts() -> None:
    """An engine that had said it need not say it again."""
    usage = {"prompt_tokens": 4, "completion_tokens": 1}
    told = story()
    told.broke(leg(event({"content": "1"}, "stop", usage=usage)), LOST, CHANCE)
    assert told.seen(None).usage == Usage(4, 1)


def test_no_token_is_left() -> None:
    """The answer is as long as was asked for: the gateway ends it so."""
    told = story(max_tokens=2)
    step = told.broke(SAID, LOST, CHANCE)
    assert isinstance(step, Close)
    [end, done] = step.last.removesuffix(b"\n\n").split(b"\n\n")
    assert msgspec.json.decode(end.removeprefix(b"data: ")) == {
        "id": "c1",
        "created": 5,
        "model": "m",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}],
    }
    assert done + b"\n\n" == DONE


def test_what_an_engine_counts_goes_before_events() -> None:
    """One event may hold several tokens."""
    counted = leg(event({"content": "1, 2"}, usage={"prompt_tokens": 4, "completion_tokens": 5}))
    step = story(max_tokens=8).broke(counted, LOST, CHANCE)
    assert isinstance(step, Move)
    assert msgspec.json.decode(step.body)["max_tokens"] == 3
    told = story(max_tokens=5).broke(counted, LOST, CHANCE)
    assert isinstance(told, Close)
    assert b'"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}' in told.last


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}),
        ({}, {"function_call": {"name": "f", "arguments": ""}}),
        ({}, {"reasoning_content": "hm"}),
        ({}, {"reasoning": "hm"}),
        ({}, {"refusal": "no"}),
        ({}, {"content": "a", "reasoning": "hm"}),
        ({"response_format": {"type": "json_object"}}, {"content": "{"}),
        ({"logprobs": True}, {"content": "a"}),
        ({"n": 2}, {"content": "a"}),
    ],
)
def test_what_cannot_be_continued(fields: dict[str, Any], said: dict[str, Any]) -> None:
    """It ends in an error of its own, which says why."""
    step = story(**fields).broke(leg(event(said)), LOST, CHANCE)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, ContinuationUnsound)
    assert step.error.message.startswith("The node was lost, and another cannot go on: ")


def test_the_end_of_one_of_several_answers_is_not_the_end() -> None:
    """With n > 1 nobody knows which one is whole."""
    step = story(n=2).broke(leg(event({"content": "a"}, "stop")), LOST, CHANCE)
    assert isinstance(step, GiveUp)


def test_the_end_of_a_tool_call_is_one() -> None:
    """Nothing is left to be continued."""
    call = event({"tool_calls": [{"index": 0}]}, "tool_calls")
    assert story(tool_choice="required").broke(leg(call), LOST, CHANCE) == Close(DONE)


def test_an_engine_that_rejects_the_unfinished_turn() -> None:
    """It is not the client's fault: others are asked, and the loss is what is told in the end."""
    told = story()
    told.broke(SAID, LOST, CHANCE)
    rejecting = leg(life=B, reader=ContinuedReader(True))
    assert isinstance(told.broke(rejecting, Verdict("rejected", code="x"), CHANCE), Move)
    assert told.plan.excluded == {A, B}


def test_time_that_is_spent() -> None:
    """Too slow a node is not followed by another: the client's time is over."""
    step = story().broke(SAID, Verdict("timeout", "it took too long", "total"), CHANCE)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, NodeTimeout)


def test_each_nodes_part_is_kept() -> None:
    """With what its engine said, where it said something, and how it ended."""
    told = story()
    told.broke(SAID, Verdict("yielded"), CHANCE)
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    now = leg(event({"content": " 3"}, "stop", usage=usage), life=B, reader=ContinuedReader(True))
    assert told.parts == [
        Part(A.node, DIGEST, None, None, 2, "yielded", delivered=Delivered(("1, 2",)))
    ]
    assert now.part("ok") == Part(B.node, DIGEST, 9, 1, 1, "ok", delivered=Delivered((" 3",)))
    bytes_out = SAID.reader.seen.bytes_out + now.reader.seen.bytes_out
    assert told.seen(now.reader) == Seen(3, bytes_out, Usage(7, 3), finished=True)


def test_what_would_go_on_ahead_changes_nothing() -> None:
    """Until another has content the one that will be stopped is the one that speaks."""
    told, plain = story(max_tokens=9), story(max_tokens=9)
    planned = None
    for _ in range(2 * MAX_MOVES):
        planned = told.ahead(SAID, CHANCE)
        assert (told, told.failure, told.parts) == (plain, None, [])
    assert planned is not None
    went_on, step = planned
    assert msgspec.json.decode(step.body)["messages"][-1]["content"] == "1, 2"
    assert [part.outcome for part in went_on.parts] == ["planned"]
    assert went_on.plan.excluded == {A}


def test_what_would_go_on_counts_like_a_move() -> None:
    """More than three times it does not, whoever was stopped or lost."""
    told: Continuation = story()
    for _ in range(MAX_MOVES):
        planned = told.ahead(SAID, CHANCE)
        assert planned is not None
        told = planned[0]
    assert told.ahead(SAID, CHANCE) is None
    assert isinstance(told.broke(SAID, LOST, CHANCE), GiveUp)


@pytest.mark.parametrize(
    "said",
    [
        leg(event({"content": "1"}), event({}, "stop")),
        leg(event({"tool_calls": [{"index": 0}]})),
    ],
)
def test_what_nobody_can_go_on_with_is_left_to_who_speaks(said: Leg) -> None:
    """It may say its end yet, or end what only it can."""
    assert story().ahead(said, CHANCE) is None
