"""The supervisor with real, small processes."""

import asyncio
import os
import signal
import sys
from typing import NoReturn

import pytest
from tests.integration.local.conftest import MakeWard, Ward, eventually

from garage_ai.local.errors import ChildFailed, NotReadyInTime
from garage_ai.local.folders import Folders
from garage_ai.local.logs import LogFile
from garage_ai.local.processes import child_record_path, is_alive, mark_of, read_child
from garage_ai.local.supervision import Policy

pytestmark = pytest.mark.anyio

SLEEPER = "import time; print('here', flush=True); time.sleep(600)"
READER = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]);"
    "print('here', flush=True); signal.sigwait([signal.SIGHUP]);"
    "print('again', flush=True); signal.pause()"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(600)"
)


async def test_a_child_is_started_recorded_and_stopped(
    make_ward: MakeWard, folders: Folders
) -> None:
    """From start to stop: ready, a record naming the very process, and nothing left after."""
    ward = make_ward(SLEEPER)
    ward.supervisor.start()
    await ward.supervisor.wait_ready(10)
    record = read_child(child_record_path(folders.run, "child"))
    assert record is not None
    assert record.process.pid == ward.supervisor.pid
    assert is_alive(record.process)
    await ward.supervisor.stop()
    assert not is_alive(record.process)
    assert not child_record_path(folders.run, "child").exists()
    assert ward.kinds() == ["started", "ready", "stopped"]


async def test_kill_9_of_a_child_starts_another(make_ward: MakeWard) -> None:
    """A child that is killed is back, and the owner is told with which signal it went."""
    ward = make_ward(SLEEPER)
    ward.supervisor.start()
    await ward.supervisor.wait_ready(10)
    first = ward.supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: ward.kinds().count("ready") == 2)
    assert ward.supervisor.pid not in (None, first)
    ended = next(change for change in ward.changes if change.kind == "ended")
    assert ended.code == -signal.SIGKILL


async def test_what_a_child_says_is_in_its_log(make_ward: MakeWard, folders: Folders) -> None:
    """Output and errors, up to the last word, are in the log."""
    ward = make_ward("import sys; print('out'); print('err', file=sys.stderr)")
    ward.is_ready = False
    ward.supervisor.start()
    log = folders.logs / "child.log"
    await eventually(lambda: "ended" in ward.kinds())
    await ward.supervisor.stop()
    text = log.read_text()
    assert "out" in text
    assert "err" in text


async def test_a_child_that_fails_and_fails_is_reported_with_its_last_words(
    make_ward: MakeWard,
) -> None:
    """Waiting for a child that cannot start ends with its exit code and log."""
    ward = make_ward("import sys; sys.exit('no such thing')")
    ward.is_ready = False
    ward.supervisor.start()
    with pytest.raises(ChildFailed) as caught:
        await ward.supervisor.wait_ready(20)
    assert caught.value.exit_code == 1
    assert "no such thing" in caught.value.lines
    assert ward.supervisor.state != "stopped"  # it goes on trying


async def test_a_program_that_is_not_there_is_a_failure_like_others(make_ward: MakeWard) -> None:
    """A missing program is retried and named."""
    ward = make_ward("")
    ward.argv = ["/nonexistent/program"]
    ward.is_ready = False
    ward.supervisor.start()
    with pytest.raises(ChildFailed) as caught:
        await ward.supervisor.wait_ready(20)
    assert any("/nonexistent/program" in line for line in caught.value.lines)


