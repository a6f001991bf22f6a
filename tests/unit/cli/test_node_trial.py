"""When a version on trial is found to serve, and to whom a command of `gai node` is handed."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.parts.full_disk import full_disk

from garage_ai.cli import handover, node_trial
from garage_ai.cli.node_trial import verdict
from garage_ai.node.control import GroupSigns, LinkSigns, Signs
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group.messages import NEVER
from garage_ai.node.group.view import GroupView
from garage_ai.node.update.plan import INSTALLED, State, Trial
from garage_ai.node.update.versions import Versions

UP = LinkSigns("connected")


@pytest.mark.parametrize(
    ("signs", "found"),
    [
        (Signs(7, "0.2.0", "ready", UP), ""),
        (Signs(7, "0.2.0", "paused", UP), ""),
        (Signs(7, "0.2.0", "draining", UP), ""),
        (Signs(7, "0.2.0", "joining", UP), None),
        (Signs(7, "0.2.0", "joining", LinkSigns("closed"), waits_for_room=True), ""),
        (Signs(7, "0.1.0", "joining", LinkSigns("closed"), waits_for_room=True), None),
        (Signs(7, "0.2.0", "joining", UP, group=GroupSigns("working")), ""),
        (Signs(7, "0.2.0", "joining", LinkSigns("closed"), group=GroupSigns("working")), None),
        (Signs(7, "0.2.0", "joining", UP, group=GroupSigns("starting")), None),
        (Signs(7, "0.2.0", "joining", UP, group=GroupSigns("apart", waits=True)), None),
        (Signs(7, "0.2.0", "ready", LinkSigns("connecting")), None),
        (Signs(7, "0.1.0", "ready", UP), None),
        (Signs(8, "0.2.0", "ready", UP), None),
        (Signs(), None),
    ],
)
def test_it_serves_when_the_child_itself_says_so(signs: Signs, found: str | None) -> None:
    """The version that was started, in the process that was started, linked to the network."""
    assert verdict(signs, "0.2.0", 7, None) == found
    assert verdict(signs, "0.2.0", 7, 9) == "it ended with status 9"


def test_a_rig_that_waits_for_others_to_the_end_is_not_at_fault() -> None:
    """Before that they may come yet; one that fails with them is taken back."""
    waits = Signs(7, "0.2.0", "joining", UP, group=GroupSigns("apart", waits=True))
    assert verdict(waits, "0.2.0", 7, None, late=True) == ""
    told = GroupView("garage", NEVER, "apart", None, (), (), "", waits=True)
    assert msgspec.convert(msgspec.to_builtins(told), GroupSigns) == waits.group
    fails = Signs(7, "0.2.0", "joining", UP, group=GroupSigns("apart"))
    assert verdict(fails, "0.2.0", 7, None, late=True) is None


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Hear the signals by which a process is told to end, as whoever begins a trial does."""
    seen: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {each: signal.signal(each, lambda number, _: seen.append(number)) for each in numbers}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


