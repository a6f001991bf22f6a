"""Programs, processor, battery, temperature, hours, upload: each on what it reads."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.hours import Hours, OwnersPause, Upload
from garage_ai.node.guard.readers.machine_room import Battery, Temperature, on_battery
from garage_ai.node.guard.readers.processor import ProcessorOfOthers, Sample, by_others
from garage_ai.node.guard.readers.programs import SPREAD, YOUNG, NamedPrograms, Programs
from garage_ai.node.guard.words import sentence
from garage_ai.node.pauses import Pause

pytestmark = pytest.mark.anyio


def process(proc: Path, pid: int, comm: str, *argv: str, threads: int = 1) -> None:
    folder = proc / str(pid)
    for number in range(threads):
        (folder / "task" / str(pid + number)).mkdir(parents=True, exist_ok=True)
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "cmdline").write_bytes("".join(f"{word}\0" for word in argv).encode())


@pytest.mark.parametrize(
    ("comm", "argv", "wanted"),
    [
        ("factorio", ["/opt/factorio/bin/x64/factorio"], "factorio"),
        ("Cyberpunk2077.e", ["Z:\\games\\Cyberpunk2077.exe", "-launch"], "cyberpunk2077.exe"),
        ("a-game-with-a-l", ["./a-game-with-a-long-name"], "a-game-with-a-long-name"),
        ("python3", ["minecraft"], "minecraft"),
    ],
)
def test_finds_a_program_by_its_name(
    comm: str, argv: list[str], wanted: str, tmp_path: Path
) -> None:
    """By the kernel's fifteen letters, by its file, or as Windows would call it."""
    process(tmp_path, 10, "bash", "-bash")
    (tmp_path / "meminfo").touch()
    programs = Programs(tmp_path)
    assert programs.running(frozenset({wanted})) == ""
    process(tmp_path, 11, comm, *argv)
    assert programs.running(frozenset({wanted})) == wanted


def test_a_name_in_the_arguments_is_not_the_program(tmp_path: Path) -> None:
    """An editor that has the game's file open is no game."""
    process(tmp_path, 10, "vim", "vim", "factorio")
    assert Programs(tmp_path).running(frozenset({"factorio"})) == ""


def test_a_process_that_becomes_a_game_is_seen(tmp_path: Path) -> None:
    """A launcher that turns into the game a moment later is read again."""
    programs = Programs(tmp_path)
    process(tmp_path, 10, "bash", "bash")
    wanted = frozenset({"game"})
    assert programs.running(wanted) == ""
    process(tmp_path, 10, "game", "./game")
    assert programs.running(wanted) == "game"


def test_old_processes_are_not_read_at_every_look(tmp_path: Path) -> None:
    """Only now and then: what is old hardly becomes another program."""
    programs = Programs(tmp_path)
    process(tmp_path, 10, "bash", "bash")
    wanted = frozenset({"game"})
    for _ in range(max(YOUNG) + 1):
        programs.running(wanted)
    process(tmp_path, 10, "game", "./game")
    found = [programs.running(wanted) for _ in range(SPREAD)]
    assert found[0] == ""
    assert "game" in found


def test_a_game_whose_first_thread_has_ended_runs(tmp_path: Path) -> None:
    """Its arguments are gone with that thread, and its name is not."""
    process(tmp_path, 10, "a-game-with-a-l", threads=2)
    wanted = frozenset({"a-game-with-a-long-name"})
    assert Programs(tmp_path).running(wanted) == "a-game-with-a-long-name"


def test_a_game_that_nobody_has_asked_for_its_end_has_ended(tmp_path: Path) -> None:
    """A launcher may leave it as a zombie, with its name, for as long as it runs itself."""
    name = f"dead-{os.getpid()}"
    game = tmp_path / name
    game.symlink_to(sys.executable)
    programs, wanted = Programs(), frozenset({name})
    child = subprocess.Popen([game, "-c", ""], stdin=subprocess.DEVNULL)
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{child.pid}/comm").read_text().strip() == name
        assert programs.running(wanted) == ""
    finally:
        child.kill()
        child.wait()


def test_the_end_of_an_old_game_is_seen_at_once(tmp_path: Path) -> None:
    """One that is wanted is read at each look, however old it is."""
    programs, wanted = Programs(tmp_path), frozenset({"game"})
    process(tmp_path, 10, "game", "./game")
    for _ in range(max(YOUNG) + 1):
        assert programs.running(wanted) == "game"
    process(tmp_path, 10, "game")
    assert programs.running(wanted) == ""


async def test_a_real_process_with_a_listed_name(tmp_path: Path) -> None:
    """Seen while it runs and not after; no /proc at all is not taken for free."""
    # Another run of this test may be under way here; the kernel keeps 15 letters of a name.
    name = f"game-{os.getpid()}"
    game = tmp_path / name
    game.symlink_to(sys.executable)
    reader = NamedPrograms()
    limits = Limits(pause_on=(name.title(),))
    assert (await reader.read(limits)).verdict == "free"
    child = subprocess.Popen(  # noqa: ASYNC220 - it only has to be there
        [game, "-c", "input()"], stdin=subprocess.PIPE
    )
    try:
        # The kernel names a process a moment after it lets its parent go on.
        while (finding := await reader.read(limits)).verdict == "free":
            assert child.poll() is None
        assert (finding.verdict, finding.why) == ("busy", sentence("game", name=name))
    finally:
        child.communicate(b"\n", timeout=60)
    assert (await reader.read(limits)).verdict == "free"
    nowhere = NamedPrograms(Programs(tmp_path / "nowhere"))
    assert (await nowhere.read(limits)).verdict == "unknown"


