"""Tie a process to its parent: when the parent ends, even by kill -9, the kernel ends the child.

Run by path, `python -I -S tether.py PARENT_PID PROGRAM [ARG]…`, it ties itself and becomes PROGRAM;
so a program in any language, nats-server for one, can be tied. Only the standard library is
imported, and little of it: this runs before every child.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_USAGE = 64
_NOT_STARTED = 127


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, a pid, ends; end at once if it is gone.

    The bond is with the parent's thread that started this process: start children from a thread
    that lives as long as the parent. It survives exec, and is not inherited by children.

    Raises: OSError where the kernel has no such bond.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    # The parent may have died before the bond was made; then somebody else is our parent by now.
    if os.getppid() != parent:
        os._exit(128 + _SIGKILL)


def main(argv: list[str]) -> int:
    """Tie this process to the pid `argv[0]` and become the program `argv[1]`."""
    if len(argv) < 2 or not argv[0].isdigit():
        sys.stderr.write("usage: tether.py PARENT_PID PROGRAM [ARG]...\n")
        return _USAGE
    try:
        die_with_parent(int(argv[0]))
        os.execvp(argv[1], argv[1:])  # noqa: S606 - the argv is built from parts, never by a shell
    except OSError as error:
        sys.stderr.write(f"{argv[1]} cannot be started: {error.strerror}\n")
    return _NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
