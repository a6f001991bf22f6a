"""What an agent makes of a link that does not come up: pure, link errors and time in, action out.

link_unreachable …    the network may have moved: ask the gateway now and then where it is
link_refused …        the JWT may have ended, or the node was removed: ask the gateway
credentials_revoked   the node was removed, unless the gateway says otherwise
"""

from typing import Final, Literal

from garage_ai.wire.link_errors import CredentialsRevoked, LinkError, Refused

REFUSED_SECONDS: Final = 2.0
"""A server that has just started may not know its accounts yet."""

AWAY_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 30.0
"""Between two questions to a gateway that did not help."""

REVOKED_SECONDS: Final = 30.0
"""A node whose credentials were revoked gives up when no gateway denies it for so long."""

Action = Literal["wait", "ask", "give_up"]


class Trouble:
    """The story of a link that is down. Times in seconds, on one clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._refused_since: float | None = None
        self._revoked_since: float | None = None
        self._asked_at = float("-inf")

    def connected(self) -> None:
        """Forget it all."""
        self._since = self._refused_since = self._revoked_since = None

    def failed(self, error: LinkError, now: float) -> None:
        """Take an error of the link into account."""
        if self._since is None:
            self._since = now
        if not isinstance(error, Refused):
            self._refused_since = None
            return
        if self._refused_since is None:
            self._refused_since = now
        if isinstance(error, CredentialsRevoked) and self._revoked_since is None:
            self._revoked_since = now

    def asked(self, now: float) -> None:
        """Note that the gateway was asked, with whatever result."""
        self._asked_at = now

    def action(self, now: float) -> Action:
        """Say what to do now."""
        revoked = self._revoked_since
        if revoked is not None and now - revoked > REVOKED_SECONDS:
            return "give_up"
        if self._since is None or now - self._asked_at < AGAIN_SECONDS:
            return "wait"
        refused = self._refused_since
        if revoked is not None or (refused is not None and now - refused >= REFUSED_SECONDS):
            return "ask"
        return "ask" if now - self._since >= AWAY_SECONDS else "wait"


__all__ = ["Action", "Trouble"]
