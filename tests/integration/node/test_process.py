"""`gai node` as a process: joined to a real gateway's books, on a real NATS server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge
from tests.parts.home import Home
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.wire.connection import Connection, connect
from garage_ai.wire.frames import End, Fail
from garage_ai.wire.ids import NodeId

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLAIN = b'{"model":"garage-chat","messages":[{"role":"user","content":"hi"}],"max_tokens":4}'
IDLE_SECONDS = 5.0
WATCHING_SECONDS = 15.0
LOOKS = 4
QUIET = 0.03
"""Share of a core beside a busy suite; `bench.idle` holds the promise of 0.01 when all is quiet."""


@pytest.fixture
async def edge(tmp_path: Path, nats: NatsProcess) -> AsyncIterator[Edge]:
    """A gateway with real accounts, whose nodes dial the real server with the same keys."""
    async with running_edge(tmp_path, nats_urls=[nats.tcp_url]) as running:
        yield running


@pytest.fixture
async def home(tmp_path: Path, edge: Edge, make_mock: MakeMock) -> AsyncIterator[Home]:
    """A PC whose owner runs a server of his own."""
    made = Home(tmp_path / "home", edge, await make_mock(Options(models="mock")))
    yield made
    made.stop()


@pytest.fixture
async def slow_home(
    request: pytest.FixtureRequest, tmp_path: Path, edge: Edge, make_mock: MakeMock
) -> AsyncIterator[Home]:
    """A PC whose server thinks for a second and a half, or for as long as the test says."""
    seconds = getattr(request, "param", 1.5)
    mock = await make_mock(Options(models="mock", first_byte_delay=seconds))
    made = Home(tmp_path / "slow", edge, mock)
    yield made
    made.stop()


class Calls:
    """Gateways for nodes whose id is known only once they have joined."""

    def __init__(self, nats: NatsProcess, authority: Authority) -> None:
        self._nats = nats
        self._authority = authority
        self._links: list[Connection] = []

    async def to(self, node: NodeId) -> Caller:
        """Give a gateway that hears a node."""
        caller = Caller(node)
        link = await connect(
            [self._nats.tcp_url],
            credentials=self._authority.gateway_credentials(caller.gateway),
            name="gateway",
            give_up_after=10,
        )
        self._links.append(link)
        await caller.start(link)
        return caller

    async def close(self) -> None:
        """Close them all."""
        for link in self._links:
            await link.close()


@pytest.fixture
async def calls(nats: NatsProcess, authority: Authority) -> AsyncIterator[Calls]:
    """Gateways for nodes that are yet to come."""
    made = Calls(nats, authority)
    yield made
    await made.close()


async def test_joins_serves_and_stops(home: Home, calls: Calls) -> None:
    """One command enrols and serves; SIGTERM ends an idle agent at once, with status 0."""
    program = await home.join()
    caller = await calls.to(await home.node())
    await caller.ready()
    assert isinstance((await caller.call("a1", PLAIN).over()).last, End)
    status = await home.status()
    assert (status["state"], status["running"], status["slots"]) == ("ready", 0, 32)
    assert status["totals"]["answered"] == 1  # type: ignore[index]
    began = time.monotonic()
    os.kill(program.pid, signal.SIGTERM)
    await caller.beat(lambda beat: beat.state == "gone", 20)
    await until(lambda: program.ended is not None, 20)
    assert time.monotonic() - began < 10
    assert program.ended == 0
    assert "stopped" in program.output()
    code, said = await home.type("status")
    assert code == 9
    assert "gai node run" in said


async def test_serves_again_without_a_token(home: Home, calls: Calls) -> None:
    """`gai node run` takes identity and engine from the folder; a kill -9 leaves it usable."""
    program = await home.join()
    caller = await calls.to(await home.node())
    first = await caller.ready()
    os.kill(program.pid, signal.SIGKILL)
    await until(lambda: program.ended is not None)
    home.start("run")
    beat = await caller.beat(
        lambda beat: beat.session != first.session and beat.state == "ready", 30
    )
    assert beat.models == first.models
    assert isinstance((await caller.call("a1", PLAIN).over()).last, End)


async def test_finishes_a_request_before_it_stops(slow_home: Home, calls: Calls) -> None:
    """SIGTERM lets the answer under way come to its end."""
    program = await slow_home.join()
    caller = await calls.to(await slow_home.node())
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    os.kill(program.pid, signal.SIGTERM)
    assert isinstance((await call.over()).last, End)
    await until(lambda: program.ended is not None)
    assert program.ended == 0


async def test_a_terminal_that_is_closed_stops_it_and_hurries_nothing(
    slow_home: Home, calls: Calls
) -> None:
    """The shell tells it, and the kernel once more; the answer under way comes to its end."""
    program = await slow_home.join()
    caller = await calls.to(await slow_home.node())
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    os.kill(program.pid, signal.SIGHUP)
    # One that hears it only after its answer has nothing to drain.
    await caller.beat(lambda beat: beat.state in ("draining", "gone"), 20)
    os.kill(program.pid, signal.SIGHUP)
    assert isinstance((await call.over()).last, End)
    await caller.beat(lambda beat: beat.state == "gone", 20)
    await until(lambda: program.ended is not None)
    assert program.ended == 0


@pytest.mark.parametrize("slow_home", [60.0], indirect=True)
async def test_a_second_signal_hurries(slow_home: Home, calls: Calls) -> None:
    """Asked twice, it ends what runs with a word."""
    program = await slow_home.join()
    caller = await calls.to(await slow_home.node())
    await caller.ready()
    call = caller.call("a1", PLAIN)
    await call.until(lambda call: call.accepted)
    os.kill(program.pid, signal.SIGTERM)
    await caller.beat(lambda beat: beat.state == "draining", 20)
    os.kill(program.pid, signal.SIGTERM)
    assert (await call.over()).last == Fail("shutdown")
    await until(lambda: program.ended is not None)
    assert program.ended == 0


async def test_one_agent_for_one_folder(home: Home, calls: Calls) -> None:
    """A second agent is told the pid of the first and ends."""
    program = await home.join()
    await (await calls.to(await home.node())).ready()
    code, said = await home.type("run")
    assert code == 6
    held = (home.folder.path / "agent.lock").read_text().strip()
    assert f"pid {held}" in said
    assert program.ended is None


async def test_a_pause_outlives_the_agent(home: Home, calls: Calls) -> None:
    """Paused by one agent, told by the next, ended by resume."""
    program = await home.join()
    caller = await calls.to(await home.node())
    first = await caller.ready()
    assert (await home.type("pause"))[0] == 0
    await caller.beat(lambda beat: beat.state == "paused", 20)
    os.kill(program.pid, signal.SIGTERM)
    await until(lambda: program.ended is not None)
    home.start("run")
    await caller.beat(lambda beat: beat.state == "paused" and beat.session != first.session, 30)
    assert (await home.type("resume"))[0] == 0
    await caller.beat(lambda beat: beat.state == "ready", 20)
    assert (await home.type("drain"))[0] == 0
    await caller.beat(lambda beat: beat.state == "draining", 20)


async def test_leaves_the_network(home: Home, calls: Calls) -> None:
    """`gai node leave` stops the agent, strikes the node off and forgets the identity."""
    program = await home.join()
    node = await home.node()
    await (await calls.to(node)).ready()
    code, said = await home.type("leave")
    assert code == 0, said
    await until(lambda: program.ended is not None)
    assert program.ended == 0
    assert home.edge.network.removed == [node]
    code, said = await home.type("run")
    assert code == 5
    assert "gai node join" in said


async def test_a_removed_node_ends_with_a_clear_word(
    home: Home, calls: Calls, nats: NatsProcess, authority: Authority
) -> None:
    """Cut off by the server, it asks the gateway, learns that it was removed, and ends."""
    program = await home.join()
    node = await home.node()
    await (await calls.to(node)).ready()
    key = home.folder.identity.load().public_key
    await home.edge.services.enrolment.remove(node)
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(key)
    await until(lambda: program.ended is not None, 30)
    assert program.ended == 8
    assert "was removed" in program.output()


async def least_used(agent: psutil.Process, seconds: float) -> float:
    """Measure the share of a core that an agent uses, again while others press on the processor.

    What else runs on it makes each look dearer and none cheaper, so the least of a few counts.
    """
    used = 1.0
    for _ in range(LOOKS):
        before = agent.cpu_times()
        await asyncio.sleep(seconds)
        after = agent.cpu_times()
        spent = after.user + after.system - before.user - before.system
        used = min(used, spent / seconds)
        if used < QUIET:
            break
    return used


async def test_is_small_and_quiet_when_idle(home: Home, calls: Calls) -> None:
    """Under 80 MB, and next to nothing of a core."""
    await home.join()
    await (await calls.to(await home.node())).ready()
    status = await home.status()
    agent = psutil.Process(int(str(status["pid"])))
    used = await least_used(agent, IDLE_SECONDS)
    assert agent.memory_info().rss < 80e6
    assert used < QUIET


async def test_is_small_and_quiet_with_every_limit_set(home: Home, calls: Calls) -> None:
    """Watching for all that the owner may want costs no more than that."""
    await home.join()
    await (await calls.to(await home.node())).ready()
    limits = ["--pause-on", "some-game", "--max-cpu", "100", "--schedule", "00:00-24:00"]
    assert (await home.type("limits", *limits, "--max-upload", "50GB"))[0] == 0
    agent = psutil.Process(int(str((await home.status())["pid"])))
    used = await least_used(agent, WATCHING_SECONDS)
    assert agent.memory_info().rss < 80e6
    assert used < QUIET


async def test_a_mistake_is_said_in_one_sentence(home: Home) -> None:
    """Nothing is asked and no trace is shown."""
    code, said = await home.type("join", "not-a-url", "token")
    assert code == 2
    assert "not-a-url is no address of a gateway" in said
    code, said = await home.type("run")
    assert code == 5
    assert "Traceback" not in said
