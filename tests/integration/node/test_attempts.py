"""Attempts through packets: a real NATS server, a node's permissions, a mock engine."""

import asyncio
import json

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, Rig, external
from tests.parts.job_caller import Caller, until

from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Alive,
    Data,
    End,
    Fail,
    Head,
    Open,
    Packet,
    Refused,
)
from garage_ai.wire.ids import AttemptId
from garage_ai.wire.window import WINDOW

pytestmark = pytest.mark.anyio

PLAIN = b'{"model":"garage-chat","messages":[{"role":"user","content":"hi"}],"max_tokens":4}'
STREAM = PLAIN[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'


def content_of(stream: bytes) -> str:
    """Join what a stream's events say."""
    text = ""
    for line in stream.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice.get("delta", {}).get("content") or ""
    return text


async def test_plain_answer(rig: Rig, caller: Caller) -> None:
    """A plain request is accepted, answered with the engine's own bytes, and ended."""
    call = await caller.call("a1", PLAIN).over()
    assert isinstance(call.frames[0], Accepted)
    assert call.head == Head(200, "application/json")
    assert isinstance(call.last, End)
    answer = json.loads(call.body)
    assert answer["choices"][0]["message"]["content"]
    # The node asked the engine for the engine's own name of the model.
    assert answer["model"] == "mock"
    assert rig.agent.core.totals.answered == 1
    assert not rig.agent.busy


async def test_streamed_answer(rig: Rig, caller: Caller) -> None:
    """A stream comes as whole events, unchanged, up to [DONE]."""
    call = await caller.call("a1", STREAM, stream=True).over()
    assert call.head == Head(200, "text/event-stream")
    assert call.body.endswith(b"data: [DONE]\n\n")
    assert content_of(call.body).strip()
    for frame in call.frames:
        if isinstance(frame, Data):
            assert frame.body.endswith(b"\n\n")


@pytest.mark.parametrize("route", ["completions", "embeddings"])
async def test_other_routes(rig: Rig, caller: Caller, route: str) -> None:
    """Completions and embeddings reach the engine's own paths."""
    body = b'{"model":"m","prompt":"x","input":"x"}'
    call = await caller.call("a1", body, route=route).over()
    assert call.head == Head(200, "application/json")
    answer = json.loads(call.body)
    assert ("data" in answer) == (route == "embeddings")


async def test_a_read_of_the_engine_is_one_packet(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """Events that came together travel together."""
    await make_agent(external(await make_mock(Options(batch=32))))
    await caller.ready()
    call = await caller.call("a1", STREAM.replace(b'"max_tokens":4', b'"n":1'), stream=True).over()
    assert len(call.packets) <= 6


async def test_a_long_body_comes_in_packets(rig: Rig, caller: Caller) -> None:
    """A body larger than the credit window arrives whole, credited on the way."""
    text = "x" * (3 * WINDOW)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    call = caller.open("a1", len(body))
    await caller.upload(call, body)
    await call.over()
    assert call.head == Head(200, "application/json")
    assert call.credit > 2 * WINDOW


async def test_a_long_answer_comes_in_packets(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """An answer larger than the credit window waits for credit and arrives whole."""
    await make_agent(external(await make_mock(Options(huge_body=3 * WINDOW))))
    await caller.ready()
    call = await caller.call("a1", PLAIN).over()
    assert len(call.body) > 3 * WINDOW
    json.loads(call.body)
    assert all(len(frame.body) <= MAX_DATA for frame in call.frames if isinstance(frame, Data))


async def test_a_long_event_is_cut(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """An event larger than a packet arrives in pieces, unchanged."""
    await make_agent(external(await make_mock(Options(oversized_event=200_000))))
    await caller.ready()
    call = await caller.call("a1", STREAM, stream=True).over()
    assert isinstance(call.last, End)
    assert max(len(event) for event in call.body.split(b"\n\n")) >= 200_000


async def test_a_reader_that_takes_nothing_holds_up_nobody(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """Without credit one attempt stands still, alive; another runs, and the first goes on later."""
    await make_agent(external(await make_mock(Options(huge_body=2 * WINDOW))))
    await caller.ready()
    slow = caller.call("a1", PLAIN, greedy=False)
    await slow.until(lambda call: call.unread > WINDOW - MAX_DATA)
    await slow.until(lambda call: isinstance(call.frames[-1], Alive))
    other = await caller.call("a2", PLAIN).over()
    assert isinstance(other.last, End)
    assert slow.unread <= WINDOW
    assert slow.last is None
    slow.greedy = True
    slow.take(slow.unread)
    await slow.over()
    assert len(slow.body) > 2 * WINDOW


async def test_says_alive_while_the_engine_thinks(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """A second of prefill brings a sign of life, and no second is without one."""
    await make_agent(external(await make_mock(Options(first_byte_delay=2.7))))
    await caller.ready()
    call = await caller.call("a1", PLAIN).over()
    assert sum(isinstance(frame, Alive) for frame in call.frames) >= 2
    gaps = [b - a for a, b in zip(call.arrived, call.arrived[1:], strict=False)]
    assert max(gaps) < 2  # of almost three


async def test_cancel_stops_the_engine(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """A cancel closes the engine's connection, is confirmed, and frees the slot."""
    mock = await make_mock(Options(chunk_delay=0.05, chunks=1000))
    rig = await make_agent(external(mock, slots=1))
    await caller.ready()
    body = STREAM.replace(b',"max_tokens":4', b"")
    call = caller.call("a1", body, stream=True)
    await call.until(lambda call: b"data:" in call.body)
    began = asyncio.get_running_loop().time()
    call.cancel()
    await call.over()
    assert call.last == Fail("cancelled")
    assert asyncio.get_running_loop().time() - began < 5  # of fifty
    assert rig.agent.core.totals.cancelled == 1
    await until(lambda: mock.state.running == 0)
    assert mock.state.cancelled == 1
    mock.options = Options()
    assert isinstance((await caller.call("a2", STREAM, stream=True).over()).last, End)


async def test_busy_beyond_the_slots(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """With every slot taken a job is refused at once, and a beat has said so."""
    await make_agent(external(await make_mock(Options(first_byte_delay=30)), slots=2))
    await caller.ready()
    running = [caller.call(f"a{number}", PLAIN) for number in range(2)]
    for call in running:
        await call.until(lambda call: call.accepted)
    refused = await caller.call("a9", PLAIN).over()
    assert refused.last == Refused("busy")
    await caller.beat(lambda beat: beat.models[0].running == 2)
    for call in running:
        call.cancel()
        await call.over()
    await caller.beat(lambda beat: beat.models[0].running == 0)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engines_error_passes(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller, *, status: int, stream: bool
) -> None:
    """The engine's own status and words reach the gateway; it judges them."""
    await make_agent(external(await make_mock(Options(fail_every=1, fail_status=status))))
    await caller.ready()
    call = await caller.call("a1", STREAM if stream else PLAIN, stream=stream).over()
    assert call.head is not None
    assert call.head.status == status
    assert b"error" in call.body
    assert isinstance(call.last, End)


async def test_a_model_that_the_server_lost(rig: Rig, mock: MockEngine, caller: Caller) -> None:
    """It is not the request's fault; the server is looked at at once, and the model is away."""
    mock.options.models = "another"
    call = await caller.call("a1", PLAIN).over()
    assert isinstance(call.last, Fail)
    assert call.last.code == "unknown_model"
    beat = await caller.beat(lambda beat: beat.models[0].engine == "loading", 20)
    assert "does not list" in beat.reason


async def test_a_path_that_the_server_does_not_have(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """That is no lost model: the server's own words pass."""
    await make_agent(external(await make_mock(Options(fail_every=1, fail_status=404))))
    await caller.ready()
    call = await caller.call("a1", PLAIN).over()
    assert call.head is not None
    assert (call.head.status, isinstance(call.last, End)) == (404, True)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_hangs_up_in_the_middle(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller, *, stream: bool
) -> None:
    """A connection that ends too early is a lost engine, after the events that came."""
    rig = await make_agent(external(await make_mock(Options(cut_after=2 if stream else 0))))
    await caller.ready()
    call = await caller.call("a1", STREAM if stream else PLAIN, stream=stream).over()
    assert isinstance(call.last, Fail)
    assert call.last.code == "engine_lost"
    assert (b"data:" in call.body) == stream
    assert rig.agent.core.totals.failed == 1
    assert not rig.agent.busy


async def test_a_time_limit_ends_an_answer(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """The seconds a gateway gives are all the node takes."""
    mock = await make_mock(Options(stall_after=1))
    await make_agent(external(mock))
    await caller.ready()
    call = await caller.call("a1", STREAM, stream=True, time_limit=0.7).over()
    assert isinstance(call.last, Fail)
    assert call.last.code == "engine_timeout"


async def test_garbage_is_ignored(rig: Rig, caller: Caller) -> None:
    """Bytes that are no packet, and packets of no attempt, disturb nobody."""
    for payload in (b"", b"\xff" * 100, b"\x93\xa1a\x00\x90", b"x" * 70_000):
        caller.raw("job", payload)
        caller.raw("credit", payload)
        caller.raw("cancel", payload)
        caller.raw("control", payload)
    caller.tell("job", Packet(AttemptId("stray"), 3, (Data(b"x"),)))
    stranger = Open(1, "s", "gai.v1.reply.other.node.x", "chat", "d", False, 0, 1.0)
    caller.tell("job", Packet(AttemptId("x"), 0, (stranger,)))
    call = await caller.call("a1", PLAIN).over()
    assert isinstance(call.last, End)


async def test_another_session_is_refused(rig: Rig, caller: Caller) -> None:
    """A job for the agent that ran here before is not for this one."""
    call = await caller.call("a1", PLAIN, session="sbefore").over()
    assert call.last == Refused("wrong_session")


async def test_many_at_once(make_agent: MakeAgent, mock: MockEngine, caller: Caller) -> None:
    """A hundred streams side by side keep their order and their bytes."""
    rig = await make_agent(external(mock, slots=100))
    await caller.ready()
    calls = [caller.call(f"a{number}", STREAM, stream=True) for number in range(100)]
    for call in calls:
        await call.over()
    assert len({content_of(call.body) for call in calls}) == 1
    assert rig.agent.core.totals.answered == 100
