"""Try, from inside a sandbox, what must not work there. Stands alone: it goes in through stdin.

One line of JSON for each attempt on stdout: its name, whether the sandbox held, and what happened.
Arguments: the folder that may be written to, files of the host (paths) and places of its network
(HOST:PORT, or @NAME for an abstract socket) that must be out of reach.
"""

import ctypes
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

OUTSIDE = (
    "127.0.0.1:22",
    "192.168.1.1:80",
    "10.0.0.1:80",
    "169.254.169.254:80",
    "169.254.1.2:80",
    "1.1.1.1:443",
)
"""Loopback, a home router, a LAN, cloud metadata, podman's alias of the host, the internet."""

HIDDEN = (
    "/proc/1/root/etc/shadow",
    "/run/podman",
    "/var/run/docker.sock",
    "/run/dbus/system_bus_socket",
    "/run/user",
    "/home",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/fuse",
    "/dev/input",
    "/dev/snd",
)
"""Files, folders and sockets; a folder is not reached if nothing is in it."""

WRITABLE = ("/", "/etc", "/usr", "/opt/garage", "/models", "/var/tmp", "/run", "/dev")  # noqa: S108
TMP = Path("/tmp")  # noqa: S108
TOO_MUCH = 256
"""Mebibytes; four times what /tmp may hold."""

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MAX_PROCESSES = 20


def report(name: str, words: str, *, held: bool) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps({"name": name, "held": held, "words": words}) + "\n")
    sys.stdout.flush()


def attempt(name: str, what: Callable[[], object]) -> None:
    """Report an attempt: the sandbox held if it ends in an OSError, and is open if it returns."""
    try:
        words, held = str(what()), False
    except OSError as error:
        words, held = error.strerror or str(error), True
    report(name, words, held=held)


def connect(place: str) -> str:
    """Open a connection. Raises: OSError."""
    if place.startswith("@"):
        return knock("\0" + place[1:])
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=2):
        return "connected"


def knock(name: str) -> str:
    """Open a connection to a unix socket, X11's or D-Bus' say. Raises: OSError."""
    with socket.socket(socket.AF_UNIX) as ours:
        ours.settimeout(2)
        ours.connect(name)
        return "connected"


def ask(place: str) -> str:
    """Send a datagram, as to a name server, and wait for an answer. Raises: OSError."""
    host, _, port = place.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.settimeout(2)
        ours.connect((host, int(port)))
        ours.send(b"?")
        return f"answered with {len(ours.recv(512))} bytes"


def look(path: Path) -> str:
    """Open a file, list a folder, connect to a socket. Raises: OSError."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        if not os.listdir(path):  # noqa: PTH208 - stands alone, and an empty list is all it asks
            raise FileNotFoundError(2, "nothing is in it")
        return "it can be listed"
    if stat.S_ISSOCK(mode):
        return knock(str(path))
    with path.open("rb"):
        return "opened"


def resolve() -> object:
    """Ask a name server, whichever the container believes in. Raises: OSError."""
    return socket.getaddrinfo("example.org", 80)[0][4]


def write(folder: Path) -> str:
    """Make a file. Raises: OSError."""
    path = folder / "gai-probe"
    path.write_text("x")
    path.unlink()
    return "a file was made"


def run_from(folder: Path) -> str:
    """Run a program from a folder that can be written to. Raises: OSError."""
    path = folder / "gai-probe-program"
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o755)
    try:
        os.waitpid(os.posix_spawn(path, [str(path)], {}), 0)
    finally:
        path.unlink()
    return "it ran"


def fill(folder: Path) -> str:
    """Write more than fits. Raises: OSError."""
    path = folder / "gai-probe-large"
    try:
        with path.open("wb") as file:
            for _ in range(TOO_MUCH):
                file.write(bytes(1 << 20))
    finally:
        path.unlink(missing_ok=True)
    return f"{TOO_MUCH} MiB were written"


def call(name: str, *arguments: object) -> str:
    """Make a call of the C library. Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return "it was done"


def look_at_self() -> None:
    """Report what the process is allowed to be and to see."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
    for field in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        report(f"no capabilities, {field}", status[field], held=int(status[field], 16) == 0)
    report("no new privileges", status["NoNewPrivs"], held=status["NoNewPrivs"] == "1")
    report("system calls are filtered", status["Seccomp"], held=status["Seccomp"] == "2")
    report("not root", f"uid {os.getuid()}", held=bool(os.getuid() and os.getgid()))
    links = [name for _, name in socket.if_nameindex()]
    report("no network but loopback", ", ".join(links), held=links in ([], ["lo"]))
    seen = [each for each in Path("/proc").iterdir() if each.name.isdigit()]
    report("no processes of the host", f"{len(seen)} are seen", held=len(seen) < MAX_PROCESSES)


def main(own: Path, paths: list[str], places: list[str]) -> None:
    """Try everything."""
    look_at_self()
    for place in (*OUTSIDE, *places):
        attempt(f"connect to {place}", partial(connect, place))
    for place in places:
        if not place.startswith("@"):
            attempt(f"ask {place}", partial(ask, place))
    attempt("ask DNS", resolve)
    for folder in WRITABLE:
        attempt(f"write to {folder}", partial(write, Path(folder)))
    for path in (*HIDDEN, *paths):
        attempt(f"open {path}", partial(look, Path(path)))
    attempt("write more to /tmp than it holds", partial(fill, TMP))
    attempt("run a program from /tmp", partial(run_from, TMP))
    attempt("become root", partial(os.setuid, 0))
    attempt("mount", partial(call, "mount", b"none", b"/tmp", b"tmpfs", 0, None))
    attempt("make a user namespace", partial(call, "unshare", CLONE_NEWUSER))
    attempt("make a network namespace", partial(call, "unshare", CLONE_NEWNET))
    attempt("change the host's name", partial(call, "sethostname", b"owned", 5))
    # What is meant to work: a sandbox in which nothing works must not pass for a good one.
    report("its own folder can be written to", write(own), held=True)


if __name__ == "__main__":
    given = sys.argv[2:]
    main(
        Path(sys.argv[1]),
        [each for each in given if each.startswith("/")],
        [each for each in given if not each.startswith("/")],
    )
