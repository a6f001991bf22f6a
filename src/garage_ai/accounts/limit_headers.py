"""OpenAI's headers that tell how much of a limit is left."""

import math
from collections.abc import Iterable

from garage_ai.accounts.shares import Share

Header = tuple[bytes, bytes]


def rate_headers(kind: str, shares: Iterable[Share], now: float) -> list[Header]:
    """Tell the tightest of these limits; `kind` is what OpenAI calls it, requests or tokens."""
    tightest = min(shares, key=lambda share: share.remaining(now), default=None)
    if tightest is None:
        return []
    told = {
        "limit": str(tightest.limit),
        "remaining": str(tightest.remaining(now)),
        "reset": duration(tightest.full_in(now)),
    }
    return [(f"x-ratelimit-{name}-{kind}".encode(), value.encode()) for name, value in told.items()]


def duration(seconds: float) -> str:
    """Write a time as OpenAI does, rounded up: `850ms`, `1s`, `6m0s`, `1h0m0s`."""
    if 0 < seconds < 1:
        return f"{min(math.ceil(seconds * 1000), 999)}ms"
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


__all__ = ["Header", "duration", "rate_headers"]
