"""A group's own network under a real systemd: made at each start of the PC, for its owner alone."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.tun import OPEN
from tests.parts.user_manager import UserManager
from tests.parts.waiting import eventually

from garage_ai.node.group.tunnel import Tunnel

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

# What root does, with the manager of a user in place of the system's.
UNITS = """
import sys
from pathlib import Path
from garage_ai.node.group.tunnel import Tunnel
from garage_ai.node.group.tunnel_making import making
from garage_ai.node.group.tunnel_unit import TunnelUnits, unit_texts
folder, verb, name, user = sys.argv[1:]
tunnel = Tunnel(f"gai{name}", "10.213.1.20", f"gai-{name}")
user = int(user)
manager = ("env", "XDG_RUNTIME_DIR=/run/user/0", "systemctl", "--user")
units = TunnelUnits(tunnel, Path(folder), manager)
if verb == "install":
    made = making(tunnel, kernel=False, owner=user, group=user)
    units.install(unit_texts(tunnel, made, owner=user, group=user))
else:
    assert units.remove() and not units.remove()
"""
SQUAT = "import socket; socket.socket(socket.AF_UNIX).bind('/run/wireguard/gaiother.sock')"
ADDRESS = "10.213.1.20/16"


@dataclass
class Pc:
    """A PC whose systemd is the manager of a user, in a mount namespace of its own."""

    home: Path

    def __post_init__(self) -> None:
        self.units = self.home / ".config/systemd/user"
        self.units.mkdir(parents=True)
        (self.units / "multi-user.target").write_text("[Unit]\nDescription=The PC is up\n")
        self.start()

    def start(self) -> None:
        """Switch it on: what is in /run is gone."""
        self.manager = UserManager(self.home)
        self.run("sh", "-c", OPEN)
        self.manager.systemctl("start", "multi-user.target")

    def run(self, *argv: str, well: bool = True) -> str:
        """Run something there, and give what it prints."""
        done = subprocess.run(
            [*self.manager.inside, *argv], capture_output=True, text=True, timeout=180, check=False
        )
        assert (done.returncode == 0) is well, done.stdout + done.stderr
        return done.stdout

    def do(self, verb: str, tunnel: Tunnel, user: int = 0) -> None:
        """Install or remove the units of an end."""
        name = tunnel.interface.removeprefix("gai")
        self.run(sys.executable, "-c", UNITS, str(self.units), verb, name, str(user))

    def as_user(self, user: int, *argv: str, well: bool = True) -> str:
        """Run something there as another user."""
        who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        return self.run(*who, *argv, well=well)

    def inside(self, tunnel: Tunnel) -> str:
        """Show the addresses in an end's namespace; empty while there is none."""
        argv = [*self.manager.inside, "ip", "-n", str(tunnel.namespace), "-br", "addr"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.fixture
def pc(tmp_path: Path) -> Iterator[Pc]:
    """One that has been started."""
    made = Pc(tmp_path / "home")
    yield made
    made.manager.stop()


@pytest.fixture
def tunnels(pc: Pc) -> Iterator[dict[int, Tunnel]]:
    """Two users of it, each with a node that is in a group."""
    tag = f"{pc.manager.inside[1].partition('=')[2]:0>7}"[-7:]
    found = {}
    # Of those that every system has: systemd looks up whose its socket is to be.
    for user in (1, 65_534):
        name = f"{tag}{user % 10}"
        found[user] = Tunnel(f"gai{name}", "10.213.1.20", f"gai-{name}")
        pc.do("install", found[user], user)
    yield found
    for tunnel in found.values():
        if (pc.units / f"{tunnel.unit}.service").exists():
            pc.do("remove", tunnel)


def test_each_owner_speaks_to_his_own(pc: Pc, tunnels: dict[int, Tunnel]) -> None:
    """And to nobody else's, though all sockets lie in one folder, in which only root puts any."""
    for user, tunnel in tunnels.items():
        (other,) = set(tunnels) - {user}
        assert "public key" not in pc.as_user(user, "wg", "show", tunnel.interface)
        pc.as_user(other, "wg", "show", tunnel.interface, well=False)
        pc.as_user(user, sys.executable, "-I", "-c", SQUAT, well=False)
        shown = pc.inside(tunnel)
        assert {line.split()[0] for line in shown.splitlines()} == {"lo", tunnel.interface}
        assert ADDRESS in shown


def test_it_outlives_its_program_and_the_pc(pc: Pc, tunnels: dict[int, Tunnel]) -> None:
    """Killed, it is made again; after a restart of the PC it is there without anybody."""
    user, tunnel = next(iter(tunnels.items()))
    service = f"{tunnel.unit}.service"
    first = pc.manager.systemctl("show", "--property=MainPID", "--value", service)
    pc.run("kill", "-KILL", first)

    def is_another() -> bool:
        now = pc.manager.systemctl("show", "--property=MainPID", "--value", service)
        return now not in ("0", first) and ADDRESS in pc.inside(tunnel)

    eventually("another program", is_another, 120)
    pc.as_user(user, "wg", "show", tunnel.interface)
    pc.manager.stop()
    pc.start()
    for each in tunnels.values():
        assert pc.manager.systemctl("is-active", f"{each.unit}.service") == "active"
        assert ADDRESS in pc.inside(each)
    pc.as_user(user, "wg", "show", tunnel.interface)


def test_removed_nothing_of_it_is_left(pc: Pc, tunnels: dict[int, Tunnel]) -> None:
    """Neither units, nor socket, nor namespace; the other user's stays."""
    gone, stays = tunnels.values()
    pc.do("remove", gone)
    names = {path.name for path in pc.units.rglob("garage-ai-group-*")}
    assert names == {f"{stays.unit}.service", f"{stays.unit}.socket"}
    assert pc.run("ls", "/run/wireguard").split() == [f"{stays.interface}.sock"]
    assert pc.run("ls", "/run/netns").split() == [stays.namespace]
    assert ADDRESS in pc.inside(stays)
