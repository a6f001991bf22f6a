"""Keep the node's JWT fresh: asked for over NATS in good time, over HTTP when it is too late."""

import hashlib
import ssl
import time
from collections.abc import Callable
from typing import Final, Literal

import structlog

from garage_ai.node.gateway_client import GatewayClient, GatewayRefused, NodeGoneForGood
from garage_ai.wire.claims import Claims, ClaimsError, decode
from garage_ai.wire.identity import IdentityError, IdentityFolder, NodeIdentity
from garage_ai.wire.ids import NodeId
from garage_ai.wire.renewal import Renewal, renewal_due

_log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 300.0
"""Between two requests for a new JWT: an answer may be lost, the gateway need not be hammered."""

_UNKNOWN_NODE: Final = frozenset({"node_not_found", "proof_refused"})

Word = Literal["renewed", "gone", "unknown"]


def _since_boot() -> float:
    """Count seconds that nobody sets, and that go on while the PC sleeps (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class JwtKeeper:
    """The newest JWT, the one in force on the link, and what is to be done about its end.

    One that came while the agent runs is as old as that is long ago, whatever the PC's `clock`
    says: that one may be weeks off.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        identity: NodeIdentity,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = _since_boot,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._clock = clock
        self._steady = steady
        self._taken_at: float | None = None
        self._asked_at = float("-inf")
        self._claims = self._read()
        self._in_force = self._claims
        self._in_force_since: float | None = None

    @property
    def ends_at(self) -> float | None:
        """When the newest ends, in seconds since 1970; None if that cannot be said."""
        return None if self._claims is None else self._claims.exp

    def due(self, *, busy: bool) -> Renewal:
        """Say whether another is to take the place of the one in force now."""
        claims, taken = self._in_force, self._in_force_since
        if claims is None or claims.exp is None:
            return "no"
        now = self._clock() if taken is None else claims.iat + self._steady() - taken
        return renewal_due(claims.iat, claims.exp, now, busy, _place(self._identity.public_key))

    def connected(self) -> None:
        """Note that the link came up: the newest is in force on it from now on."""
        self._in_force, self._in_force_since = self._claims, self._taken_at

    def may_ask(self) -> bool:
        """Tell whether it is time to ask, and take it as asked if so."""
        now = self._steady()
        if now - self._asked_at < ASK_SECONDS:
            return False
        self._asked_at = now
        return True

    def take(self, jwt: str) -> bool:
        """Keep a new JWT; False if it is not for this node's key, or older than what is kept."""
        try:
            claims = decode(jwt, issuers=None)
        except ClaimsError as error:
            _log.warning("bad_jwt", detail=str(error))
            return False
        kept = self._claims
        stale = kept is not None and claims.iat < kept.iat
        if claims.sub != self._identity.public_key or stale:
            _log.warning("foreign_jwt", stale=stale)
            return False
        try:
            self._folder.hold_jwt(jwt)
        except OSError as error:
            _log.warning("jwt_not_kept", detail=str(error))
        self._claims = claims
        self._taken_at = self._steady()
        return True

    def follow(self, identity: NodeIdentity) -> None:
        """Look after another key's JWT from now on; it has been kept already."""
        self._identity = identity
        self._claims = self._read()
        self._taken_at = self._steady()

    def _read(self) -> Claims | None:
        try:
            return decode(self._folder.load_jwt(), issuers=None)
        except (IdentityError, ClaimsError) as error:
            _log.warning("jwt_unreadable", detail=str(error))
            return None


def _place(key: str) -> float:
    """Give a node its place among all, within [0, 1), from its key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) / 2**32


async def ask_gateway(
    base: str, tls: ssl.SSLContext | None, identity: NodeIdentity, node: NodeId, keeper: JwtKeeper
) -> tuple[Word, tuple[str, ...]]:
    """Ask over HTTP whether the node is still one, and where the network is.

    Raises: GatewayAway when nobody answers.
    """
    try:
        async with GatewayClient(base, tls=tls) as client:
            fresh = await client.renew(identity, node)
    except NodeGoneForGood:
        return "gone", ()
    except GatewayRefused as error:
        _log.warning("renewal_refused", status=error.status, code=error.reason)
        # The gateway has never heard of the node, or of its key.
        return ("gone" if error.reason in _UNKNOWN_NODE else "unknown"), ()
    return ("renewed" if keeper.take(fresh.jwt) else "unknown"), fresh.urls


__all__ = ["ASK_SECONDS", "JwtKeeper", "Word", "ask_gateway"]
