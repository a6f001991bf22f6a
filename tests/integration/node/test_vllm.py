"""vLLM behind the agent: its life, with a server that stands in for it."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.node.conftest import MakeAgent, Rig
from tests.parts import fake_vllm
from tests.parts.job_caller import Caller, until
from tests.parts.waiting import eventually

from garage_ai.node.engines import warden
from garage_ai.node.engines.link import EngineLink
from garage_ai.node.engines.orphans import end_orphans
from garage_ai.node.engines.vllm import Patience, VllmEngine
from garage_ai.node.engines.vllm_options import MARK, VllmOptions
from garage_ai.node.hardware.families import families
from garage_ai.wire.frames import End, Fail, Head, Refused
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import BeatNow, ModelKind

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DIGEST = Digest("sha256:" + "b" * 64)
WARDEN = [sys.executable, "-I", "-S", warden.__file__]
QUICK = Patience(token=2, idle=0.5, look=0.2, misses=50)


def chat(**more: object) -> bytes:
    body = {"model": "garage-chat", "messages": [{"role": "user", "content": "Hej"}]} | more
    return json.dumps(body).encode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment of vLLM is."""
    monkeypatch.setenv("GAI_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://p")
    fake_vllm.make_python(tmp_path / "env", mock={"chunks": 4})
    return tmp_path / "env"


def make(home: Path, patience: Patience | None = None, kind: ModelKind = "chat") -> VllmEngine:
    """An engine with two slots, not yet started."""
    options = VllmOptions(
        python=home / "python",
        folder=home,
        name="small",
        digest=DIGEST,
        kind=kind,
        slots=2,
        context=512,
        cache_gib=1,
    )
    return VllmEngine(
        options,
        run=home.parent / "run",
        logs=home.parent / "logs",
        patience=patience,
    )


@pytest.fixture
def engine(home: Path) -> VllmEngine:
    """An engine that is patient."""
    return make(home)


@pytest.fixture
async def lent(make_agent: MakeAgent, engine: VllmEngine, caller: Caller) -> Rig:
    """An agent that serves it."""
    rig = await make_agent(engine)
    await caller.ready()
    return rig


@pytest.fixture
async def inside(home: Path) -> AsyncIterator[EngineLink]:
    """A look at the server itself."""
    link = EngineLink("http://engine", socket=lambda: str(home.parent / "run" / "engine.sock"))
    link.open()
    yield link
    await link.close()


async def looked(link: EngineLink, path: str) -> Any:
    _, page = await link.get(path, seconds=5)
    return json.loads(page)


async def test_answers_through_packets(
    lent: Rig, caller: Caller, home: Path, inside: EngineLink
) -> None:
    """Plain and streamed answers come as vLLM gives them, under the model's own name."""
    plain = await caller.call("a1", chat(max_tokens=3)).over()
    assert plain.head is not None
    assert plain.head.status == 200
    assert json.loads(plain.body)["model"] == "small"
    stream = await caller.call("a2", chat(stream=True), stream=True).over()
    assert stream.head == Head(200, "text/event-stream")
    assert stream.body.endswith(b"data: [DONE]\n\n")
    folder = home.parent / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    told = fake_vllm.started(home)
    assert told["argv"][told["argv"].index("--max-num-seqs") + 1] == "2"
    assert told["environment"]["HF_HUB_OFFLINE"] == "1"
    assert not [name for name in told["environment"] if name.startswith(("GAI_", "HTTPS_"))]


async def test_the_salt_is_the_gateways(lent: Rig, caller: Caller, inside: EngineLink) -> None:
    """The member's salt reaches vLLM; what a client put there does not, nor does nothing at all."""
    await caller.call("a1", chat(cache_salt="mine"), salt="member-7").over()
    asked = json.loads((await looked(inside, "/mock/last"))["body"])
    assert asked["cache_salt"] == "member-7"
    unsalted = []
    for attempt in ("a2", "a3"):
        await caller.call(attempt, chat(cache_salt="mine")).over()
        unsalted.append(json.loads((await looked(inside, "/mock/last"))["body"])["cache_salt"])
    assert len({*unsalted, "mine"}) == 3


