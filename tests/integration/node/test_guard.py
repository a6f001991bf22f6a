"""The owner comes first: real processes take the PC from a real engine, and give it back."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.integration.node.test_llamacpp import DIGEST, NAME, chat, streamed, weights
from tests.integration.node.test_session import Node
from tests.parts.credentials import NODE
from tests.parts.job_caller import Caller, until
from tests.parts.nats import NatsProcess

from garage_ai.network.authority import Authority
from garage_ai.node import guarding
from garage_ai.node.control import ask_agent
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.guard import power
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.guard.readers.nvml import Card
from garage_ai.node.guard.readers.rapl import Rapl
from garage_ai.node.guard.tally import TALLY, Tally
from garage_ai.node.pauses import Pause
from garage_ai.node.session import NodeSession
from garage_ai.node.status import Status
from garage_ai.wire.connection import connect
from garage_ai.wire.frames import End, Fail, Leaving, Refused
from garage_ai.wire.messages import Beat
from garage_ai.wire.secret_files import replace_secret

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GAME = "guard-test-game"
LIMITS = Limits(pause_on=(GAME,), resume_after=1.0, drain=1.0)


class Pc:
    """A gaming PC: a node with a real engine, and programs that come and go."""

    def __init__(self, node: Node, engine: LlamaEngine, caller: Caller, folder: Path) -> None:
        self.node = node
        self.engine = engine
        self.caller = caller
        self._game = folder / GAME
        self._game.symlink_to(sys.executable)

    @property
    def session(self) -> NodeSession:
        """The session that runs."""
        assert self.node.session is not None
        return self.node.session

    def set(self, limits: Limits) -> None:
        """Do what `gai node limits` does."""
        save_limits(self.node.folder.path, limits)

    async def ask(self, op: str, pause: Pause | None = None) -> Status:
        """Say something to the agent, as the owner does."""
        return await asyncio.to_thread(
            ask_agent,
            self.node.folder.run,
            op,  # type: ignore[arg-type]
            pause=pause,
        )

    @contextlib.contextmanager
    def running(self, code: str = "input()") -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program by the name of a game."""
        child = subprocess.Popen([self._game, "-c", code], stdin=subprocess.PIPE)
        try:
            yield child
        finally:
            child.kill()
            child.communicate(timeout=30)

    async def serves(self) -> Beat:
        """Wait until it says that it is ready, with its engine."""
        count = len(self.caller.beats)
        await until(
            lambda: any(
                beat.state == "ready" and beat.models[0].engine == "ready"
                for beat in self.caller.beats[count:]
            ),
            40,
        )
        return self.caller.beats[-1]

    async def stands_back(self, state: str = "paused") -> Beat:
        """Wait until it says that it does not serve."""
        return await self.caller.beat(
            lambda beat: beat.state == state and beat is self.caller.beats[-1], 40
        )


@pytest.fixture
async def pc(
    nats: NatsProcess,
    authority: Authority,
    tmp_path: Path,
) -> AsyncIterator[Pc]:
    """The PC; its session is for the test to start."""
    caller = Caller(NODE)
    link = await connect(
        [nats.tcp_url],
        credentials=authority.gateway_credentials(caller.gateway),
        name="gateway",
        give_up_after=10,
    )
    await caller.start(link)
    node = Node(tmp_path / "node", authority, nats.tcp_url)
    options = LlamaOptions(
        weights=weights(), name=NAME, digest=DIGEST, kind="chat", slots=2, context=512, threads=1
    )
    engine = LlamaEngine(options, run=node.folder.run, logs=node.folder.logs)
    made = Pc(node, engine, caller, tmp_path)
    made.set(LIMITS)
    yield made
    await node.stop()
    await link.close()


async def test_a_game_takes_the_pc_and_gives_it_back(pc: Pc) -> None:
    """Streams end as yielded, the engine's process is gone, and it comes back by itself."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    (pid,) = pc.engine.pids
    call = pc.caller.call("a1", streamed(max_tokens=450, ignore_eos=True), stream=True)
    await call.until(lambda call: len(call.body) > 0)
    with pc.running():
        assert (await call.over()).last == Fail("yielded")
        await until(lambda: not psutil.pid_exists(pid))
        beat = await pc.stands_back()
        # Which game it is stays at home.
        assert beat.reason == "its owner needs the PC"
        refused = await pc.caller.call("a2", chat(max_tokens=1)).over()
        assert refused.last == Refused("paused", "its owner needs the PC")
        status = await pc.ask("status")
        assert status.guard is not None
        assert (status.guard.action, status.guard.signal) == ("release", "game")
        assert status.guard.reason.sv == f"{GAME} körs"
        assert (status.engine.state, pc.engine.pids) == ("stopped", frozenset())
    await pc.serves()
    assert isinstance((await pc.caller.call("a3", chat(max_tokens=1)).over()).last, End)
    status = await pc.ask("status")
    assert status.guard is not None
    assert status.guard.action == "serve"
    assert [each.signal for each in status.guard.pauses] == ["game"]
    assert status.guard.pauses[0].until is not None
    assert status.guard.today.sent_this_month > 0


async def test_an_agent_that_starts_under_a_game_loads_nothing(pc: Pc) -> None:
    """It looks before it loads; when the game is over, it loads."""
    with pc.running():
        pc.node.start_with(pc.engine)
        assert (await pc.stands_back()).reason == "its owner needs the PC"
        assert pc.engine.state == "stopped"
        assert not (pc.node.folder.path / "logs/engine.log").exists()
    await pc.serves()


async def test_the_processor_can_be_wanted_too(pc: Pc) -> None:
    """Two programs at full speed drain the node, until the owner takes the limit away."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    spin = "while True: pass"
    with pc.running(spin), pc.running(spin), pc.running(spin):
        # Not sooner: other tests want the processor too.
        pc.set(Limits(max_cpu=40.0, drain=1.0, resume_after=1.0))
        await pc.ask("limits")
        await pc.stands_back()
        status = await pc.ask("status")
        assert status.guard is not None
        assert "of the processor" in status.guard.reason.en
        await until(lambda: not pc.engine.pids)
        pc.set(Limits(resume_after=1.0))
        await pc.ask("limits")
        await pc.serves()


