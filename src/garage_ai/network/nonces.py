"""Nonces that the gateway need not remember: a time and random bytes under an HMAC."""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from garage_ai.network.enrolment_errors import NonceUnusable

NONCE_SECONDS: Final = 120
SKEW_SECONDS: Final = 30
"""How far the clock of the gateway that made one may be ahead of this one's."""
_RANDOM_BYTES: Final = 16
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 16
_TOTAL: Final = _TIME_BYTES + _RANDOM_BYTES + _MAC_BYTES


class Nonces:
    """Makes and checks nonces, good for two minutes at every gateway that has the key.

    One may be used more than once in that time; what it guards is idempotent or used up.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def make(self) -> str:
        """Make a nonce; URL-safe text."""
        body = int(self._clock()).to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(body + self._mac(body)).decode()

    def check(self, nonce: str) -> None:
        """Check that a nonce is ours and fresh. Raises: NonceUnusable."""
        try:
            raw = base64.b64decode(nonce.encode("ascii"), b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise NonceUnusable("not a nonce") from error
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # Base64 leaves bits of the last character unused; only one spelling is ours.
        if base64.urlsafe_b64encode(raw).decode() != nonce:
            raise NonceUnusable("not a nonce")
        if len(raw) != _TOTAL or not hmac.compare_digest(mac, self._mac(body)):
            raise NonceUnusable("not a nonce of this network")
        age = int(self._clock()) - int.from_bytes(body[:_TIME_BYTES], "big")
        if age > NONCE_SECONDS:
            raise NonceUnusable("the nonce is too old; ask for a new one")
        if age < -SKEW_SECONDS:
            raise NonceUnusable("the nonce is from the future: the clocks of the gateways differ")

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"gai-nonce-v1\n" + body, hashlib.sha256)[:_MAC_BYTES]