async def test_a_cancel_frees_the_slot(
    make_agent: MakeAgent, caller: Caller, home: Path, inside: EngineLink
) -> None:
    """vLLM sees its client leave, whether it streams or not."""
    fake_vllm.tell(home, mock={"first_byte_delay": 1.5})
    await make_agent(make(home))
    await caller.ready()
    for number, stream in enumerate((True, False)):
        body = chat(stream=stream, max_tokens=4000)
        call = caller.call(f"a{number}", body, stream=stream)
        await until_running(inside, 1)
        call.cancel()
        assert (await call.over()).last == Fail("cancelled")
        await until_running(inside, 0)


async def until_running(link: EngineLink, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if (await looked(link, "/mock/state"))["running"] == count:
                return
            await asyncio.sleep(0.02)


async def test_loading_is_told_with_progress_and_a_guess(
    make_agent: MakeAgent, caller: Caller, home: Path, engine: VllmEngine
) -> None:
    """The owner and the gateways hear how far it is; the second time also how long it will take."""
    fake_vllm.tell(home, waits=True)
    await make_agent(engine)
    beat = await caller.beat(lambda beat: "loading weights 1/2" in beat.reason, 20)
    assert (beat.state, beat.models[0].engine, beat.models[0].ready_in) == ("joining", "loading", 0)
    refused = await caller.call("a1", chat()).over()
    assert isinstance(refused.last, Refused)
    assert refused.last.code == "loading"
    fake_vllm.go(home)
    await caller.ready()

    (home / "go").unlink()
    os.kill(fake_vllm.started(home)["pid"], signal.SIGKILL)
    await until(lambda: engine.state == "loading")
    beat = await caller.beat(lambda beat: beat.models[0].ready_in > 0, 20)
    assert beat.models[0].engine == "loading"
    fake_vllm.go(home)
    await caller.ready()


async def test_a_start_that_fails_says_why(
    make_agent: MakeAgent, caller: Caller, home: Path, engine: VllmEngine
) -> None:
    """The root cause is told with advice, not the last line; then it is tried again."""
    fake_vllm.tell(home, fails=True)
    await make_agent(engine)
    beat = await caller.beat(lambda beat: "--memory-share" in beat.reason, 30)
    assert "Free memory on device cuda:0 (3.1/23.6 GiB)" in beat.reason
    assert beat.state == "joining"
    fake_vllm.tell(home, fails=False)
    await caller.ready()


async def test_a_model_that_embeds_is_asked_to_embed(home: Path, inside: EngineLink) -> None:
    """vLLM completes nothing with it: it would be proved by what it refuses, and never serve."""
    engine = make(home, kind="embedding")
    await engine.start()
    try:
        await until(lambda: engine.state == "ready")
        assert (await looked(inside, "/mock/last"))["line"] == "POST /v1/embeddings HTTP/1.1"
    finally:
        await engine.stop()


async def test_heals_after_it_was_killed(
    lent: Rig, caller: Caller, home: Path, engine: VllmEngine
) -> None:
    """kill -9 of vLLM's server ends all its processes, and a new one serves."""
    before = fake_vllm.started(home)
    core = psutil.Process(before["core"])
    os.kill(before["pid"], signal.SIGKILL)
    await caller.beat(lambda beat: beat.models[0].engine == "loading", 20)
    assert not core.is_running()
    await caller.ready()
    assert fake_vllm.started(home)["pid"] != before["pid"]
    again = await caller.call("a1", chat(max_tokens=2)).over()
    assert isinstance(again.last, End)


async def test_heals_after_it_hangs(make_agent: MakeAgent, caller: Caller, home: Path) -> None:
    """An idle server that no longer answers is found by a token that does not come."""
    await make_agent(make(home, QUICK))
    await caller.ready()
    before = fake_vllm.started(home)
    os.kill(before["pid"], signal.SIGSTOP)
    await caller.beat(lambda beat: beat.models[0].engine == "loading", 20)
    await caller.ready()
    assert fake_vllm.started(home)["pid"] != before["pid"]
    assert not psutil.pid_exists(before["pid"])


async def test_its_load_is_read(make_agent: MakeAgent, caller: Caller, home: Path) -> None:
    """What vLLM says of its own queue and cache is known to the agent."""
    fake_vllm.tell(home, mock={"chunks": 4, "slots": 1, "first_byte_delay": 0.3})
    engine = make(home, Patience(look=0.05))
    await make_agent(engine)
    await caller.ready()
    calls = [caller.call(f"a{number}", chat()) for number in range(2)]
    await until(lambda: engine.load is not None and engine.load.waiting == 1)
    assert engine.load is not None
    assert (engine.load.running, engine.load.cache_used) == (1, 0.25)
    caller.control(BeatNow(0.0))
    await caller.beat(lambda beat: beat.models[0].waiting == 1)
    for call in calls:
        assert isinstance((await call.over()).last, End)


async def test_stop_leaves_nothing(engine: VllmEngine, home: Path) -> None:
    """All of its processes end with it, also one that ignores what it is told."""
    await engine.start()
    await until(lambda: engine.state == "ready")
    told = fake_vllm.started(home)
    os.kill(told["core"], signal.SIGSTOP)
    await engine.stop()
    assert not psutil.pid_exists(told["pid"])
    assert not psutil.pid_exists(told["core"])
    assert engine.state == "stopped"


async def test_release_gives_all_back_at_once(engine: VllmEngine, home: Path) -> None:
    """The owner's game does not wait for a server that is slow to end; later it serves again."""
    await engine.start()
    await until(lambda: engine.state == "ready")
    told = fake_vllm.started(home)
    assert {told["pid"], told["core"]} <= families(engine.pids)
    os.kill(told["pid"], signal.SIGSTOP)
    await engine.release()
    assert engine.state == "stopped"
    assert engine.pids == frozenset()
    assert not psutil.pid_exists(told["pid"])
    assert not psutil.pid_exists(told["core"])
    await engine.start()
    await until(lambda: engine.state == "ready")
    await engine.stop()


def test_orphans_of_a_dead_agent_are_ended(tmp_path: Path) -> None:
    """Whatever has the mark of the folder is killed, and nobody else."""
    argv = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    kept, ended = (
        subprocess.Popen(argv, env={MARK: str(run)}, stdout=subprocess.PIPE)
        for run in (tmp_path / "other", tmp_path)
    )
    for each in (kept, ended):
        assert each.stdout is not None
        each.stdout.readline()
        each.stdout.close()
    try:
        assert asyncio.run(end_orphans(MARK, tmp_path)) == 1
        assert not psutil.pid_exists(ended.pid)
        assert kept.poll() is None
    finally:
        for each in (kept, ended):
            each.kill()
            each.wait()


PARENT = (
    "import os, subprocess, sys, time\n"
    "argv = [*sys.argv[1:5], str(os.getpid()), *sys.argv[5:]]\n"
    "subprocess.Popen(argv); time.sleep(60)"
)
FAMILY = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True); time.sleep(60)"
)


