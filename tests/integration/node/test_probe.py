"""The probe's attempts outside any sandbox: what is open they find open, so that shut means shut.

Each by itself: all of them together would give this machine another name and mount over its /tmp.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.datagrams import answering

from garage_ai.node.sandbox import probe


@dataclass(frozen=True)
class Open:
    """What can be reached: a port for connections and datagrams, an abstract socket, a folder."""

    port: int
    abstract: str
    folder: Path


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Open]:
    """Open all of it; the folder holds a file and a socket."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        stack.enter_context(answering(f"127.0.0.1:{port}"))
        abstract = f"gai-test-{os.getpid()}"
        for name in (f"\0{abstract}", str(tmp_path / "socket")):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(name)
            unix.listen()
        (tmp_path / "file").write_text("x")
        yield Open(port, f"@{abstract}", tmp_path)


def test_it_reaches_what_is_open(there: Open) -> None:
    """Connections, datagrams, sockets, files and folders."""
    assert probe.connect(f"127.0.0.1:{there.port}") == "connected"
    assert probe.connect(there.abstract) == "connected"
    assert probe.ask(f"127.0.0.1:{there.port}") == "answered with 1 bytes"
    assert probe.look(there.folder / "file") == "opened"
    assert probe.look(there.folder / "socket") == "connected"
    assert probe.look(there.folder) == "it can be listed"


def test_what_is_not_there_is_shut(tmp_path: Path) -> None:
    """Nobody listens, nothing lies there, and an empty folder tells nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"127.0.0.1:{listener.getsockname()[1]}"
    attempts: list[Callable[[], str]] = [
        lambda: probe.connect(closed),
        lambda: probe.connect("@gai-test-nobody"),
        lambda: probe.ask(closed),
        lambda: probe.look(tmp_path / "nothing"),
        lambda: probe.look(tmp_path),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match=r"."):
            attempt()


def test_a_line_says_whether_the_sandbox_held(
    there: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """An attempt that works is an open sandbox."""
    probe.attempt("file", lambda: probe.look(there.folder / "file"))
    probe.attempt("none", lambda: probe.look(there.folder / "none"))
    out, _ = capsys.readouterr()
    assert '"name": "file", "held": false' in out
    assert '"name": "none", "held": true' in out
