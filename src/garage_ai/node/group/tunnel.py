"""The network of a group's own: WireGuard between its rigs, and nothing else to be reached.

The interface is made by root (`gai node doctor --fix`, see `tunnel_making`): by the kernel where it
has WireGuard and the agent is root, else by `wireguard-go`, which then runs as the node's owner.
Engines in containers get it in a network namespace of its own, where besides loopback there is
nothing; WireGuard's packets leave from the namespace it was made in. Peers and keys come and go
with gangs, through `wg`, which speaks to both kinds. The pair of keys lives as long as the agent;
rigs tell each other the public ones over their signed links.
"""

import asyncio
import base64
import ipaddress
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import structlog
from nacl.public import PrivateKey

from garage_ai.node.group.errors import NoTunnel
from garage_ai.node.group.folder import GroupChoice
from garage_ai.node.group.messages import TunnelEnd
from garage_ai.node.sandbox.command import last_words

_log = structlog.get_logger(__name__)

NETWORK: Final = ipaddress.IPv4Network("10.213.0.0/16")
"""Addresses inside; a rig's last two numbers are those of its address in the LAN."""

MTU: Final = 1420
"""WireGuard's usual one: what is left of 1500 bytes beside its own head over IPv6."""

_SOCKETS: Final = Path("/run/wireguard")
_NAMESPACES: Final = Path("/run/netns")
_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 3.0
"""Longest wait for whether the end is there; the gang's clock waits as long."""

_KEEP_SECONDS: Final = 25
"""A home's switch forgets, and a firewall closes, what is silent for longer."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A rig's end: its interface, its address inside, and the namespace it is in, if any."""

    interface: str
    address: str
    namespace: str | None = None

    @property
    def namespace_file(self) -> Path | None:
        """What a container is given to be put into it."""
        return None if self.namespace is None else _NAMESPACES / self.namespace

    @property
    def socket(self) -> Path:
        """Where `wireguard-go` is told about keys and peers."""
        return _SOCKETS / f"{self.interface}.sock"

    @property
    def is_made(self) -> bool:
        """Whether something of it is there, as anybody can see."""
        places = [self.socket, Path("/sys/class/net", self.interface)]
        if self.namespace_file is not None:
            places.append(self.namespace_file)
        return any(place.exists() for place in places)

    @property
    def unit(self) -> str:
        """What systemd knows it by."""
        return f"garage-ai-group-{self.interface.removeprefix('gai')}"


def tunnel_of(tag: str, choice: GroupChoice, *, fenced: bool) -> Tunnel:
    """Say what a node's end is called; `tag` is its folder's, `fenced` for a container's."""
    last = int(ipaddress.IPv4Address(choice.listen.host)) & int(NETWORK.hostmask)
    address = ipaddress.IPv4Address(int(NETWORK.network_address) | last)
    found = tunnel_to_end(tag, str(address))
    return found if fenced else replace(found, namespace=None)


def tunnel_to_end(tag: str, address: str = "") -> Tunnel:
    """Say what the end of a node is called that may be in a group no more."""
    short = tag[:8]
    return Tunnel(f"gai{short}", address, f"gai-{short}")


def configuration(key: str, port: int, peers: Sequence[TunnelEnd]) -> str:
    """Write what `wg setconf` reads: this end's private key, and whom it may talk to. Pure."""
    lines = ["[Interface]", f"PrivateKey = {key}", f"ListenPort = {port}"]
    for peer in peers:
        lines += [
            "[Peer]",
            f"PublicKey = {peer.key}",
            f"Endpoint = {peer.host}:{peer.port}",
            f"AllowedIPs = {peer.address}/32",
            f"PersistentKeepalive = {_KEEP_SECONDS}",
        ]
    return "\n".join(lines) + "\n"


def check_end(end: TunnelEnd) -> None:
    """See that another rig's end can stand in a configuration. Raises: NoTunnel."""
    try:
        ipaddress.IPv4Address(end.host)
        fits = ipaddress.IPv4Address(end.address) in NETWORK
        fits = fits and len(base64.b64decode(end.key, validate=True)) == PrivateKey.SIZE
    except ValueError:
        fits = False
    if not fits:
        raise NoTunnel("What another rig says of its end of the group's network makes no sense.")


