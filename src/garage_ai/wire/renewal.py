"""When a node should take a new JWT: pure policy."""

from typing import Final, Literal

Renewal = Literal["no", "when_idle", "drain_now"]

_IDLE_SHARE: Final = 20 / 30
_DRAIN_SHARE: Final = 29 / 30
_SPREAD_SHARE: Final = 3 / 30
"""Nodes that began together renew within so much of their JWTs' life, and not in one second."""


def renewal_due(
    issued_at: float, expires_at: float, now: float, busy: bool, place: float = 0.0
) -> Renewal:
    """Say what to do about a JWT's end; times in seconds since 1970, `place` within [0, 1).

    Of 30 days: from some moment of the days 20 to 23, which is the node's `place` among all, renew
    by a plain reconnect as soon as no stream is under way, from day 29 drain first. An idle node
    never needs the drain. NATS closes a connection when its JWT ends, which would cut the streams
    on it.
    """
    life = expires_at - issued_at
    age = now - issued_at
    if age >= _DRAIN_SHARE * life and busy:
        return "drain_now"
    if age >= (_IDLE_SHARE + _SPREAD_SHARE * place) * life:
        return "when_idle"
    return "no"
