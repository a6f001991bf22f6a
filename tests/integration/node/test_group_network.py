"""A group's own network between two PCs: encrypted, and a way to the other ranks alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.parts.hosts import Host, lan
from tests.parts.tun import WITH_DEVICE
from tests.parts.waiting import eventually

from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.tunnel import Tunnel, tunnel_of
from garage_ai.node.group.tunnel_making import unmake

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

# What root does, making an end, and then an agent as its user: tells the others its key, and lets a
# gang's ranks be reached. The user may not be able to read this Python, so all is imported before.
END = """
import asyncio, concurrent.futures.thread, os, sys, msgspec
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.group.tunnel import TunnelKeeper, tunnel_of
from garage_ai.node.group.tunnel_making import make, plan
choice = GroupChoice("garage", HostPort(sys.argv[2], 4244))
tunnel = tunnel_of(sys.argv[1], choice, fenced=True)
user = int(sys.argv[3])
make(tunnel, plan(tunnel, owner=user, group=user), owner=user, group=user)
os.setgroups([])
os.setgid(user)
os.setuid(user)
keeper = TunnelKeeper(tunnel, choice)
assert asyncio.run(keeper.is_there())
print(msgspec.json.encode(keeper.end).decode(), flush=True)
asyncio.run(keeper.admit(msgspec.json.decode(sys.stdin.readline(), type=list[TunnelEnd])))
print("admitted", flush=True)
"""
LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 9000)) as server:
    print("listening", flush=True)
    while True:
        server.accept()[0].close()
"""
DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10).close()
    print("reached")
except OSError as error:
    print(error)
"""


@dataclass
class End:
    """One PC's end, in a namespace in which a container would be."""

    host: Host
    tunnel: Tunnel
    inside: tuple[str, ...]

    def dial(self, address: str, port: int = 9000) -> str:
        """Say what comes of it when a rank dials."""
        argv = [*self.inside, sys.executable, "-c", DIAL, address, str(port)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def _network(name: str) -> tuple[str, ...]:
    # Unlike `ip netns exec` it keeps the mounts, so that a namespace made there is seen here.
    return ("nsenter", f"--net=/run/netns/{name}")


@pytest.fixture(params=[0, 65_534], ids=["root", "owner"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    """Two PCs on one LAN whose agents have let each other be reached."""
    with ExitStack() as stack:
        _, hosts = stack.enter_context(lan(2))
        made, programs = [], []
        for number, host in enumerate(hosts):
            tag = f"{host.name[-6:-2]:0>7}{number}"
            choice = GroupChoice("garage", HostPort(host.address, 4244))
            tunnel = tunnel_of(tag, choice, fenced=True)
            stack.callback(unmake, tunnel)
            argv = (
                *_network(host.name),
                *WITH_DEVICE,
                sys.executable,
                "-c",
                END,
                tag,
                host.address,
            )
            program = subprocess.Popen(
                [*argv, str(request.param)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(program)
            stack.callback(program.kill)
            programs.append(program)
            made.append(End(host, tunnel, _network(str(tunnel.namespace))))
        told = [json.loads(_said(program)) for program in programs]
        for program, other in zip(programs, reversed(told), strict=True):
            assert program.stdin is not None
            program.stdin.write(json.dumps([other]) + "\n")
            program.stdin.flush()
            assert _said(program) == "admitted\n"
        yield made[0], made[1]


def _said(program: "subprocess.Popen[str]") -> str:
    assert program.stdout is not None
    return program.stdout.readline()


def test_a_rank_reaches_the_other_ranks_and_nobody_else(ends: tuple[End, End]) -> None:
    """Neither its own PC, nor the LAN, nor an address of the group's network that is no rank."""
    one, other = ends
    listen = [sys.executable, "-c", LISTEN]
    with ExitStack() as stack:
        for inside, address in (
            (other.inside, other.tunnel.address),
            (_network(other.host.name), other.host.address),
            (_network(one.host.name), one.host.address),
        ):
            program = subprocess.Popen(
                [*inside, *listen, address], stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(program)
            stack.callback(program.kill)
            assert _said(program) == "listening\n"
        eventually("the tunnel", lambda: one.dial(other.tunnel.address) == "reached\n", 30)
        for address in (other.host.address, one.host.address, one.host.public):
            assert "unreachable" in one.dial(address)
        assert "reached" not in one.dial("10.213.0.99")
        seen = subprocess.run(
            [*one.inside, "ip", "-br", "link"], capture_output=True, text=True, check=True
        )
        names = {line.split()[0] for line in seen.stdout.splitlines()}
        assert names == {"lo", one.tunnel.interface}
