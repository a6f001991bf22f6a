"""`gai node update` on a PC with a real agent, real wheels and real environments."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.integration.node.test_process import (  # noqa: F401 - fixtures
    PLAIN,
    Calls,
    calls,
    edge,
)
from tests.parts.edge import Edge
from tests.parts.home import Home
from tests.parts.job_caller import until
from tests.parts.program import Program
from tests.parts.releases import Fault, build_wheel, release

from garage_ai.node.update.plan import State
from garage_ai.node.update.release import page_name
from garage_ai.node.update.versions import UNFINISHED, Versions
from garage_ai.wire.frames import End
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240), pytest.mark.slow]

OURS = KeyPair.generate(Role.USER)


GOOD: Final = "0.2.0"
FAULTY: Final[dict[str, Fault]] = {"0.3.0": "dies", "0.4.0": "hangs", "0.5.0": "import"}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one release, the newest."""
    folder = tmp_path_factory.mktemp("releases")
    page = release(build_wheel(GOOD, folder), OURS)
    (folder / "latest.json").write_bytes(page.read_bytes())
    return folder


def with_faulty(releases: Path, version: str) -> str:
    """Release a version that is broken in its own way, if it is not there yet."""
    if not (releases / page_name(version)).exists():
        release(build_wheel(version, releases, FAULTY[version]), OURS)
    return version


@dataclass
class Pc:
    """A PC whose agent serves, and where releases come from."""

    home: Home
    releases: Path
    agent: Program
    versions: Versions

    @property
    def state(self) -> State:
        """What is chosen."""
        return self.versions.load()

    def begin(self, *argv: str) -> Program:
        """Begin an update."""
        return self.home.start("update", *argv, home=self._told)

    async def update(self, *argv: str) -> tuple[int, str]:
        """Type an update and wait for its end."""
        program = self.begin(*argv)
        await until(lambda: program.ended is not None, 120)
        return program.process.returncode, program.output()

    async def serves(self, version: str) -> dict[str, Any]:
        """Wait until the agent is ready in a version."""
        seen: dict[str, Any] = {}
        for _ in range(200):
            code, said = await self.home.type("status", "--json")
            seen = json.loads(said) if code == 0 else {}
            if (seen.get("agent"), seen.get("state")) == (version, "ready"):
                return seen
            await asyncio.sleep(0.1)
        raise AssertionError(f"{version} does not serve: {seen}\n{self.agent.tail()}")

    @property
    def _told(self) -> dict[str, str]:
        return {"GAI_RELEASES": str(self.releases), "GAI_RELEASE_KEY": OURS.public}


@pytest.fixture
async def pc(
    tmp_path: Path,
    edge: Edge,  # noqa: F811
    make_mock: MakeMock,
    releases: Path,
) -> AsyncIterator[Pc]:
    """A PC that has joined with the installed version."""
    home = Home(tmp_path / "home", edge, await make_mock(Options(models="mock")))
    agent = await home.join()
    made = Pc(home, releases, agent, Versions(home.folder.path))
    await made.serves("0.1.0")
    yield made
    home.stop()


async def test_there_and_back(pc: Pc, calls: Calls) -> None:  # noqa: F811
    """The newest is found, installed, tried and serves; one word brings the old one back."""
    code, said = await pc.update("--check")
    assert (code, "0.1.0 here, 0.2.0 of 2026-11-25" in said) == (0, True), said
    assert pc.versions.load() == State()
    caller = await calls.to(await pc.home.node())
    await caller.ready()

    code, said = await pc.update()
    assert code == 0, said + pc.agent.tail()
    assert "0.2.0 serves" in said
    status = await pc.serves("0.2.0")
    assert pc.agent.ended is None, "the same process goes on: the same terminal, the same unit"
    assert psutil.Process(status["pid"]).ppid() == pc.agent.pid
    await caller.beat(lambda beat: (beat.agent, beat.state) == ("0.2.0", "ready"), 30)
    assert isinstance((await caller.call("a1", PLAIN).over()).last, End)
    assert pc.state == State("0.2.0", "", installed=pc.state.installed)

    code, said = await pc.update()
    assert (code, "0.2.0 is the newest" in said) == (0, True), said

    # The watcher passes on that the agent is to end, and ends as it does.
    os.kill(pc.agent.pid, signal.SIGTERM)
    await until(lambda: pc.agent.ended is not None, 30)
    assert pc.agent.ended == 0, pc.agent.tail()
    pc.agent = pc.home.start("run")
    assert (await pc.serves("0.2.0"))["pid"] == pc.agent.pid, "what is proved needs no watcher"

    code, said = await pc.update("--rollback")
    assert code == 0, said
    assert (await pc.serves("0.1.0"))["pid"] == pc.agent.pid
    assert (await pc.update("--rollback"))[0] == 36
    code, said = await pc.update("--to", "0.2.0", "--json")
    told = json.loads(said[said.index("{") :])
    assert (code, told) == (0, {"version": "0.2.0", "runs": "0.2.0"})


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.3.0", "it ended with status 9"), ("0.4.0", "it did not serve within 4 s")],
)
async def test_one_that_does_not_serve_is_taken_back(pc: Pc, version: str, words: str) -> None:
    """Whether it dies or hangs: the old one serves again by itself, and says what happened."""
    code, said = await pc.update("--to", with_faulty(pc.releases, version), "--within", "4")
    assert code == 37, said
    assert words in said
    await pc.serves("0.1.0")
    assert pc.agent.ended is None
    assert (pc.state.current, pc.state.trial) == ("", None)
    code, said = await pc.update("--check")
    assert f"{version} was tried and taken back: {words}" in said


