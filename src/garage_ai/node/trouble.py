"""What an agent makes of a link that does not come up: pure, link errors and time in, action out.

link_unreachable …    the network may have moved: ask the gateway now and then where it is, each
                      node at a moment of its own, since all of them lost the link in one second
link_refused …        the JWT may have ended, or the node was removed: ask the gateway
credentials_revoked   the node was removed, unless the gateway says otherwise
"""

from collections.abc import Callable
from typing import Final, Literal

from garage_ai.wire.link_errors import CredentialsRevoked, LinkError, Refused

REFUSED_SECONDS: Final = 2.0
"""A server that has just started may not know its accounts yet."""

AWAY_SECONDS: Final = (5.0, 60.0)
"""Some moment of these is the first in which the gateway is asked where the network is.

A node that has just begun asks at the earliest: its owner waits, and no others begin with it.
"""
AGAIN_SECONDS: Final = 30.0
"""Between two questions to a gateway that did not help, half as long up to half as long again."""
MOST_SECONDS: Final = 240.0
"""What that doubles up to, question by question, while nobody answers on the link."""

REVOKED_SECONDS: Final = 30.0
"""A node whose credentials were revoked gives up when no gateway denies it for so long."""

Action = Literal["wait", "ask", "give_up"]


class Trouble:
    """The story of a link that is down. Times in seconds, on one clock; `draw` is within [0, 1)."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._since: float | None = None
        self._refused_since: float | None = None
        self._revoked_since: float | None = None
        self._asked_at = float("-inf")
        self._questions = 0
        self._met = False
        self._away = self._share = 0.0

    def connected(self) -> None:
        """Forget it all."""
        self.helped()
        self._questions = 0
        self._met = True

    def helped(self) -> None:
        """Begin the story anew: the gateway said how the link may come up."""
        self._since = self._refused_since = self._revoked_since = None

    def failed(self, error: LinkError, now: float) -> None:
        """Take an error of the link into account."""
        if self._since is None:
            self._since = now
            shortest, longest = AWAY_SECONDS
            self._away = shortest + (longest - shortest) * (self._draw() if self._met else 0.0)
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
        self._questions += 1
        self._share = 0.5 + self._draw()

    def action(self, now: float) -> Action:
        """Say what to do now."""
        revoked = self._revoked_since
        if revoked is not None and now - revoked > REVOKED_SECONDS:
            return "give_up"
        refused = self._refused_since
        refuses = revoked is not None or (refused is not None and now - refused >= REFUSED_SECONDS)
        if self._since is None or now - self._asked_at < self._again(refuses):
            return "wait"
        return "ask" if refuses or now - self._since >= self._away else "wait"

    def _again(self, refuses: bool) -> float:
        if refuses:
            return AGAIN_SECONDS * self._share
        doubled = AGAIN_SECONDS * 2.0 ** min(max(self._questions - 1, 0), 8)
        return min(doubled, MOST_SECONDS) * self._share


__all__ = ["Action", "Trouble"]
