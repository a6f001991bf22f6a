"""Two PCs on one LAN with a group's own network between them, let be reached by their agents."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
from tests.parts.hosts import Host, lan
from tests.parts.tun import WITH_DEVICE

from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.group.tunnel import Tunnel, tunnel_of
from garage_ai.node.group.tunnel_making import unmake

PORT = 9000

# What root does, making an end, and then an agent as its user: tells the others its key, and lets
# gangs' ranks be reached. The user may not be able to read this Python, so all is imported before.
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
for peers in sys.stdin:
    asyncio.run(keeper.admit(msgspec.json.decode(peers, type=list[TunnelEnd])))
    print("admitted", flush=True)
"""
LISTEN = f"""
import socket, sys
with socket.create_server((sys.argv[1], {PORT})) as server:
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
    """One PC's end, in a namespace in which a container would be; `told` is what others hear."""

    host: Host
    tunnel: Tunnel
    inside: tuple[str, ...]
    told: TunnelEnd
    agent: "subprocess.Popen[str]"

    def admit(self, *peers: TunnelEnd) -> None:
        """Let these ranks, and nobody else, be reached."""
        assert self.agent.stdin is not None
        self.agent.stdin.write(msgspec.json.encode(peers).decode() + "\n")
        self.agent.stdin.flush()
        assert said(self.agent) == "admitted\n"

    def dial(self, address: str, port: int = PORT) -> str:
        """Say what comes of it when a rank dials."""
        return dial(self.inside, address, port)


def network(name: str) -> tuple[str, ...]:
    """Give what stands before a command that is to run in a network namespace."""
    # Unlike `ip netns exec` it keeps the mounts, so that a namespace made there is seen here.
    return ("nsenter", f"--net=/run/netns/{name}")


def dial(inside: tuple[str, ...], address: str, port: int = PORT) -> str:
    """Say what comes of it when somebody in a namespace dials."""
    argv = [*inside, sys.executable, "-c", DIAL, address, str(port)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


@contextmanager
def listening(*argv: str) -> Iterator[None]:
    """Have a program run that says so once it listens."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as each:
        try:
            assert said(each) == "listening\n"
            yield
        finally:
            each.kill()


def said(program: "subprocess.Popen[str]") -> str:
    """Read a line of what a program prints."""
    assert program.stdout is not None
    return program.stdout.readline()


@contextmanager
def two_ends(user: int = 0) -> Iterator[tuple[End, End]]:
    """Make both, whose agents run as this user."""
    with ExitStack() as stack:
        _, hosts = stack.enter_context(lan(2))
        made, programs = [], []
        for number, host in enumerate(hosts):
            tag = f"{host.name[-6:-2]:0>7}{number}"
            choice = GroupChoice("garage", HostPort(host.address, 4244))
            tunnel = tunnel_of(tag, choice, fenced=True)
            stack.callback(unmake, tunnel)
            argv = (*network(host.name), *WITH_DEVICE, sys.executable, "-c", END, tag)
            program = subprocess.Popen(
                [*argv, host.address, str(user)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(program)
            stack.callback(program.kill)
            programs.append(program)
            made.append((host, tunnel))
        one, other = (
            End(
                host,
                tunnel,
                network(str(tunnel.namespace)),
                msgspec.json.decode(said(agent), type=TunnelEnd),
                agent,
            )
            for (host, tunnel), agent in zip(made, programs, strict=True)
        )
        one.admit(other.told)
        other.admit(one.told)
        yield one, other


__all__ = ["DIAL", "LISTEN", "PORT", "End", "dial", "listening", "network", "said", "two_ends"]