async def test_one_that_cannot_be_loaded_is_never_chosen(pc: Pc) -> None:
    """The agent does not even notice, and nothing but the log stays on the disk."""
    pid = (await pc.home.status())["pid"]
    code, said = await pc.update("--to", with_faulty(pc.releases, "0.5.0"))
    assert code == 32, said
    assert "ImportError: no such thing" in said
    left = {each.name for each in pc.versions.home("0.5.0").iterdir()}
    assert left == {UNFINISHED, "install.log"}
    assert pc.versions.load() == State()
    assert (await pc.serves("0.1.0"))["pid"] == pid


async def test_killed_while_it_installs(pc: Pc) -> None:
    """Nothing is chosen, the agent runs on, and the next try is not held up by what is left."""
    pid = (await pc.home.status())["pid"]
    program = pc.begin()
    unfinished = pc.versions.home("0.2.0") / UNFINISHED
    await until(unfinished.exists, 60)
    program.family()
    os.kill(program.pid, signal.SIGKILL)
    await until(lambda: program.ended is not None, 20)
    assert unfinished.exists()
    assert pc.versions.load() == State()
    assert (await pc.serves("0.1.0"))["pid"] == pid
    await until(lambda: not program.family(), 60)
    code, said = await pc.update()
    assert code == 0, said
    await pc.serves("0.2.0")


async def test_killed_between_the_choice_and_the_restart(pc: Pc) -> None:
    """The old one runs on; its next start tries the new one."""
    program = pc.begin()
    await until(lambda: pc.state.current == "0.2.0", 60)
    os.kill(program.pid, signal.SIGKILL)
    await pc.home.type("status")
    pc.agent.stop()
    pc.agent = pc.home.start("run")
    await pc.serves("0.2.0")
    await until(lambda: pc.state.trial is None, 30)
    assert (pc.state.current, pc.state.before) == ("0.2.0", "")


async def test_killed_while_it_is_tried(pc: Pc) -> None:
    """The new one dies with its watcher, and has had its chance: the next start is the old one."""
    program = pc.begin("--to", with_faulty(pc.releases, "0.4.0"))
    await until(lambda: pc.state.trial is not None and pc.state.trial.started, 60)
    await until(lambda: len(pc.agent.family()) > 1, 30)
    os.kill(pc.agent.pid, signal.SIGKILL)
    await until(lambda: not pc.agent.family(), 30)
    pc.agent = pc.home.start("run")
    await pc.serves("0.1.0")
    assert pc.state.failed is not None
    assert pc.state.failed.reason == "it ended before it served"
    await until(lambda: program.ended is not None, 30)
    assert program.ended == 37, program.output()


async def test_an_owner_who_stops_it_while_it_is_tried_is_no_verdict(pc: Pc) -> None:
    """It is tried again at the next start."""
    program = pc.begin("--to", with_faulty(pc.releases, "0.4.0"))
    await until(lambda: pc.state.trial is not None and pc.state.trial.started, 60)
    await until(lambda: len(pc.agent.family()) > 1, 30)
    os.kill(pc.agent.pid, signal.SIGTERM)
    await until(lambda: pc.agent.ended is not None, 60)
    assert pc.state.trial is not None
    assert not pc.state.trial.started
    program.stop()


async def test_only_what_was_signed_and_is_newer(pc: Pc, tmp_path: Path) -> None:
    """No key, another key, another wheel, an older version: each is refused with its own status."""
    page = pc.releases / "garage-ai-0.2.0.json"
    for key, status in (("", 33), (str(KeyPair.generate(Role.USER).public), 34), ("U", 34)):
        program = pc.home.start("update", "--to", str(page), home={"GAI_RELEASE_KEY": key})
        await until(lambda program=program: program.ended is not None, 30)  # type: ignore[misc]
        assert program.ended == status, program.output()
    (tmp_path / "garage-ai-0.2.0.json").write_bytes(page.read_bytes())
    wheel = (pc.releases / "garage_ai-0.2.0-py3-none-any.whl").read_bytes()
    (tmp_path / "garage_ai-0.2.0-py3-none-any.whl").write_bytes(wheel[:-1] + b"x")
    code, said = await pc.update("--to", str(tmp_path / "garage-ai-0.2.0.json"))
    assert (code, "is not what was released" in said) == (34, True), said
    assert (await pc.update("--to", "0.9.9"))[0] == 35
    assert pc.versions.load() == State()
