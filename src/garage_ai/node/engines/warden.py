"""Stand between the agent and an engine of several processes, so that none of them is left.

    python -I warden.py PARENT|stdin COMMAND [ARGUMENT...]

The engine runs in a process group of its own. SIGTERM ends all of it: asked first, killed soon
after; SIGINT kills it at once. The death of PARENT, however it dies, is a SIGTERM; the end of the
engine's first process ends the rest, and its status is then this one's. In a container, where there
is no such parent, the end of stdin takes the place of its death; there this is the first process,
whose end is the end of all. Only the standard library is used, and nothing of ours: it starts in an
instant, and a container is given this file alone.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

GRACE_SECONDS: Final = 1.5
"""Between asking and killing: time to give shared memory back, not to finish answers."""

REST_SECONDS: Final = 1.0
"""For processes that were killed to be gone; a driver may hold one of them for a while."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_WANTED: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _end_with_stdin() -> None:
    """End as on SIGTERM once nobody holds the other end of stdin."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _start(command: list[str], *, contained: bool) -> int:
    """Start the engine at the head of its own group, bound to this process for the worst case."""
    warden = os.getpid()
    engine = os.fork()
    if engine:
        return engine
    try:
        os.setpgid(0, 0)
        if contained:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            # The agent is another user than this one, and the socket is for it.
            os.umask(0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == warden:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WANTED)
            os.execvp(command[0], command)  # noqa: S606 - the agent's own argv, no shell
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


def _reap(engine: int) -> int | None:
    """Take in whoever has ended; the engine's wait status if it is among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == engine:
            status = ended


def _signal_group(engine: int, how: signal.Signals) -> None:
    try:
        os.killpg(engine, how)
    except ProcessLookupError:
        return


def _until_ended(engine: int) -> tuple[int | None, int]:
    """Wait for the engine's end, and give its status; None, and why, when it is to be ended."""
    while (came := signal.sigwait(_WANTED)) == signal.SIGCHLD:
        status = _reap(engine)
        if status is not None:
            return status, came
    return None, came


def _end(engine: int, *, politely: bool) -> int:
    """End the engine's first process and give its status."""
    _signal_group(engine, signal.SIGTERM if politely else signal.SIGKILL)
    # A stopped process hears no SIGTERM before it goes on.
    _signal_group(engine, signal.SIGCONT)
    while signal.sigtimedwait({signal.SIGCHLD}, GRACE_SECONDS) is not None:
        status = _reap(engine)
        if status is not None:
            return status
    _signal_group(engine, signal.SIGKILL)
    return os.waitpid(engine, 0)[1]


def _end_rest(engine: int) -> None:
    """Kill what the engine started, also what has left its group, and take all of it in.

    Orphans of this process's family come to it, as it has asked the kernel for.
    """
    _signal_group(engine, signal.SIGKILL)
    until = time.monotonic() + REST_SECONDS
    while time.monotonic() < until:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)


def _children() -> list[int]:
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as file:  # noqa: PTH123 - quick
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _end_like(status: int) -> None:
    """End with the engine's own status, by the same signal if it was one."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    number = -code
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _bind_to(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the bond was made; then somebody else is our parent by now.
    if os.getppid() != parent:
        os._exit(1)


def main(argv: list[str]) -> None:
    """Run the engine until it, or whoever wants it, is gone."""
    contained, command = argv[0] == "stdin", argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WANTED)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if not contained:
        _bind_to(int(argv[0]))
    engine = _start(command, contained=contained)
    if contained:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    status, came = _until_ended(engine)
    if status is None:
        status = _end(engine, politely=came != signal.SIGINT)
    _end_rest(engine)
    _end_like(status)


if __name__ == "__main__":
    main(sys.argv[1:])