def test_others_are_all_but_us() -> None:
    """Of four cores for ten seconds, twenty were used, and five of these by us."""
    before = Sample(100.0, 1000.0, 4, {1: 50.0})
    now = Sample(110.0, 1020.0, 4, {1: 53.0, 2: 2.0})
    assert by_others(before, now) == pytest.approx(37.5)


@pytest.mark.parametrize("ours", [{}, {1: 1e6}])
def test_a_share_stays_a_share(ours: dict[int, float]) -> None:
    """Clocks that disagree, or no time at all, make neither less than nothing nor too much."""
    before = Sample(100.0, 1000.0, 2)
    assert by_others(before, Sample(100.0, 1001.0, 2, ours)) == 0.0
    assert 0.0 <= by_others(before, Sample(101.0, 5000.0, 2, ours)) <= 100.0


async def test_the_owners_server_uses_the_processor_unseen() -> None:
    """What the agent cannot tell apart it does not judge."""
    reader = ProcessorOfOthers(lambda: None, lambda: 0.0)
    assert (await reader.read(Limits(max_cpu=50.0))).verdict == "unknown"


async def test_a_first_sample_says_nothing_against_anybody() -> None:
    """Two are needed to tell how much was used in between."""
    reader = ProcessorOfOthers(lambda: frozenset({os.getpid()}), lambda: 0.0)
    assert (await reader.read(Limits(max_cpu=0.001))).verdict == "free"


def supplies(folder: Path, **each: dict[str, str]) -> Path:
    """Lay out what the kernel tells of what a PC and its devices draw from."""
    for name, told in each.items():
        (folder / name).mkdir(parents=True)
        for what, value in told.items():
            (folder / name / what).write_text(f"{value}\n")
    return folder


MOUSE = {"type": "Battery", "scope": "Device", "status": "Discharging", "online": "1"}
EMPTYING = {"type": "Battery", "status": "Discharging"}


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({}, "free"),
        ({"hidpp_battery_0": MOUSE}, "free"),
        ({"BAT0": EMPTYING, "ADP1": {"type": "Mains", "online": "0"}}, "busy"),
        ({"BAT0": EMPTYING, "hidpp_battery_0": MOUSE}, "busy"),
        # A gaming laptop under load draws from both.
        ({"BAT1": EMPTYING, "ADP1": {"type": "Mains", "online": "1"}}, "free"),
        ({"BAT0": {"type": "Battery", "status": "Full"}}, "free"),
        ({"BAT0": {"type": "Battery", "scope": "System", "status": "Not charging"}}, "free"),
        ({"BAT0": {"type": "Battery", "status": "Unknown"}}, "unknown"),
        ({"BAT0": {"type": "Battery"}}, "unknown"),
        ({"ups": {"type": "UPS", "status": "Discharging"}}, "free"),
    ],
)
async def test_battery(tmp_path: Path, told: dict[str, dict[str, str]], verdict: str) -> None:
    """A laptop on its own battery does not serve; a mouse's or a pad's says nothing of the PC."""
    reader = Battery(lambda: on_battery(supplies(tmp_path, **told)))
    assert (await reader.read(Limits())).verdict == verdict


def test_a_pc_that_tells_of_no_supply_is_not_on_battery(tmp_path: Path) -> None:
    """As in most containers."""
    assert on_battery(tmp_path / "nothing") is False


async def test_temperature_has_a_span() -> None:
    """Too hot at the limit, cool again five degrees below; a disk's sensor does not count."""
    now = {"nvme": [SimpleNamespace(current=99.0)], "k10temp": [SimpleNamespace(current=70.0)]}
    cards = [50.0]
    reader = Temperature(lambda: cards, lambda: now)
    limits = Limits(max_temperature=80.0)
    verdicts = []
    for degrees in (79.0, 81.0, 76.0, 74.0, 79.0):
        cards[0] = degrees
        verdicts.append((await reader.read(limits)).verdict)
    assert verdicts == ["free", "busy", "busy", "free", "free"]


async def test_no_sensor_is_unknown() -> None:
    """Which fails closed: the owner wanted it known."""
    reader = Temperature(list, dict)
    assert (await reader.read(Limits(max_temperature=80.0))).verdict == "unknown"


async def test_hours() -> None:
    """By the clock on this PC's wall."""
    at = datetime(2025, 11, 24, 23, 30).astimezone()
    for hours, verdict in (("mon 22:00-07:00", "free"), ("tue 22:00-07:00", "busy")):
        reader = Hours(at.timestamp)
        assert (await reader.read(Limits(schedule=hours))).verdict == verdict


async def test_upload() -> None:
    """What was sent must stay below what may be."""
    limits = Limits(max_upload=1000)
    assert (await Upload(lambda: 999).read(limits)).verdict == "free"
    finding = await Upload(lambda: 10**9).read(Limits(max_upload=10**9))
    assert finding.why == sentence("upload", sent="1.0 GB", limit="1.0 GB")


async def test_the_owners_pause_says_when_it_ends() -> None:
    """In the reason; one that is urgent says so too."""
    until = datetime(2030, 1, 2, 3, 4).astimezone().timestamp()
    finding = await OwnersPause(lambda: Pause(until, now=True)).read(Limits())
    assert finding.urgent
    assert finding.why == sentence("owner.until", until="2030-01-02 03:04")
    assert (await OwnersPause(lambda: None).read(Limits())).verdict == "free"