async def test_a_pause_frees_the_memory_and_ends_by_itself(pc: Pc) -> None:
    """What runs is finished first if it can be, and the owner need not remember to resume."""
    pc.set(msgspec.structs.replace(LIMITS, drain=20.0))
    pc.node.start_with(pc.engine)
    await pc.serves()
    call = pc.caller.call("a1", chat(max_tokens=8))
    await call.until(lambda call: call.accepted)
    until_then = time.time() + 8.0
    status = await pc.ask("pause", Pause(until_then))
    assert status.state in ("draining", "paused")
    assert isinstance((await call.over()).last, End)
    assert (await pc.stands_back()).reason == "paused by its owner"
    status = await pc.ask("status")
    assert status.guard is not None
    assert status.guard.reason.en.startswith("paused by its owner until 20")
    await until(lambda: not pc.engine.pids)
    await pc.serves()
    assert time.time() >= until_then
    assert not pc.node.folder.paused


async def test_what_will_be_stopped_is_told_before(pc: Pc) -> None:
    """Gateways hear of it while others can still go on, and then that it was handed back."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    call = pc.caller.call("a1", streamed(max_tokens=450, ignore_eos=True), stream=True)
    await call.until(lambda call: len(call.body) > 0)
    await pc.ask("pause")
    assert (await call.over()).last == Fail("yielded")
    assert Leaving() in call.frames


async def test_a_month_of_electricity_comes_to_its_end(
    pc: Pc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node takes nothing new until the owner allows more, or the month is over."""
    package = tmp_path / "powercap" / "intel-rapl:0"
    package.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "9")):
        (package / name).write_text(text)
    monkeypatch.setattr(power, "Rapl", lambda: Rapl(package.parent))
    month = datetime.now().astimezone().strftime("%Y-%m")
    tally = Tally(month=month, kwh_in_month=5.0)
    replace_secret(pc.node.folder.path / TALLY, msgspec.json.encode(tally).decode())
    pc.set(Limits(max_kwh_month=4.0, resume_after=0.0))
    pc.node.start_with(pc.engine)
    assert (await pc.stands_back()).reason == "its owner's limit on electricity"
    status = await pc.ask("status")
    assert status.guard is not None
    said = "lending has drawn 5.0 kWh this month, and 4 are allowed"
    assert status.guard.reason.en == said
    assert status.guard.today.metered == ("processor",)
    pc.set(Limits(max_kwh_month=6.0, resume_after=0.0))
    await pc.ask("limits")
    beat = await pc.serves()
    assert beat.energy is not None
    assert beat.energy.kwh == 5.0


async def test_what_is_free_on_the_cards_is_told(pc: Pc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways hear how much room there is on all cards that tell it."""

    class Cards:
        def look(self) -> list[Card]:
            return [Card("GPU-0", free=5 * 2**30), Card("GPU-1", free=2**30), Card("GPU-2")]

    monkeypatch.setattr(guarding, "NvmlCards", Cards)
    pc.node.start_with(pc.engine)
    assert (await pc.serves()).free_vram == 6 * 2**30


async def test_a_pause_that_is_urgent_gives_up_what_runs(pc: Pc) -> None:
    """And `resume` is heard at once."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    call = pc.caller.call("a1", streamed(max_tokens=450, ignore_eos=True), stream=True)
    await call.until(lambda call: len(call.body) > 0)
    await pc.ask("pause", Pause(now=True))
    assert (await call.over()).last == Fail("yielded")
    assert (await pc.ask("resume")).state == "ready"
    await pc.serves()


async def test_stopped_while_it_frees_the_memory(pc: Pc) -> None:
    """The end of the agent in the middle of a release leaves no process behind."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    (pid,) = pc.engine.pids
    await pc.ask("pause", Pause(now=True))
    await pc.node.stop()
    assert not psutil.pid_exists(pid)
    assert pc.engine.state == "stopped"


async def test_limits_that_cannot_be_read_change_nothing(pc: Pc) -> None:
    """The owner is told, and the agent goes on with those it has."""
    pc.node.start_with(pc.engine)
    await pc.serves()
    (pc.node.folder.path / "limits.json").write_text("{never")
    with pytest.raises(Exception, match="cannot be used"):
        await pc.ask("limits")
    status = await pc.ask("status")
    assert status.guard is not None
    assert status.guard.limits == LIMITS
    assert (await pc.ask("pause", Pause(now=True))).state == "paused"