# Says that it is there, and when it is to end has whoever watches it told to end as well.
TELLS = """
import os, signal, sys, time
def told(*_):
    os.kill(os.getppid(), int(sys.argv[1]))
    sys.exit()
signal.signal(signal.SIGTERM, told)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("told", [0, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_after_a_trial_that_was_lost_the_old_version_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[int], told: int
) -> None:
    """It goes on in this process, and hears what it is told, as well as what came meanwhile."""
    tried = node_trial.Trial(Versions(tmp_path), State("0.2.0", INSTALLED, Trial(0.001)), [])

    def start() -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", "-c", TELLS, str(told)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout as said:
            said.readline()
        return child

    monkeypatch.setattr(tried, "_start", start)
    state = tried.judge()
    assert (state.current, state.trial, tried.goes_on) == (INSTALLED, None, False)
    assert state.failed is not None
    assert state.failed.reason == "it did not serve within 0.001 s"
    assert heard == [told] * bool(told)
    signal.raise_signal(signal.SIGHUP)
    assert heard[-1] == signal.SIGHUP


@pytest.mark.usefixtures("heard")
def test_a_trial_under_nohup_outlives_its_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that is ignored ends neither the version on trial nor its watcher."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    tried = node_trial.Trial(Versions(tmp_path), State("0.2.0", INSTALLED, Trial(60.0)), [])

    def start() -> subprocess.Popen[bytes]:
        signal.raise_signal(signal.SIGHUP)
        return subprocess.Popen([sys.executable, "-I", "-S", "-c", "raise SystemExit(9)"])

    monkeypatch.setattr(tried, "_start", start)
    failed = tried.judge().failed
    assert failed is not None
    assert failed.reason == "it ended with status 9"


def test_nothing_is_tried_while_the_disk_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that ended without a word of it would be tried again for ever; the old one runs."""
    versions, chosen = Versions(tmp_path), State("0.2.0", INSTALLED, Trial(60.0))
    versions.save(chosen)
    tried = node_trial.Trial(versions, chosen, [])
    monkeypatch.setattr(tried, "_start", lambda: pytest.fail("it was started"))
    with full_disk(monkeypatch):
        state = tried.judge()
    assert (state.current, tried.goes_on) == (INSTALLED, False)
    assert versions.load() == chosen, "it is tried once there is room"


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("meanwhile", [None, State("0.3.0", "0.2.0", Trial(60.0))])
def test_what_a_full_disk_did_not_keep_is_kept_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: State | None
) -> None:
    """A version that serves is not taken back for want of a word; one chosen since stays chosen."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    class Disk(Versions):
        refused = waited = False

        def save(self, state: State) -> None:
            if state.trial is None and not self.refused:
                self.refused = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().save(state)

        def load(self) -> State:
            if self.waited:
                child.terminate()
            return super().load()

    versions = Disk(tmp_path)
    tried = node_trial.Trial(versions, State("0.2.0", INSTALLED, Trial(60.0)), [])
    serves = Signs(child.pid, "0.2.0", "ready", UP)
    monkeypatch.setattr(tried, "_start", lambda: child)
    monkeypatch.setattr(node_trial, "glance", lambda _: serves)
    with child:
        served = tried.judge()
        assert (served, tried.goes_on) == (State("0.2.0", INSTALLED), True)
        assert versions.load().trial == Trial(60.0, started=True)
        if meanwhile is not None:
            versions.save(meanwhile)
        versions.waited = True
        tried.wait()
    assert versions.load() == (meanwhile or served)


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """See what this process would become."""
    seen: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(handover, "become", lambda python, words: seen.append((python, words)))
    return seen


def chosen(folder: Path, state: State) -> Path:
    """Choose a version, with an environment that looks whole; give its Python."""
    versions = Versions(folder)
    python = versions.home(state.current or "0.2.0") / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    versions.save(state)
    return python


@pytest.mark.parametrize("command", ["status", "run", "join", "doctor"])
def test_every_command_is_handed_to_the_chosen_version(
    tmp_path: Path, became: list[tuple[Path, list[str]]], command: str
) -> None:
    """With its words as they are, wherever the folder is named."""
    python = chosen(tmp_path, State("0.2.0", INSTALLED))
    words = ["node", command, "--json", f"--data-dir={tmp_path}"]
    handover.hand_over(words)
    assert became == [(python, words)]


def test_a_full_disk_keeps_no_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: list[tuple[Path, list[str]]]
) -> None:
    """That a version is taken back cannot be kept: this start goes by it, and so does the next."""
    state = State("0.2.0", INSTALLED, Trial(60.0, started=True))
    chosen(tmp_path, state)
    with full_disk(monkeypatch):
        handover.hand_over(["node", "run", "--data-dir", str(tmp_path)])
    assert became == []
    assert Versions(tmp_path).load() == state


def test_an_option_of_gai_itself_is_no_way_past_it(
    tmp_path: Path, became: list[tuple[Path, list[str]]]
) -> None:
    """`gai --debug node …` is the chosen version's too, and it shows where an error comes from."""
    python = chosen(tmp_path, State("0.2.0", INSTALLED))
    words = ["--debug", "--debug", "node", "run", "--data-dir", str(tmp_path)]
    handover.hand_over(words)
    assert became == [(python, words)]


