"""What an earlier start left in the folder, and what is never touched."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from garage_ai.local.errors import AlreadyUp
from garage_ai.local.folders import Folders
from garage_ai.local.leftovers import claim, end_leftovers
from garage_ai.local.processes import (
    ChildRecord,
    ProcessMark,
    UpRecord,
    child_record_path,
    is_alive,
    mark_of,
    own_mark,
    write_child,
    write_record,
)

pytestmark = pytest.mark.anyio

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(600)"
)


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[str]]:
    """Give a process that ignores SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", STUBBORN], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


async def test_a_recorded_orphan_is_ended(folders: Folders, orphan: subprocess.Popen[str]) -> None:
    """A child that outlived its `gai up` is asked, then killed, and its record removed."""
    write_child(folders.run, "gateway", orphan.pid)
    ended = await end_leftovers(folders, grace=0.2)
    assert [record.name for record in ended] == ["gateway"]
    assert orphan.wait(30) == -signal.SIGKILL
    assert not child_record_path(folders.run, "gateway").exists()


async def test_a_pid_that_is_another_process_by_now_is_left_alone(
    folders: Folders, orphan: subprocess.Popen[str]
) -> None:
    """Same pid, other start: a stranger, not ours."""
    mark = mark_of(orphan.pid)
    assert mark is not None
    stranger = ProcessMark(mark.pid, mark.tick - 1, mark.boot)
    write_record(child_record_path(folders.run, "nats"), ChildRecord("nats", stranger, 0.0))
    assert await end_leftovers(folders, grace=0.2) == ()
    assert is_alive(mark)


async def test_garbage_in_the_folder_is_no_reason_to_fail(folders: Folders) -> None:
    """A record cut short by a crash is ignored."""
    (folders.run / "node.json").write_text('{"name": "no')
    assert await end_leftovers(folders) == ()


async def test_a_live_one_is_named(folders: Folders) -> None:
    """A second start in the same folder says which process runs and where it answers."""
    held = await claim(folders)
    record = UpRecord(own_mark(), "http://127.0.0.1:8000", "127.0.0.1", 8000, "d", None, 0.0)
    write_record(folders.up_record, record)
    with pytest.raises(AlreadyUp) as caught:
        await claim(folders)
    assert caught.value.pid == os.getpid()
    assert caught.value.url == "http://127.0.0.1:8000"
    held.release()


async def test_one_that_is_leaving_is_waited_for(folders: Folders) -> None:
    """A restart right after a stop does not trip over the one that goes."""
    held = await claim(folders)
    asyncio.get_running_loop().call_later(0.1, held.release)
    before = time.monotonic()
    second = await claim(folders, patience=5)
    assert 0.05 < time.monotonic() - before < 4
    second.release()


async def test_one_that_does_not_leave_is_not_waited_for_forever(folders: Folders) -> None:
    """Without a word from the other, patience ends."""
    held = await claim(folders)
    with pytest.raises(AlreadyUp):
        await claim(folders, patience=0.1)
    held.release()


@pytest.fixture
def killed_holder(folders: Folders) -> None:
    """Leave the lock of a holder that was killed."""
    code = (
        "import fcntl, os, sys, time;"
        "h = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(h, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-I", "-S", "-c", code, str(folders.lock)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()


@pytest.mark.usefixtures("killed_holder")
async def test_a_killed_holder_gives_the_folder_back(folders: Folders) -> None:
    """The claim dies with its process, kill -9 included."""
    (await claim(folders, patience=0.5)).release()