@pytest.mark.parametrize("what", ["argv", "ready"])
async def test_what_nobody_foresaw_is_a_failure_like_others(
    make_ward: MakeWard, folders: Folders, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A child whose command or readiness cannot be told is tried again, and it is said why."""

    async def fails(self: Ward) -> NoReturn:
        raise ValueError("no such thing")

    monkeypatch.setattr(Ward, f"_{what}", fails)
    ward = make_ward("import time; time.sleep(60)")
    ward.supervisor.start()
    log = LogFile(folders.logs / "child.log")
    await eventually(lambda: any("ValueError" in line for line in log.tail(4)))
    with pytest.raises((ChildFailed, NotReadyInTime)) as caught:
        await ward.supervisor.wait_ready(20 if what == "argv" else 0.3)
    assert isinstance(caught.value, ChildFailed | NotReadyInTime)
    assert any("ValueError: no such thing" in line for line in caught.value.lines)
    await ward.supervisor.stop()
    assert ward.supervisor.state == "stopped"


async def test_waiting_for_ready_has_an_end(make_ward: MakeWard) -> None:
    """A child that runs without getting ready is not waited for forever."""
    ward = make_ward(SLEEPER)
    ward.is_ready = False
    ward.supervisor.start()
    with pytest.raises(NotReadyInTime):
        await ward.supervisor.wait_ready(0.3)


async def test_a_child_that_never_gets_ready_is_replaced(make_ward: MakeWard) -> None:
    """The start limit kills a child that hangs while starting."""
    ward = make_ward(SLEEPER, Policy(first_delay=0.02, start_limit=0.3))
    ward.is_ready = False
    ward.supervisor.start()

    # One whose time was up before there was a process is ended otherwise.
    def killed() -> int | None:
        codes = (change.code for change in ward.changes)
        return next((at for at, code in enumerate(codes) if code == -signal.SIGKILL), None)

    await eventually(lambda: killed() is not None)
    await eventually(lambda: "started" in ward.kinds()[killed() :])


async def test_a_child_that_hangs_is_replaced(make_ward: MakeWard) -> None:
    """Frozen, it does not answer any more: it is killed, and the next one is looked at anew."""
    ward = make_ward(SLEEPER, Policy(first_delay=0.02, look_every=0.05, hung_after=3))
    ward.supervisor.start()
    await ward.supervisor.wait_ready(10)
    frozen = ward.supervisor.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    ward.is_ready = False
    await eventually(lambda: "ended" in ward.kinds())
    ward.is_ready = True
    await eventually(lambda: ward.kinds() == ["started", "ready", "ended", "started", "ready"])
    assert ward.supervisor.pid not in (None, frozen)


async def test_a_child_that_ignores_sigterm_is_killed(
    make_ward: MakeWard, folders: Folders
) -> None:
    """Stop keeps to its limit, whatever the child does."""
    ward = make_ward(STUBBORN)
    ward.supervisor.start()
    await ward.supervisor.wait_ready(10)
    pid = ward.supervisor.pid
    assert pid is not None
    log = LogFile(folders.logs / "child.log")
    await eventually(lambda: "here" in log.tail(1))
    before = asyncio.get_running_loop().time()
    await ward.supervisor.stop(0.3)
    assert 0.25 < asyncio.get_running_loop().time() - before < 5
    assert mark_of(pid) is None


async def test_a_child_is_told_to_read_its_files_again(
    make_ward: MakeWard, folders: Folders
) -> None:
    """It goes on as the process that it was; where none runs nobody is told."""
    ward = make_ward(READER)
    ward.supervisor.tell_to_read_again()
    ward.supervisor.start()
    log = LogFile(folders.logs / "child.log")
    await eventually(lambda: "here" in log.tail(1))
    pid = ward.supervisor.pid
    ward.supervisor.tell_to_read_again()
    await eventually(lambda: "again" in log.tail(1))
    assert ward.supervisor.pid == pid
    assert "ended" not in ward.kinds()


async def test_stop_while_the_argv_is_still_asked_for(make_ward: MakeWard) -> None:
    """A stop does not wait for a child that has not been started yet."""
    ward = make_ward(SLEEPER)
    asked = asyncio.Event()

    async def never() -> list[str]:
        asked.set()
        await asyncio.sleep(600)
        raise AssertionError

    object.__setattr__(ward.supervisor._plan, "argv", never)
    ward.supervisor.start()
    await asyncio.wait_for(asked.wait(), 20)
    await asyncio.wait_for(ward.supervisor.stop(), 20)
    assert ward.supervisor.state == "stopped"


async def test_a_grandchild_that_holds_the_pipe_holds_up_nobody(make_ward: MakeWard) -> None:
    """A child's end is seen at once, even while something it started keeps its output open."""
    code = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([{sys.executable!r}, '-I', '-S', '-c', 'import time; time.sleep(5)']);"
        "sys.exit(3)"
    )
    ward = make_ward(code)
    ward.is_ready = False
    ward.supervisor.start()
    await eventually(lambda: "ended" in ward.kinds(), limit=20)
    await ward.supervisor.stop()
