"""Give a node another key; each step may be the last before a crash.

1  the new key is written beside the old one: begun, and whoever comes next goes on from here
2  the gateway puts it in the old one's place and cuts the old one off; may be asked again
3  the JWT for it is kept
4  it takes the old one's name: ended
"""

import ssl
from typing import Final, Protocol

import structlog

from garage_ai.node.errors import GatewayAway, NodeError, NotEnrolled, NotKept
from garage_ai.node.folder import NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient, GatewayRefused, NodeGoneForGood
from garage_ai.node.records import record_with, removed, tls_for
from garage_ai.node.status import RotationStatus
from garage_ai.wire.claims import ClaimsError, decode
from garage_ai.wire.enrolment import FreshJwt
from garage_ai.wire.identity import IdentityError, IdentityFolder, NodeIdentity
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import PublicKey
from garage_ai.wire.trust import TrustError

_log = structlog.get_logger(__name__)

_MAY_PASS: Final = frozenset({GatewayAway.code, NotKept.code})
_OLD_UNKNOWN: Final = frozenset({"proof_refused", "node_key_stale"})


class KeyDesk(Protocol):
    """Who puts one key in another's place: a gateway."""

    async def rotate(self, old: NodeIdentity, new: NodeIdentity, node: NodeId) -> FreshJwt:
        """Take the new key. Raises: GatewayAway, GatewayRefused."""

    async def renew(self, identity: NodeIdentity, node: NodeId) -> FreshJwt:
        """Give a JWT to the key the node has. Raises: GatewayAway, GatewayRefused."""


def begun(folder: IdentityFolder) -> bool:
    """Tell whether a rotation was begun and not ended."""
    try:
        return folder.pending() is not None
    except IdentityError:
        # Something is there that cannot be used; the next step says so in words.
        return True


async def rotate(folder: IdentityFolder, node: NodeId, desk: KeyDesk) -> FreshJwt:
    """Do all steps, or those that are left of a rotation begun before.

    Raises: GatewayAway, GatewayRefused, IdentityError; what was begun stays begun.
    """
    old, new = folder.load(), folder.begin_rotation()
    try:
        fresh = await desk.rotate(old, new, node)
    except GatewayRefused as error:
        if error.reason not in _OLD_UNKNOWN:
            raise
        # The old key is nobody's any more; perhaps the new one is the node's already.
        fresh = await desk.renew(new, node)
    _check(fresh.jwt, new.public_key)
    folder.save_jwt(fresh.jwt)
    folder.end_rotation()
    _log.info("key_rotated", node=node)
    return fresh


async def settled(folder: IdentityFolder, node: NodeId, desk: KeyDesk) -> NodeIdentity:
    """Give the key the node goes by, after ending a rotation that was begun.

    Raises: GatewayAway, GatewayRefused, IdentityError.
    """
    if begun(folder):
        await rotate(folder, node, desk)
    return folder.load()


async def rotate_at_gateway(
    folder: IdentityFolder, record: Record, tls: ssl.SSLContext | None
) -> FreshJwt:
    """Rotate at the node's own gateway.

    Raises: GatewayAway, EnrolmentFailed, NotEnrolled, NotKept, Removed.
    """
    try:
        async with GatewayClient(record.gateway, tls=tls) as client:
            return await rotate(folder, record.node, client)
    except NodeGoneForGood as error:
        raise removed(record) from error
    except IdentityError as error:
        raise NotEnrolled("{error}", error=error) from error
    except OSError as error:
        raise NotKept(
            "The new key is not in force yet: {file}: {words}. Make room, then try again.",
            file=error.filename or folder.folder,
            words=error.strerror or error,
        ) from error


async def rotate_alone(folder: NodeFolder) -> Record:
    """Rotate where no agent runs.

    Raises: AlreadyRunning, GatewayAway, EnrolmentFailed, NotEnrolled, NotKept, Removed.
    """
    with folder.lock():
        record = folder.load()
        try:
            tls = tls_for(record)
        except TrustError as error:
            raise NotEnrolled("{error}", error=error) from error
        fresh = await rotate_at_gateway(folder.identity, record, tls)
        moved = record_with(record, urls=fresh.urls)
        if moved != record:
            folder.save(moved)
        return moved


class KeyChange:
    """A running agent's rotation: whether one is wanted, and how the last one went. Pure."""

    def __init__(self) -> None:
        self.wanted = False
        self.status = RotationStatus("none")

    @property
    def refused(self) -> bool:
        """Whether a gateway has said no to it, so that trying again is of no use."""
        return self.status.state == "failed" and self.status.code not in _MAY_PASS

    def ask(self) -> None:
        """Want one."""
        self.wanted = True
        self.status = RotationStatus("under_way")

    def done(self) -> None:
        """Note that the new key is in force."""
        self.wanted = False
        self.status = RotationStatus("done")

    def failed(self, error: NodeError) -> None:
        """Note why it did not come to its end; what was begun is taken up again later."""
        self.wanted = False
        self.status = RotationStatus("failed", error.code, str(error))


def _check(jwt: str, key: PublicKey) -> None:
    """Keep no JWT but the new key's. Raises: GatewayRefused."""
    try:
        if decode(jwt, issuers=None).sub == key:
            return
    except ClaimsError as error:
        raise GatewayRefused(
            "The gateway gave a JWT that cannot be used: {error}", error=error
        ) from error
    raise GatewayRefused("The gateway gave a JWT for another key.")


__all__ = [
    "KeyChange",
    "KeyDesk",
    "begun",
    "rotate",
    "rotate_alone",
    "rotate_at_gateway",
    "settled",
]
