"""What root does for a group's network: makes a rig's end of it, and takes it away again.

Where systemd starts the PC, it does so at each start, by a unit of `tunnel_unit`; elsewhere what is
made here lasts until then. Either way only programs of the system are run as root, none that the
node's owner could change.
"""

import ipaddress
import os
import shutil
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.tunnel import MTU, NETWORK, Tunnel, run

Argv = tuple[str, ...]

_LOOK_SECONDS: Final = 20.0
_DEVICE: Final = Path("/dev/net/tun")
_ANYBODY: Final = 0o006
_GIVEN: Final = 3
"""The first descriptor after the usual three: as systemd gives it, and as WG_UAPI_FD says."""

GIVEN: Final = {"WG_UAPI_FD": str(_GIVEN)}
"""Tells `wireguard-go` that its socket is open already."""


@dataclass(frozen=True, slots=True)
class Making:
    """Commands for root in their order; `program` goes on running, empty for the kernel's own."""

    before: tuple[Argv, ...]
    program: Argv
    after: tuple[Argv, ...]


def making(tunnel: Tunnel, *, kernel: bool, owner: int, group: int) -> Making:
    """Say how an end is made for the user `owner` of `group`. Pure."""
    name = tunnel.interface
    inside: Argv = ("ip",)
    before: list[Argv] = []
    after: list[Argv] = []
    program: Argv = ()
    if tunnel.namespace is not None:
        inside = ("ip", "-n", tunnel.namespace)
        before = [("ip", "netns", "add", tunnel.namespace)]
        after = [
            ("ip", "link", "set", name, "netns", tunnel.namespace),
            (*inside, "link", "set", "lo", "up"),
        ]
    if kernel:
        before.append(("ip", "link", "add", name, "type", "wireguard"))
    else:
        # As WireGuard's own programs have it; all may pass, and nobody but root puts a socket here.
        before.append(("install", "-d", "--mode=0755", str(tunnel.socket.parent)))
        program = (*_as_user(owner, group), "wireguard-go", "--foreground", name)
        # It answers once it holds the interface, which may be moved from then on.
        after.insert(0, ("wg", "show", name))
    after += [
        (*inside, "addr", "add", f"{tunnel.address}/{NETWORK.prefixlen}", "dev", name),
        (*inside, "link", "set", name, "mtu", str(MTU), "up"),
    ]
    return Making(tuple(before), program, tuple(after))


def _as_user(owner: int, group: int) -> Argv:
    if owner == 0:
        return ()
    rights = ("--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin")
    return ("setpriv", f"--reuid={owner}", f"--regid={group}", *rights)


def unmaking(tunnel: Tunnel) -> tuple[Argv, ...]:
    """Give the commands, for root, that take away what is left of an end. Pure."""
    outside = ("ip", "link", "del", tunnel.interface)
    if tunnel.namespace is None:
        return (outside,)
    inside = ("ip", "-n", tunnel.namespace, "link", "del", tunnel.interface)
    return (inside, outside, ("ip", "netns", "del", tunnel.namespace))


def plan(tunnel: Tunnel, *, owner: int, group: int) -> Making:
    """Say how an end can be made on this PC; needs root. Blocks. Raises: NoTunnel."""
    _check_alone(tunnel)
    made = making(tunnel, kernel=_kernel_has_it(owner), owner=owner, group=group)
    programs = {"wg", *(argv[0] for argv in (*made.before, *made.after))}
    programs |= {"wireguard-go", made.program[0]} if made.program else set()
    missing = [each for each in sorted(programs) if shutil.which(each) is None]
    if missing:
        raise NoTunnel(
            "The group's network needs programs that are not installed here: {programs}. Install "
            "wireguard-tools, and wireguard-go where the kernel has no WireGuard.",
            programs=", ".join(missing),
        )
    if made.program:
        _check_device(owner)
    return made


def _check_alone(tunnel: Tunnel) -> None:
    """Refuse a second end in one network: this PC could no longer tell their ways apart."""
    if tunnel.namespace is not None:
        return
    for name, places in psutil.net_if_addrs().items():
        inside = [place for place in places if place.family == socket.AF_INET]
        if name != tunnel.interface and any(
            ipaddress.IPv4Address(place.address) in NETWORK for place in inside
        ):
            raise NoTunnel(
                "Another node of this PC is in a group without a sandbox, through {name}, and a PC "
                "can have one such network. Take that one out: gai group leave",
                name=name,
            )


def _kernel_has_it(owner: int) -> bool:
    """Tell whether the kernel's own can be used: only root may speak to it."""
    trial = "gaitrial"
    if owner != 0 or run(("ip", "link", "add", trial, "type", "wireguard")):
        return False
    run(("ip", "link", "del", trial))
    return True


def _check_device(owner: int) -> None:
    try:
        mode = stat.S_IMODE(_DEVICE.stat().st_mode)
    except OSError as error:
        raise NoTunnel(
            "wireguard-go needs {device}: {error}. Try: modprobe tun",
            device=_DEVICE,
            error=error.strerror,
        ) from error
    if owner != 0 and mode & _ANYBODY != _ANYBODY:
        raise NoTunnel(
            "{device} is closed to the node's owner, for whom wireguard-go opens it: chmod 0666 "
            "{device}",
            device=_DEVICE,
        )


def make(tunnel: Tunnel, made: Making, *, owner: int, group: int) -> None:
    """Make an end until the PC's next start, anew if it is there. Blocks. Raises: NoTunnel."""
    unmake(tunnel)
    try:
        _all(made.before)
        if made.program:
            _begin(made.program, tunnel.socket, owner, group)
        _all(made.after)
    except NoTunnel:
        unmake(tunnel)
        raise


def unmake(tunnel: Tunnel) -> None:
    """Take an end away; nothing happens where there is none. Blocks."""
    for argv in unmaking(tunnel):
        run(argv)
    tunnel.socket.unlink(missing_ok=True)


def _all(commands: Sequence[Argv]) -> None:
    for argv in commands:
        words = run(argv, seconds=_LOOK_SECONDS)
        if words:
            raise NoTunnel(
                "The group's network cannot be set up: `{argv}` says: {words}",
                argv=" ".join(argv),
                words=words,
            )


def _begin(argv: Argv, path: Path, owner: int, group: int) -> None:
    """Start the program in the background, with a socket that its owner may speak to.

    The program would make its own in a folder that its user may write: that of all WireGuard's
    sockets, in which another user could then put one under its name.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(path))
        path.chmod(0o600)
        os.chown(path, owner, group)
        heard.listen()
        usual = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        given = (os.POSIX_SPAWN_DUP2, heard.fileno(), _GIVEN)
        os.posix_spawnp(
            argv[0], argv, os.environ | GIVEN, file_actions=[*usual, given], setsid=True
        )


__all__ = ["GIVEN", "Argv", "Making", "make", "making", "plan", "unmake", "unmaking"]
