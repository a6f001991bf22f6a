"""What can keep a network from standing up on this machine.

LocalError              code
├── AlreadyUp           already_up        a `gai up` of this folder runs
├── PortTaken           port_taken        somebody else listens there
├── ChildFailed         child_failed      a part does not start
├── NotReadyInTime      not_ready         a part started and does not get ready
├── TlsNeeded           tls_needed        beyond loopback without TLS
├── BadOptions          bad_options       options that contradict each other
└── Unfit               unfit             something this machine lacks
"""

from pathlib import Path


class LocalError(Exception):
    """Anything that keeps `gai up` from its work; `code` is stable."""

    code = "local_error"


class AlreadyUp(LocalError):
    """`pid` and `url` of the one that runs; None where it has not said so yet."""

    code = "already_up"

    def __init__(self, folder: Path, pid: int | None, url: str | None) -> None:
        super().__init__(f"a `gai up` of {folder} runs already (pid {pid}, {url})")
        self.folder, self.pid, self.url = folder, pid, url


class PortTaken(LocalError):
    """`pid` and `program` are None where the system does not tell; `option` moves our port."""

    code = "port_taken"

    def __init__(
        self, host: str, port: int, option: str, pid: int | None, program: str | None
    ) -> None:
        super().__init__(f"port {port} on {host} is taken by {program} (pid {pid})")
        self.host, self.port, self.option = host, port, option
        self.pid, self.program = pid, program


class ChildFailed(LocalError):
    """`lines` are the last ones of its log, oldest first."""

    code = "child_failed"

    def __init__(self, name: str, exit_code: int, log: Path, lines: tuple[str, ...]) -> None:
        super().__init__(f"{name} ended with {exit_code}; see {log}")
        self.name, self.exit_code, self.log, self.lines = name, exit_code, log, lines


class NotReadyInTime(LocalError):
    """It runs, but `seconds` were not enough for it."""

    code = "not_ready"

    def __init__(self, name: str, seconds: float, log: Path, lines: tuple[str, ...]) -> None:
        super().__init__(f"{name} was not ready within {seconds:.0f} s; see {log}")
        self.name, self.seconds, self.log, self.lines = name, seconds, log, lines


class TlsNeeded(LocalError):
    """`host` is not loopback and nothing encrypts."""

    code = "tls_needed"

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is beyond loopback, and there is no TLS")
        self.host = host


class BadOptions(LocalError):
    """Options that contradict each other; the message names them."""

    code = "bad_options"


class Unfit(LocalError):
    """Something this machine lacks; the message says what."""

    code = "unfit"


__all__ = [
    "AlreadyUp",
    "BadOptions",
    "ChildFailed",
    "LocalError",
    "NotReadyInTime",
    "PortTaken",
    "TlsNeeded",
    "Unfit",
]