def run(argv: Sequence[str], said: str = "", *, seconds: float = _SECONDS) -> str:
    """Run a command and say something to it; give what went wrong, empty when nothing did.

    Not on the loop, whose pipes are sockets, which `/dev/stdin` cannot open.
    """
    try:
        done = subprocess.run(
            argv, input=said, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else last_words(done.stderr)


def addresses(tunnel: Tunnel) -> frozenset[str]:
    """Give the addresses that an end has where it is to be; none where it is not. Blocks."""
    space = ("-n", tunnel.namespace) if tunnel.namespace is not None else ()
    argv = ("ip", *space, "-j", "addr", "show", "dev", tunnel.interface)
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_LOOK_SECONDS, check=False)
        links = _links.decode(done.stdout)
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return frozenset()
    return frozenset(each.local for link in links for each in link.addr_info)


class _Inside(msgspec.Struct):
    local: str = ""


class _Link(msgspec.Struct):
    addr_info: tuple[_Inside, ...] = ()


_links: Final = msgspec.json.Decoder(tuple[_Link, ...])


class TunnelKeeper:
    """Says who may be talked to through the group's network: the ranks of a gang, then nobody."""

    def __init__(self, tunnel: Tunnel, choice: GroupChoice) -> None:
        self.tunnel = tunnel
        self._private = PrivateKey.generate()
        self._listen = choice.listen

    @property
    def end(self) -> TunnelEnd:
        """What the other rigs are told."""
        key = base64.b64encode(bytes(self._private.public_key)).decode()
        host, port = self._listen
        return TunnelEnd(key, host, port + 1, self.tunnel.address)

    async def is_there(self) -> bool:
        """Tell whether the end was made as it is to be now, and can be spoken to."""
        return await asyncio.to_thread(self._is_there)

    def _is_there(self) -> bool:
        argv = self._wg("show", self.tunnel.interface, "listen-port")
        if run(argv, seconds=_LOOK_SECONDS):
            return False
        # One made for another --listen or --sandbox leads nowhere. Only root sees into a namespace,
        # and no agent but root's has its engines there.
        hidden = self.tunnel.namespace is not None and os.geteuid() != 0
        return hidden or self.tunnel.address in addresses(self.tunnel)

    @asynccontextmanager
    async def admitting(self, peers: Sequence[TunnelEnd]) -> AsyncIterator[None]:
        """Let these, and nobody else, be reached, and in the end nobody. Raises: NoTunnel.

        An end that cannot be closed is logged; whoever is admitted next takes these peers' place.
        """
        if not peers:  # who computes alone needs no tunnel
            yield
            return
        try:
            await self.admit(peers)
            yield
        finally:
            try:
                await self.admit([])
            except NoTunnel as error:
                _log.warning("ranks_still_admitted", reason=str(error))

    async def admit(self, peers: Sequence[TunnelEnd]) -> None:
        """Let these, and nobody else, be reached. Raises: NoTunnel."""
        for peer in peers:
            check_end(peer)
        key = base64.b64encode(bytes(self._private)).decode()
        text = configuration(key, self._listen.port + 1, peers)
        argv = self._wg("setconf", self.tunnel.interface, "/dev/stdin")
        words = await asyncio.to_thread(run, argv, text)
        if words:
            raise NoTunnel(
                "The group's own network is not set up on this PC ({words}). As root: gai node "
                "doctor --fix --data-dir FOLDER",
                words=words,
            )

    def _wg(self, *words: str) -> list[str]:
        space = self.tunnel.namespace
        # The kernel's interface is asked where it is; the socket of the other kind is everywhere.
        spoken_to = os.access(self.tunnel.socket, os.F_OK)
        within = ["ip", "netns", "exec", space] if space and not spoken_to else []
        return [*within, "wg", *words]


__all__ = [
    "MTU",
    "NETWORK",
    "Tunnel",
    "TunnelKeeper",
    "addresses",
    "check_end",
    "configuration",
    "run",
    "tunnel_of",
    "tunnel_to_end",
]