def test_all_die_with_the_agent() -> None:
    """kill -9 of the parent ends warden, engine and what the engine started."""
    argv = [sys.executable, "-c", PARENT, *WARDEN, sys.executable, "-c", FAMILY]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = psutil.Process(int(parent.stdout.readline()))
        family = [grandchild, *grandchild.parents()[:2]]
        parent.kill()
        parent.wait()
        eventually("the end of all", lambda: not any(map(psutil.Process.is_running, family)))


def test_in_a_container_all_die_with_whoever_holds_stdin() -> None:
    """Its end is a SIGTERM; the engine itself has no stdin, and its socket is open to the agent."""
    code = "import os, sys; print(repr(sys.stdin.read()), os.umask(0), flush=True)\n" + FAMILY
    argv = [*WARDEN, "stdin", sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == b"'' 0\n"
        family = [psutil.Process(int(first.stdout.readline()))]
        family += family[0].parents()[:1]
        first.stdin.close()
        assert first.wait(30) == -signal.SIGKILL
        assert not any(map(psutil.Process.is_running, family))


@pytest.mark.parametrize(("code", "status"), [("exit(3)", 3), ("kill(getpid(), 9)", -9)])
def test_ends_as_the_engine_ends(code: str, status: int) -> None:
    """Status and signal are passed on."""
    argv = [*WARDEN, str(os.getpid()), sys.executable, "-c", f"from os import *; {code}"]
    assert subprocess.run(argv, timeout=20, check=False).returncode == status
