"""Ports that are given to somebody who listens on them only later."""

import fcntl
import subprocess
import sys

import pytest
from bench import processes
from bench.processes import ROOT, StartError, free_ports

ASK = """
import sys
from bench import processes
processes.PORTS = range(int(sys.argv[1]), int(sys.argv[2]))
try:
    print(processes.free_ports())
except processes.StartError:
    print("none")
"""


def asked_elsewhere(ports: range) -> str:
    """Let another process choose among some ports, and give what it got."""
    argv = [sys.executable, "-c", ASK, str(ports.start), str(ports.stop)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither here nor by another process, as long as the one that got it lives."""
    first = free_ports(4)
    ports = range(first, first + 4)
    monkeypatch.setattr(processes, "PORTS", ports)
    with pytest.raises(StartError):
        free_ports()
    assert asked_elsewhere(ports) == "none"
    fcntl.lockf(processes._claims(), fcntl.LOCK_UN, len(ports), first)
    assert int(asked_elsewhere(ports)) in ports
