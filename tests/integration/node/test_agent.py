"""An agent's life on the network: beats, orders, lost links, the end."""

import asyncio
import errno
import os
import signal

import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, Rig, external
from tests.parts.credentials import NODE
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess

from garage_ai import __version__
from garage_ai.node.errors import Superseded
from garage_ai.node.session import free_memory
from garage_ai.wire.frames import End, Fail, Refused
from garage_ai.wire.messages import (
    BEAT_INTERVAL,
    BeatNow,
    Drain,
    Notice,
    Renewed,
    Undrain,
)
from garage_ai.wire.messages import (
    Superseded as SupersededMessage,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLAIN = b'{"model":"garage-chat","messages":[{"role":"user","content":"hi"}],"max_tokens":4}'
LONG = PLAIN.replace(b"4}", b"20}")
STREAM = LONG.replace(b"{", b'{"stream":true,', 1)


async def test_a_beat_says_who_serves_what(rig: Rig, caller: Caller) -> None:
    """A beat holds what a gateway chooses by."""
    beat = await caller.ready()
    (model,) = beat.models
    assert (beat.state, beat.session, beat.agent) == ("ready", rig.agent.core.session, __version__)
    assert (model.name, model.slots, model.running, model.external) == ("mock", 4, 0, True)
    assert beat.versions == (1,)


async def test_beats_come_regularly_and_in_order(rig: Rig, caller: Caller) -> None:
    """The next beat comes within the interval, and numbers grow."""
    first = await caller.ready()
    beat = await caller.beat(lambda beat: beat.seq > first.seq, BEAT_INTERVAL * 1.1 + 3)
    assert beat.session == first.session
    numbers = [each.seq for each in caller.beats]
    assert numbers == sorted(set(numbers))


async def test_a_change_is_told_at_once(rig: Rig, caller: Caller) -> None:
    """An owner's pause reaches the gateways long before the next regular beat."""
    rig.agent.core.paused = True
    rig.agent.look()
    beat = await caller.beat(lambda beat: beat.state == "paused", 4)
    assert beat.reason == "paused by its owner"
    assert (await caller.call("a1", PLAIN).over()).last == Refused("paused", "paused by its owner")


async def test_the_network_drains_and_undrains(rig: Rig, caller: Caller) -> None:
    """The order is followed and told; work is refused meanwhile."""
    caller.control(Drain("maintenance"))
    beat = await caller.beat(lambda beat: beat.state == "draining", 4)
    assert beat.reason == "maintenance"
    assert (await caller.call("a1", PLAIN).over()).last == Refused("draining", "maintenance")
    caller.control(Undrain())
    await caller.beat(lambda beat: beat.state == "ready", 4)
    assert isinstance((await caller.call("a2", PLAIN).over()).last, End)


async def test_a_gateway_may_ask_for_a_beat(rig: Rig, caller: Caller) -> None:
    """A gateway that has just begun to listen need not wait for the next regular one."""
    first = await caller.ready()
    caller.control(BeatNow(0.05))
    beat = await caller.beat(lambda beat: beat.seq > first.seq, 4)
    assert beat.state == "ready"


async def test_tells_the_speed_of_its_engine(rig: Rig, caller: Caller, mock: MockEngine) -> None:
    """The pace of a stream stands in the next beat; a plain answer passed on has none."""
    beat = await caller.ready()
    mock.options = Options(models="mock", chunk_delay=0.01)
    await caller.call("a1", LONG).over()
    assert beat.models[0].decode_speed == 0
    await caller.call("a2", STREAM, stream=True).over()
    caller.control(BeatNow(0.0))
    beat = await caller.beat(lambda beat: beat.models[0].decode_speed > 0, 4)
    # A sleep of 10 ms takes that long at least; the last events come without one.
    assert 5 < beat.models[0].decode_speed < 130
    assert beat.models[0].prefill_speed == 0


async def test_an_older_copy_gives_way(rig: Rig, caller: Caller) -> None:
    """The agent whose session was replaced ends; word about another session is not for it."""
    caller.control(SupersededMessage("sother"))
    caller.control(SupersededMessage(rig.agent.core.session))
    error = await asyncio.wait_for(asyncio.shield(rig.agent.ended), 20)
    assert isinstance(error, Superseded)
    assert error.exit_code == 7
    assert len(caller.beats) >= 1


async def test_notices_and_jwts_reach_their_owner(rig: Rig, caller: Caller) -> None:
    """What the network says is kept for the owner."""
    caller.control(Notice("clock_wrong", "your clock is wrong"))
    caller.control(Renewed("a.b.c"))
    await until(lambda: rig.jwts)
    assert rig.jwts == ["a.b.c"]
    assert [(each.code, each.message) for each in rig.agent.notices] == [
        ("clock_wrong", "your clock is wrong")
    ]


async def test_orders_of_an_unknown_kind_are_passed_over(rig: Rig, caller: Caller) -> None:
    """A newer gateway may say more."""
    caller.raw("control", b"\x81\xa4type\xa5dance")
    assert isinstance((await caller.call("a1", PLAIN).over()).last, End)


async def test_comes_back_after_the_server_died(
    make_agent: MakeAgent, mock: MockEngine, caller: Caller, nats: NatsProcess
) -> None:
    """With the server killed and started again the same session beats and works again."""
    rig = await make_agent(external(mock))
    before = await caller.ready()
    nats.stop(signal.SIGKILL)
    await until(lambda: not rig.link.is_connected)
    await nats.start()
    beat = await caller.beat(lambda beat: beat.seq > before.seq and beat.state == "ready", 20)
    assert beat.session == before.session
    await until(lambda: rig.link.is_connected)
    assert isinstance((await caller.call("a1", PLAIN).over()).last, End)


async def test_a_lost_link_frees_the_slots(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller, nats: NatsProcess
) -> None:
    """What ran when the link broke is stopped: nobody is there to hear it."""
    mock = await make_mock(Options(first_byte_delay=30))
    rig = await make_agent(external(mock))
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    nats.stop(signal.SIGKILL)
    await until(lambda: not rig.agent.busy)
    await until(lambda: mock.state.running == 0)
    await nats.start()
    await until(lambda: rig.link.is_connected)


async def test_stops_at_once_when_nothing_runs(rig: Rig, caller: Caller) -> None:
    """The last beat says that the node is gone."""
    await caller.ready()
    await asyncio.wait_for(rig.agent.stop(30, asyncio.Event()), 20)
    await caller.beat(lambda beat: beat.state == "gone", 4)


async def test_finishes_what_runs_before_it_stops(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """A drain lets an answer end, and takes nothing new meanwhile."""
    rig = await make_agent(external(await make_mock(Options(first_byte_delay=0.5))))
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    stopping = asyncio.create_task(rig.agent.stop(30, asyncio.Event()))
    await caller.beat(lambda beat: beat.state == "draining", 4)
    assert isinstance((await caller.call("a2", PLAIN).over()).last, Refused)
    assert isinstance((await call.over()).last, End)
    await asyncio.wait_for(stopping, 20)


async def test_hurries_when_asked_twice(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """A second signal ends what runs with a word to the gateway."""
    rig = await make_agent(external(await make_mock(Options(first_byte_delay=30))))
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    hurry = asyncio.Event()
    stopping = asyncio.create_task(rig.agent.stop(30, hurry))
    await caller.beat(lambda beat: beat.state == "draining", 4)
    hurry.set()
    await asyncio.wait_for(stopping, 20)
    assert (await call.over()).last == Fail("shutdown")


async def test_an_engine_that_goes_away_and_returns(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """The owner's server is stopped and started again; the agent finds it by itself."""
    mock = await make_mock(Options())
    await make_agent(external(mock))
    await caller.ready()
    port = mock.port
    await mock.close()
    call = await caller.call("a1", PLAIN).over()
    assert isinstance(call.last, Fail)
    assert call.last.code == "engine_lost"
    await caller.beat(lambda beat: beat.models[0].engine == "loading", 20)
    assert (await caller.call("a2", PLAIN).over()).last.code == "loading"  # type: ignore[union-attr]
    async with MockEngine(Options(), port=port):
        await caller.ready(20)
        assert isinstance((await caller.call("a3", PLAIN).over()).last, End)


async def test_an_engine_without_the_model_is_not_ready(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller
) -> None:
    """The owner is told which name the server does not know."""
    mock = await make_mock(Options(models="other"))
    engine = external(mock)
    engine._offers = external(await make_mock(Options(models="mine"))).offers
    await make_agent(engine)
    beat = await caller.beat(lambda beat: "mine" in beat.reason, 20)
    assert beat.state == "joining"


async def test_a_beat_that_fails_is_not_the_last(rig: Rig, caller: Caller) -> None:
    """Whatever it failed for: a node that beats no more is gone to everybody."""
    errors = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]

    def memory() -> int:
        if errors:
            raise errors.pop()
        return 4711

    rig.agent._free_memory = memory
    await caller.beat(lambda beat: beat.free_memory == 4711, 20)


def test_knows_the_free_memory() -> None:
    """Some memory is free, and not more than there is anywhere."""
    assert 1 << 20 < free_memory() < 1 << 50


def test_the_node_of_these_tests_is_one_token() -> None:
    """A dot in the id would open other subjects."""
    assert "." not in NODE


async def test_a_server_that_dies_under_a_stream_is_noticed(
    make_agent: MakeAgent, make_mock: MakeMock, caller: Caller, nats: NatsProcess
) -> None:
    """Sending all the time when the server goes hides its going from nobody."""
    rig = await make_agent(external(await make_mock(Options(chunk_delay=0.001, chunks=100_000))))
    await caller.ready()
    for number in range(3):
        await until(lambda: rig.link.is_connected)
        body = PLAIN.replace(b',"max_tokens":4', b',"stream":true')
        call = caller.call(f"a{number}", body, stream=True)
        await call.until(lambda call: len(call.body) > 0)
        nats.stop(signal.SIGKILL)
        await until(lambda: not rig.agent.busy, 20)
        seen = len(caller.beats)
        await nats.start()
        await until(lambda seen=seen: len(caller.beats) > seen, 10)  # type: ignore[misc]
