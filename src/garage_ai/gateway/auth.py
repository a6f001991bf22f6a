"""Who asks: the key in the request's headers, checked in memory.

Keys hold 190 random bits, so guessing them is hopeless with or without a limit. The limit on wrong
ones keeps a broken client from filling the log, and so a right key is let through even from an
address that is over the limit: others behind the same router or proxy are not its hostages.

Calls beside the models reach the database, where one member could take the time of all: each has so
many a minute. Chat is counted where a key's limits are.
"""

import time
from collections.abc import Callable
from typing import Final

from garage_ai.accounts import InvalidKey, Key, Scope
from garage_ai.gateway import asgi
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.quota import Quota
from garage_ai.gateway.services import Keys

MAX_FAILURES: Final = 20
MAX_READS: Final = 1200
"""Of one member; a script that looks after a hundred batches every ten seconds has half of it."""
MAX_CHANGES: Final = 300
WINDOW_SECONDS: Final = 60.0

_LONGEST_KEY: Final = 256


class Doorkeeper:
    """Let requests in by their key; `check` has the last word on a right one."""

    def __init__(
        self,
        keys: Keys,
        on_failure: Callable[[], None],
        check: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._failures = Quota(MAX_FAILURES, WINDOW_SECONDS, clock)
        self._reads = Quota(MAX_READS, WINDOW_SECONDS, clock)
        self._changes = Quota(MAX_CHANGES, WINDOW_SECONDS, clock)
        self._on_failure = on_failure
        self._check = check

    def admit(self, scope: asgi.Scope, needed: Scope | None, *others: Scope) -> Key:
        """Give the request's key: with one of the scopes named, or with any for None.

        Raises: GatewayError, InvalidKey, MemberSuspended.
        """
        presented = presented_key(scope)
        if presented is None:
            # No guess, so it does not count towards the limit.
            self._on_failure()
            raise GatewayError("invalid_api_key", "No key: send `Authorization: Bearer gai_…`.")
        try:
            key = self._keys.authenticate(presented)
            self._check(key)
        except InvalidKey:
            self.count_failure(scope)
            raise
        if needed is not None and key.scopes.isdisjoint((needed, *others)):
            named = " or ".join((needed, *others))
            raise GatewayError("insufficient_scope", f"This needs a key with the scope {named}.")
        return key

    def count_failure(self, scope: asgi.Scope) -> None:
        """Count a wrong key or token. Raises: GatewayError when there were too many."""
        self._on_failure()
        wait = self._failures.take(asgi.client_address(scope))
        if wait is not None:
            raise GatewayError("too_many_failures", retry_after=wait)

    def count_call(self, scope: asgi.Scope, key: Key) -> None:
        """Count a call that reaches the database; the operator's may be any number.

        Those are administrators' and a proxy's, which tells of its calls. Raises: GatewayError when
        the key's member has made too many.
        """
        if not key.scopes.isdisjoint(("admin", "usage")):
            return
        reads = scope["method"] in ("GET", "HEAD")
        wait = (self._reads if reads else self._changes).take(key.member)
        if wait is not None:
            raise GatewayError("rate_limit_exceeded", retry_after=wait)


def presented_key(scope: asgi.Scope) -> str | None:
    """Find the key in `Authorization: Bearer`, `api-key` or `x-api-key`, in this order."""
    other: str | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.decode("latin-1").partition(" ")
            if kind.lower() == "bearer" and rest:
                return _trimmed(rest)
        elif name in (b"api-key", b"x-api-key") and other is None:
            other = _trimmed(value.decode("latin-1"))
    return other


def _trimmed(text: str) -> str | None:
    return text.strip()[:_LONGEST_KEY] or None


__all__ = ["Doorkeeper", "presented_key"]
