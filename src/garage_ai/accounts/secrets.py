"""Secrets that can be told from other text at a glance, and are kept as hashes only.

A secret is a prefix, 32 random base62 characters (190 bits) and 6 of a CRC-32 over all that comes
before. The prefix lets scanners find leaked ones, the checksum refuses typos and noise without a
look-up (github.blog 2021-04-05). So random a secret needs no slow hash: SHA-256 cannot be searched.
"""

import hashlib
import secrets
import string
import zlib
from typing import Final, Literal

Prefix = Literal["gai_", "gaij_", "gaim_"]
KEY_PREFIX: Final = "gai_"
TOKEN_PREFIX: Final = "gaij_"  # noqa: S105 - the public beginning of every token
INVITE_PREFIX: Final = "gaim_"

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY: Final = 32
_CHECK: Final = 6


def new_secret(prefix: Prefix) -> str:
    """Make a secret."""
    body = prefix + "".join(secrets.choice(_BASE62) for _ in range(_BODY))
    return body + _checksum(body)


def digest_of(prefix: Prefix, presented: str) -> bytes | None:
    """Give the SHA-256 of a well-formed secret, or None for any other text."""
    return hash_of(presented) if is_well_formed(prefix, presented) else None


def hash_of(presented: str) -> bytes:
    """Give the SHA-256 of any text."""
    return hashlib.sha256(presented.encode(errors="surrogatepass")).digest()


def is_well_formed(prefix: Prefix, presented: str) -> bool:
    """Tell whether a text may be a secret: its length, its letters and its checksum."""
    if len(presented) != len(prefix) + _BODY + _CHECK or not presented.startswith(prefix):
        return False
    if not (presented.isascii() and presented[len(prefix) :].isalnum()):
        return False
    return _checksum(presented[:-_CHECK]) == presented[-_CHECK:]


def token_secret(presented: str) -> str:
    """Cut the CA fingerprint off a token or invite as it is pasted: `gaij_….<fingerprint>`."""
    return presented.strip().partition(".")[0]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
