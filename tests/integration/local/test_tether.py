"""Children die with their parent, even when it is killed."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from garage_ai.local import tether
from garage_ai.local.processes import mark_of
from garage_ai.local.supervisor import tethered

PARENT = """
import os, subprocess, sys, time
argv = [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "sleep", "600"]
child = subprocess.Popen(argv, start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int, limit: float = 20.0) -> bool:
    deadline = time.monotonic() + limit
    while mark_of(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_kill_9_of_the_parent_ends_the_child() -> None:
    """The kernel ends a tethered program of any language when its parent is killed."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tether.__file__], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 30
    while psutil.Process(child).name() != "sleep":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    parent.kill()
    assert gone(child)
    parent.communicate()


def test_a_child_whose_parent_is_already_gone_does_not_start(tmp_path: Path) -> None:
    """The gap between the start and the bond is closed: another parent means none."""
    proof = tmp_path / "ran"
    somebody_else = str(os.getpid() + 1)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", tether.__file__, somebody_else, "touch", str(proof)],
        check=False,
        timeout=60,
    )
    assert ended.returncode == 128 + signal.SIGKILL
    assert not proof.exists()


def test_it_becomes_the_program() -> None:
    """Exit code and output are the program's own."""
    ended = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            tether.__file__,
            str(os.getpid()),
            "sh",
            "-c",
            "echo $$; exit 7",
        ],
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert ended.returncode == 7
    assert ended.stdout.strip().isdigit()


def test_a_missing_program_is_said() -> None:
    """A program that is not there ends with 127 and a sentence."""
    ended = subprocess.run(
        tethered(["/nonexistent"]),
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 127
    assert ended.stderr == "/nonexistent cannot be started: No such file or directory\n"


def test_wrong_arguments_are_said() -> None:
    """Without a parent and a program it explains itself."""
    assert tether.main(["x"]) == 64


def test_it_starts_fast() -> None:
    """Every child pays for the tether: less than 40 ms of a processor, the best of five."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(tethered(["true"]), check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.04
