"""Processes and what came of them, on processes that are there."""

import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from garage_ai.node.hardware.families import families


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    """Start a shell with a child of its own."""
    with subprocess.Popen(
        ["sh", "-c", "sh -c 'echo $$; read _'; true"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.communicate("\n", timeout=60)


def test_children_of_children_belong_to_it(shell: subprocess.Popen[str]) -> None:
    """The first is named, the others are found; who started it is none of them."""
    assert shell.stdout is not None
    below = int(shell.stdout.readline())
    assert families({shell.pid}) == {shell.pid, below}
    assert {os.getpid(), shell.pid, below} <= families({os.getpid()})


def test_who_is_gone_has_no_family(shell: subprocess.Popen[str]) -> None:
    """A number that nobody has is left out."""
    free = next(pid for pid in range(2, 1 << 22) if not psutil.pid_exists(pid))
    assert families({free}) == frozenset()
    assert shell.pid in families({free, shell.pid})
