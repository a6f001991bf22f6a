"""Salts that part members in an engine's prefix cache, and tell nobody who they are.

An engine answers sooner when it has seen the beginning of a prompt before; whoever may share that
cache can find out by the clock what others have asked. So each member gets salts of his own. They
differ from node to node and from day to day: owners cannot put together what they saw of a member,
and the cache, which lives on one node, loses nothing by it.
"""

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Final

from garage_ai.wire.ids import NodeId

DAY_SECONDS: Final = 86_400
_BYTES: Final = 18
_KEPT: Final = 8192
"""Salts that are kept ready: one costs as much as finding its node."""

_PURPOSE: Final = b"gai-cache-salt-v1\n"


class Salts:
    """Makes salts; every gateway that has the key makes the same ones."""

    def __init__(self, key: bytes) -> None:
        # A key of its own, so that no salt is ever an answer to another question under `key`.
        self._key = hmac.digest(key, _PURPOSE, hashlib.sha256)
        self._of_day = lru_cache(_KEPT)(self._make)

    def salt(self, member: str, node: NodeId, now: float) -> str:
        """Give a member's salt for a node at a time in seconds since 1970: 24 URL-safe letters."""
        return self._of_day(member, node, int(now // DAY_SECONDS))

    def _make(self, member: str, node: NodeId, day: int) -> str:
        said = "\0".join((member, node, str(day)))
        mac = hmac.digest(self._key, said.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac[:_BYTES]).decode()


__all__ = ["Salts"]
