"""Hosts behind home routers, on one machine: network namespaces, veth pairs and iptables."""

import contextlib
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

_numbers = itertools.count(1)
_NETWORKS = 60
"""So many have addresses of their own at a time."""


def run(*argv: str, seconds: float = 60) -> None:
    """Run a command of the system. Raises: AssertionError with what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


@contextlib.contextmanager
def held(name: str) -> Iterator[bool]:
    """Hold a name of this machine's until the block ends; False where somebody else holds it.

    It is that of an abstract socket: it goes with its process, however that ends.
    """
    with socket.socket(socket.AF_UNIX) as holder:
        try:
            holder.bind(f"\0gai-test-{name}")
        except OSError:
            yield False
        else:
            yield True


@dataclass(frozen=True)
class Host:
    """A host in the home network behind `router`; `public` is this machine as it sees it.

    `address` is its own, where others are meant to reach it; its cable ends in the router's `port`.
    """

    name: str
    router: str
    public: str
    address: str = ""
    port: str = ""

    @property
    def inside(self) -> tuple[str, ...]:
        """What stands before a command that is to run on this host."""
        return ("ip", "netns", "exec", self.name)

    @contextlib.contextmanager
    def blocked(self, port: int, how: str) -> Iterator[None]:
        """Let the home's router DROP or REJECT what goes out to a TCP port."""
        rule = ["FORWARD", "-p", "tcp", "--dport", str(port), "-j", how]
        table = ["ip", "netns", "exec", self.router, "iptables"]
        run(*table, "-I", *rule)
        try:
            yield
        finally:
            run(*table, "-D", *rule)

    @contextlib.contextmanager
    def unplugged(self) -> Iterator[None]:
        """Pull its cable."""
        link = ("ip", "-n", self.router, "link", "set", self.port)
        run(*link, "down")
        try:
            yield
        finally:
            run(*link, "up")

    @contextlib.contextmanager
    def apart(self, other: "Host") -> Iterator[None]:
        """Let nothing through between it and another, neither way; all else reaches both."""
        with ExitStack() as stack:
            for chain, end in (("INPUT", "-s"), ("OUTPUT", "-d")):
                rule = (chain, end, other.address, "-j", "DROP")
                run(*self.inside, "iptables", "-I", *rule)
                stack.callback(run, *self.inside, "iptables", "-D", *rule)
            yield


@contextlib.contextmanager
def home_network() -> Iterator[Host]:
    """Make an internet of one cable, a router that masquerades, and a host behind it.

    this machine 198.51.100.x ── router 192.168.y.1 ── host 192.168.y.2
    """
    # The pid keeps two runs apart. Names of interfaces hold 15 characters.
    tag = f"{os.getpid() % 100_000}x{next(_numbers)}"
    router, host = f"gr{tag}", f"gh{tag}"
    with ExitStack() as stack:
        number = stack.enter_context(_network())
        near = f"192.168.{100 + number}"
        ours, theirs = f"198.51.100.{number * 4 + 1}", f"198.51.100.{number * 4 + 2}"
        for name in (router, host):
            _space(stack, name)
        run("ip", "link", "add", f"w{tag}", "type", "veth", "peer", "name", "wan", "netns", router)
        stack.callback(subprocess.run, ["ip", "link", "del", f"w{tag}"], capture_output=True)
        run("ip", "addr", "add", f"{ours}/30", "dev", f"w{tag}")
        run("ip", "link", "set", f"w{tag}", "up")
        run("ip", "-n", router, "addr", "add", f"{theirs}/30", "dev", "wan")
        run("ip", "-n", router, "link", "set", "wan", "up")
        run("ip", "-n", router, "link", "add", "lan", "type", "veth", "peer", "eth0", "netns", host)
        run("ip", "-n", router, "addr", "add", f"{near}.1/24", "dev", "lan")
        run("ip", "-n", router, "link", "set", "lan", "up")
        run("ip", "-n", host, "addr", "add", f"{near}.2/24", "dev", "eth0")
        run("ip", "-n", host, "link", "set", "eth0", "up")
        run("ip", "-n", host, "route", "add", "default", "via", f"{near}.1")
        inside = ("ip", "netns", "exec", router)
        run(*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run(*inside, "iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE")
        yield Host(host, router, ours)


@contextlib.contextmanager
def lan(size: int) -> Iterator[tuple[str, tuple[Host, ...]]]:
    """Make a LAN of so many hosts, and give this machine's address in it, and them.

    A switch in a namespace of its own: this machine 192.168.x.1, hosts from 192.168.x.11 on.
    """
    tag = f"{os.getpid() % 100_000}x{next(_numbers)}"
    switch, ours = f"gs{tag}", f"l{tag}"
    with ExitStack() as stack:
        near = f"192.168.{160 + stack.enter_context(_network())}"
        _space(stack, switch)
        run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "switch", "up")
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", "this", "netns", switch)
        stack.callback(subprocess.run, ["ip", "link", "del", ours], capture_output=True)
        run("ip", "addr", "add", f"{near}.1/24", "dev", ours)
        run("ip", "link", "set", ours, "up")
        run("ip", "-n", switch, "link", "set", "this", "master", "switch", "up")
        hosts = []
        for number in range(size):
            name, port, address = f"gh{tag}n{number}", f"p{number}", f"{near}.{11 + number}"
            _space(stack, name)
            cable = ("type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", switch, "link", "add", port, *cable)
            run("ip", "-n", switch, "link", "set", port, "master", "switch", "up")
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            hosts.append(Host(name, switch, f"{near}.1", address, port))
        yield f"{near}.1", tuple(hosts)


@contextlib.contextmanager
def _network() -> Iterator[int]:
    """Give a number that no other network of this machine has, whoever made it, until its end."""
    first = os.getpid() + next(_numbers)
    for number in (each % _NETWORKS for each in range(first, first + _NETWORKS)):
        with held(f"network-{number}") as ours:
            if ours:
                yield number
                return
    raise AssertionError(f"{_NETWORKS} networks are in use")


def _space(stack: ExitStack, name: str) -> None:
    run("ip", "netns", "add", name)
    stack.callback(run, "ip", "netns", "del", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
