"""The node as a service of a real systemd user manager."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge
from tests.parts.home import Home
from tests.parts.job_caller import until
from tests.parts.nats import NatsProcess
from tests.parts.user_manager import UserManager, verify

from garage_ai.network.authority import Authority
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.node.errors import NoServiceManager
from garage_ai.node.folder import NodeFolder
from garage_ai.node.records import record_with
from garage_ai.node.service.unit import unit_text
from garage_ai.node.service.user_manager import NodeService

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path, nats: NatsProcess) -> AsyncIterator[Edge]:
    """A gateway with real accounts, whose nodes dial the real server with the same keys."""
    async with running_edge(tmp_path, nats_urls=[nats.tcp_url]) as running:
        yield running


@pytest.fixture
async def home(tmp_path: Path, edge: Edge, make_mock: MakeMock) -> AsyncIterator[Home]:
    """A PC that systemd runs, in a folder with a space and a sign that systemd reads."""
    path = tmp_path / "my 100% home"
    manager = await asyncio.to_thread(UserManager, path)
    home = Home(path, edge, await make_mock(Options(models="mock")), inside=manager.inside)
    try:
        yield home
    finally:
        home.stop()
        await asyncio.to_thread(manager.stop)


async def service(home: Home) -> dict[str, object]:
    code, said = await home.type("service", "status", "--json")
    assert code == 0, said
    state: dict[str, object] = json.loads(said)
    return state


def unit_of(home: Home) -> Path:
    (unit,) = (home.path / ".config/systemd/user").glob("*.service")
    return unit


@pytest.mark.system
async def test_joins_into_the_background(home: Home) -> None:
    """`join --service` ends with a node that serves, and goes on without the terminal."""
    program = await home.join("--service")
    await until(lambda: program.ended is not None, 40)
    assert program.ended == 0, program.output()
    unit = unit_of(home)
    assert f"service: {unit}" in program.output()
    assert "ready" in program.output()
    status = await home.status()
    assert status["state"] == "ready"
    shown = await service(home)
    assert (shown["state"], shown["enabled"], shown["pid"]) == ("active", True, status["pid"])
    agent = psutil.Process(int(str(status["pid"])))
    assert agent.nice() == 10
    assert agent.ionice()[0] == psutil.IOPRIO_CLASS_IDLE
    environment = home.folder.path / "service.env"
    assert stat.S_IMODE(environment.stat().st_mode) == 0o600
    assert await asyncio.to_thread(verify, unit) == ""


@pytest.mark.system
async def test_joining_again_is_no_trouble(home: Home) -> None:
    """The same command again, a service or not: the same node, served by one agent."""
    first = await home.join("--service")
    await until(lambda: first.ended is not None, 40)
    before = await home.status()
    again = await home.join()
    await until(lambda: again.ended is not None, 40)
    assert again.ended == 0, again.output()
    after = await home.status()
    assert (after["node"], after["state"]) == (before["node"], "ready")
    here = await home.join("--no-service")
    await until(lambda: "serving mock" in here.output(), 40)
    assert not unit_of_any(home)
    assert (await home.status())["pid"] == (await agent_of(home)).pid


def unit_of_any(home: Home) -> list[Path]:
    return list((home.path / ".config/systemd/user").rglob("*.service"))


async def agent_of(home: Home) -> psutil.Process:
    """Wait for the agent that runs as a service; the file may still name the one that joined."""

    def named() -> psutil.Process | None:
        try:
            return psutil.Process(int((home.folder.path / "agent.lock").read_text()))
        except (ValueError, psutil.NoSuchProcess):
            return None

    await until(lambda: named() is not None, 30)
    found = named()
    assert found is not None
    return found


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_is_started_again_when_it_dies_and_not_when_it_was_removed(
    home: Home, nats: NatsProcess, authority: Authority
) -> None:
    """kill -9 is mended; a node that the network removed stays down, and says why."""
    program = await home.join("--service")
    await until(lambda: program.ended is not None, 40)
    node = await home.node()
    first = await agent_of(home)
    first.kill()
    await until(lambda: not first.is_running(), 30)
    assert await agent_of(home) != first
    key = home.folder.identity.load().public_key
    await home.edge.services.enrolment.remove(node)
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(key)

    async def given_up() -> dict[str, object]:
        while True:
            shown = await service(home)
            if shown["state"] == "failed":
                return shown

    shown = await asyncio.wait_for(given_up(), 20)
    assert shown["exit_code"] == 8
    code, said = await home.type("service", "status")
    assert (code, "exit code 8" in said) == (0, True)


@pytest.mark.system
async def test_removed_it_is_gone(home: Home) -> None:
    """No file, no unit, no agent; the node is still enrolled. Twice is no trouble."""
    program = await home.join("--service")
    await until(lambda: program.ended is not None, 40)
    agent = await agent_of(home)
    code, said = await home.type("service", "remove")
    assert code == 0, said
    assert not unit_of_any(home)
    assert not agent.is_running()
    assert not (home.folder.path / "service.env").exists()
    home.folder.load()
    code, said = await home.type("service", "remove", "--json")
    assert (code, json.loads(said)["removed"]) == (0, False)


@pytest.mark.system
async def test_who_leaves_takes_it_all_along(home: Home) -> None:
    """Told first: while the network is away, all stays and serves; then nothing is left."""
    program = await home.join("--service")
    await until(lambda: program.ended is not None, 40)
    node = await home.node()
    record = home.folder.load()
    home.folder.save(record_with(record, gateway="http://127.0.0.1:1"))
    code, said = await home.type("leave")
    assert code == 3
    assert "Nothing was removed" in said
    assert "gai node leave --force" in said
    assert (await service(home))["state"] == "active"
    home.folder.save(record)
    agent = await agent_of(home)
    code, said = await home.type("leave")
    assert code == 0, said
    assert home.edge.network.removed == [node]
    assert not unit_of_any(home)
    assert not agent.is_running()
    assert not home.folder.path.exists()
    code, said = await home.type("leave", "--json")
    assert (code, json.loads(said)["network"]) == (0, "no_node")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "does not run this system"),
        ({"proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2"}, "wsl.conf"),
        ({"run/systemd/system/any": "x"}, "has no session for you"),
    ],
)
async def test_without_a_manager_it_says_what_to_do(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    """A container, WSL without systemd, a shell of another user: each its own advice."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_RUNTIME_DIR": str(tmp_path)}
    made = NodeService(NodeFolder(tmp_path / "node"), environment=environment, root=tmp_path)
    with pytest.raises(NoServiceManager, match=words):
        await made.install(("/gai",))
    assert not made.installed
    state = await made.state()
    assert (state.installed, state.wsl) == (False, "wsl" in words)
    assert not await made.stop()


