"""What a node keeps of its group in its folder: `group.json`, and the secret in `group.secret`.

An invitation is one line with the group's name and secret. It goes from one PC to the other on
stdin, never on a command line, where every user of a PC could read it.
"""

import base64
import binascii
import ipaddress
import json
import re
import secrets
from typing import Annotated, Final, NamedTuple

import msgspec

from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group.errors import BadSecret, NoGroup
from garage_ai.wire.secret_files import SecretFileError, SecretMissing, read_secret, replace_secret

GROUP: Final = "group.json"
SECRET: Final = "group.secret"  # noqa: S105 - the name of a file
PORT: Final = 4244
_LAST_PORT: Final = 65_534
"""The group's own network takes the port after it."""

_MARK: Final = "gai-group"
_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class HostPort(NamedTuple):
    """An address in the LAN."""

    host: str
    port: int


class GroupChoice(msgspec.Struct, frozen=True):
    """The group that a node is part of: where it listens in the LAN, and where others are.

    `find`: it looks for others by multicast, too.
    """

    name: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME.pattern}$")]
    listen: HostPort
    peers: Annotated[tuple[HostPort, ...], msgspec.Meta(max_length=32)] = ()
    find: bool = False


_choices: Final = msgspec.json.Decoder(GroupChoice)


def address(text: str) -> HostPort:
    """Read IPv4[:PORT]: one that other PCs can reach. Raises: NotPossible."""
    host, _, port = text.partition(":")
    try:
        place = ipaddress.IPv4Address(host)
        number = int(port) if port else PORT
        reached = not (place.is_unspecified or place.is_loopback or place.is_multicast)
    except ValueError:
        number, reached = 0, False
    if not reached or not 1 <= number <= _LAST_PORT:
        raise NotPossible(
            "{text!r} is no address in a LAN; give one as 192.168.1.20 or 192.168.1.20:4244.",
            text=text[:60],
        )
    return HostPort(host, number)


def create(name: str) -> str:
    """Make an invitation to a new group. Raises: NotPossible."""
    if not _NAME.fullmatch(name):
        raise NotPossible("A group's name has 1 to 40 letters, digits, - and _.")
    return invitation(name, secrets.token_bytes(_BYTES))


def invitation(name: str, secret: bytes) -> str:
    """Put name and secret into one line."""
    return f"{_MARK}.{name}.{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def read_invitation(line: str) -> tuple[str, bytes]:
    """Give name and secret. Raises: BadSecret, which repeats nothing of it."""
    parts = line.strip().split(".")
    try:
        mark, name, text = parts
        secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        mark, name, secret = "", "", b""
    if mark != _MARK or not _NAME.fullmatch(name) or len(secret) != _BYTES:
        raise BadSecret("That is no invitation to a group; it is one line that gai group made.")
    return name, secret


def join(
    folder: NodeFolder,
    line: str,
    listen: HostPort,
    peers: tuple[HostPort, ...],
    *,
    find: bool = False,
) -> None:
    """Keep that this node is part of a group, or where its group is now.

    Raises: BadSecret, NotPossible where it is in another group.
    """
    name, secret = read_invitation(line)
    folder.prepare()
    _check_own(folder, secret)
    replace_secret(folder.path / SECRET, line.strip() + "\n")
    chosen = msgspec.to_builtins(GroupChoice(name, listen, peers, find))
    replace_secret(folder.path / GROUP, json.dumps(chosen, indent=2) + "\n")


def _check_own(folder: NodeFolder, secret: bytes) -> None:
    """See that no other group's secret would be lost. Raises: NotPossible."""
    try:
        name, own = read_invitation(read_secret(folder.path / SECRET))
    except (SecretFileError, BadSecret):
        # None, or one that is of no use any more.
        return
    if own != secret:
        raise NotPossible(
            "This node is in the group {name} already. Its invitation is printed by: gai group "
            "invite. Before it can be in another, leave that one: gai group leave",
            name=name,
        )


def leave(folder: NodeFolder) -> None:
    """Forget the group."""
    for name in (GROUP, SECRET):
        (folder.path / name).unlink(missing_ok=True)


def group_of(folder: NodeFolder) -> GroupChoice | None:
    """Give the node's group; None for a node on its own. Raises: NoGroup for a damaged file."""
    try:
        return _choices.decode(read_secret(folder.path / GROUP))
    except SecretMissing:
        return None
    except (SecretFileError, msgspec.MsgspecError) as error:
        raise NoGroup(
            "{file} cannot be used: {error}", file=folder.path / GROUP, error=error
        ) from error


def secret_of(folder: NodeFolder) -> bytes:
    """Give the group's secret. Raises: NoGroup, BadSecret."""
    return read_invitation(invitation_of(folder))[1]


def invitation_of(folder: NodeFolder) -> str:
    """Give the invitation to the node's own group. Raises: NoGroup."""
    try:
        return read_secret(folder.path / SECRET)
    except SecretFileError as error:
        raise NoGroup(
            "This node belongs to no group: {error}. Join one with: gai group join", error=error
        ) from error


__all__ = [
    "GROUP",
    "PORT",
    "SECRET",
    "GroupChoice",
    "HostPort",
    "address",
    "create",
    "group_of",
    "invitation",
    "invitation_of",
    "join",
    "leave",
    "read_invitation",
    "secret_of",
]
