"""Programs by their names, from /proc: it needs no rights."""

import os
from pathlib import Path
from typing import Final

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.port import FREE, Finding, unknown
from garage_ai.node.guard.signals import SignalName
from garage_ai.node.guard.words import sentence

YOUNG: Final = frozenset({0, 1, 2, 4, 8, 16})
"""Ages, in looks, at which a process is read: it may still become another program (exec)."""

SPREAD: Final = 40
"""Looks in which every process is read once however old it is, a few at each look."""

_COMM: Final = 15
"""Letters of a name that the kernel keeps (TASK_COMM_LEN, proc(5))."""

_PROC: Final = Path("/proc")


class Programs:
    """The names of all processes, each read no more often than it can change."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._known: dict[str, tuple[str, str, int]] = {}
        self._looks = 0

    def running(self, wanted: frozenset[str]) -> str:
        """Give the first wanted name that runs, empty if none does. Raises: OSError."""
        self._looks += 1
        short = {name[:_COMM]: name for name in wanted}
        seen: dict[str, tuple[str, str, int]] = {}
        found = ""
        # Names alone: a Path for each process would cost more than all the rest.
        for pid in os.listdir(self._proc):  # noqa: PTH208
            if not pid.isdigit():
                continue
            comm, program, age = self._known.get(pid, ("", "", 0))
            # One that is wanted is read each time: it may have ended, or be another by now.
            matches = _match(comm, program, wanted, short)
            if matches or age in YOUNG or (int(pid) + self._looks) % SPREAD == 0:
                comm, program = self._read(pid)
            seen[pid] = (comm, program, age + 1)
            found = found or _match(comm, program, wanted, short)
        self._known = seen
        return found

    def _read(self, pid: str) -> tuple[str, str]:
        """Give the kernel's name and the one the program was called by; empty when it is gone."""
        try:
            comm = (self._proc / pid / "comm").read_text(errors="replace").strip().lower()
            line = (self._proc / pid / "cmdline").read_bytes()
            # One that has ended keeps its name until its parent asks how, which a launcher may
            # never do. Its arguments are gone at once, as where only its first thread has ended.
            ended = not line and _threads(self._proc / pid) < 2
        except OSError:
            return "", ""
        if ended:
            return "", ""
        called = line.split(b"\0", 1)[0].decode(errors="replace").lower()
        # Wine and Proton show a path as Windows writes it.
        return comm, called.replace("\\", "/").rpartition("/")[2]


def _threads(process: Path) -> int:
    """Count the threads of a process. Raises: OSError."""
    return len(os.listdir(process / "task"))  # noqa: PTH208 - as above


def _match(comm: str, program: str, wanted: frozenset[str], short: dict[str, str]) -> str:
    if program in wanted:
        return program
    return short.get(comm, "") if comm else ""


class NamedPrograms:
    """Whether a program on the owner's list runs. Fails closed: the owner named it."""

    signal: SignalName = "game"
    every = 0.5

    def __init__(self, programs: Programs | None = None) -> None:
        self._programs = programs or Programs()

    def wanted(self, limits: Limits) -> bool:
        """Tell whether there is a list."""
        return bool(limits.pause_on)

    async def read(self, limits: Limits) -> Finding:
        """Look for the programs."""
        try:
            name = self._programs.running(frozenset(each.lower() for each in limits.pause_on))
        except OSError as error:
            return unknown(sentence("broken", detail=error.strerror or "/proc"))
        return Finding("busy", sentence("game", name=name)) if name else FREE


__all__ = ["SPREAD", "YOUNG", "NamedPrograms", "Programs"]