def test_after_su_the_other_users_manager_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell still has his variable; its folder may not even be looked into."""
    for name in ("run/systemd/system", "systemd/private"):
        (tmp_path / name).mkdir(parents=True)
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_RUNTIME_DIR": str(tmp_path)}

    def absence() -> str | None:
        folder = NodeFolder(tmp_path / "node")
        return NodeService(folder, environment=environment, root=tmp_path).absence()

    assert absence() is None
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert absence() == "no_session"


async def test_a_unit_is_removed_where_no_manager_runs(tmp_path: Path) -> None:
    """What another boot of the PC left is taken away all the same, with its link."""
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    made = NodeService(NodeFolder(tmp_path / "node"), environment=environment, root=tmp_path)
    made.path.parent.mkdir(parents=True)
    made.path.write_text(unit_text(("/gai",), tmp_path / "node"))
    link = made.path.parent / "default.target.wants" / made.unit
    link.parent.mkdir()
    link.symlink_to(made.path)
    assert await made.remove()
    assert not made.path.exists()
    assert not link.is_symlink()
    assert not await made.remove()


@pytest.fixture
async def plain(tmp_path: Path, edge: Edge, make_mock: MakeMock) -> AsyncIterator[Home]:
    """A PC whose user has no manager: its runtime folder is empty."""
    home = Home(
        tmp_path / "home",
        edge,
        await make_mock(Options(models="mock")),
        inside=("env", f"XDG_RUNTIME_DIR={tmp_path}"),
    )
    yield home
    home.stop()


async def test_nothing_is_asked_and_no_service_made_off_a_terminal(plain: Home) -> None:
    """Without --service, `join` serves where it was typed."""
    program = await plain.join()
    await until(lambda: "serving mock" in program.output(), 30)
    assert not unit_of_any(plain)


async def test_a_service_that_cannot_be_costs_no_token(plain: Home) -> None:
    """It is said before anything is done."""
    program = await plain.join("--service")
    await until(lambda: program.ended is not None, 30)
    assert program.ended == NoServiceManager.exit_code
    assert plain.edge.network.enrolled == []