@pytest.mark.parametrize(
    "words",
    [
        ["--debug", "node", "update"],
        ["--debug"],
        ["node", "update", "--rollback"],
        ["node", "--help"],
        ["models"],
        ["up"],
        [],
    ],
)
def test_the_rest_is_the_installed_ones(
    tmp_path: Path, became: list[tuple[Path, list[str]]], words: list[str]
) -> None:
    """Above all the way back."""
    chosen(tmp_path, State("0.2.0", INSTALLED))
    handover.hand_over([*words, "--data-dir", str(tmp_path)])
    assert became == []


def test_nothing_but_a_start_begins_a_trial(
    tmp_path: Path, became: list[tuple[Path, list[str]]]
) -> None:
    """To look at the node's status is not to try a new version."""
    chosen(tmp_path, State("0.2.0", INSTALLED, Trial(60.0)))
    handover.hand_over(["node", "status", "--data-dir", str(tmp_path)])
    assert became == []
    assert Versions(tmp_path).load().trial == Trial(60.0)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_to_ask_how_to_start_is_no_start(
    tmp_path: Path, became: list[tuple[Path, list[str]]], word: str
) -> None:
    """A version that shows its help ends, and would be taken back for it."""
    chosen(tmp_path, State("0.2.0", INSTALLED, Trial(60.0)))
    handover.hand_over(["node", "run", "--data-dir", str(tmp_path), word])
    assert became == []
    assert Versions(tmp_path).load() == State("0.2.0", INSTALLED, Trial(60.0))


def test_a_second_agent_tries_no_version(
    tmp_path: Path, became: list[tuple[Path, list[str]]]
) -> None:
    """It ends because of the first, whatever its version is; the next real start is the trial."""
    chosen(tmp_path, State("0.2.0", INSTALLED, Trial(60.0)))
    with NodeFolder(tmp_path).lock():
        handover.hand_over(["node", "run", "--data-dir", str(tmp_path)])
    assert became == []
    assert Versions(tmp_path).load() == State("0.2.0", INSTALLED, Trial(60.0))


def test_the_folder_of_the_environment_counts_too(
    tmp_path: Path, became: list[tuple[Path, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command itself finds it; what is said on the line goes first."""
    python = chosen(tmp_path, State("0.2.0", INSTALLED))
    monkeypatch.setenv("GAI_DATA_DIR", str(tmp_path))
    handover.hand_over(["node", "status"])
    assert [each for each, _ in became] == [python]
    handover.hand_over(["node", "status", "--data-dir", str(tmp_path / "other")])
    assert len(became) == 1


@pytest.mark.parametrize("text", ["", "{", '{"current": "../../evil"}', '{"current": 5}'])
def test_a_state_that_cannot_be_read_chooses_nothing(
    tmp_path: Path, became: list[tuple[Path, list[str]]], text: str
) -> None:
    """Least of all a path."""
    chosen(tmp_path, State())
    (tmp_path / "versions" / "state.json").write_text(text)
    handover.hand_over(["node", "run", "--data-dir", str(tmp_path)])
    assert became == []


def test_versions_of_another_user_are_not_run(
    tmp_path: Path, became: list[tuple[Path, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root who looks at somebody's node does not do what that one's folder says."""
    chosen(tmp_path, State("0.2.0", INSTALLED))
    other = tmp_path.stat().st_uid + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    handover.hand_over(["node", "status", "--data-dir", str(tmp_path)])
    assert became == []
