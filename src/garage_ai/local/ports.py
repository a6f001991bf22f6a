"""Ports: which are free, and who sits on the others."""

import errno
import socket
from contextlib import ExitStack
from typing import Final

from garage_ai.local.errors import PortTaken, Unfit

_TRIES: Final = 50


def check_free(host: str, port: int, option: str) -> None:
    """Make sure that we could listen there. Raises: PortTaken, naming who does; Unfit."""
    try:
        with ExitStack() as stack:
            _listen(stack, host, port)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise Unfit(
                f"port {port} is for root alone, or a program with CAP_NET_BIND_SERVICE; "
                f"choose a higher one with {option}"
            ) from error
        if error.errno != errno.EADDRINUSE:
            raise
        pid, program = holder(port)
        raise PortTaken(host, port, option, pid, program) from error


def free_run(host: str, count: int) -> int:
    """Find `count` free ports in a row and give the first. Raises: OSError when there is none."""
    for _ in range(_TRIES):
        with ExitStack() as stack:
            first = _listen(stack, host, 0)
            try:
                for offset in range(1, count):
                    _listen(stack, host, first + offset)
            except (OSError, OverflowError):
                continue
            return first
    raise OSError(errno.EADDRINUSE, f"no {count} free ports in a row on {host}")


def _listen(stack: ExitStack, host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    # As servers do it: connections in TIME_WAIT do not count, listeners do.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind((host, port))
    probe.listen(1)
    bound: int = probe.getsockname()[1]
    return bound


def holder(port: int) -> tuple[int | None, str | None]:
    """Name who listens on a port: pid and program; None for what the system does not tell us."""
    import psutil

    try:
        for link in psutil.net_connections(kind="tcp"):
            if link.status == psutil.CONN_LISTEN and link.laddr and link.laddr.port == port:
                return link.pid, psutil.Process(link.pid).name() if link.pid else None
    except psutil.Error:
        # Another's process, or gone in the meantime: the port is taken all the same.
        return None, None
    return None, None


__all__ = ["check_free", "free_run", "holder"]
