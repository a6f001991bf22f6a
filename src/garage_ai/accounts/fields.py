"""Check what comes from outside before it is kept."""

import re
from collections.abc import Iterable
from typing import Final

from garage_ai.accounts.errors import InvalidField
from garage_ai.accounts.models import SCOPES, Scope
from garage_ai.wire.regions import COUNTIES, COUNTY

_PUBLIC_KEY: Final = re.compile(r"U[A-Z2-7]{55}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


def checked_name(name: str, longest: int = 200) -> str:
    """Give a name back without outer spaces. Raises: InvalidField."""
    name = name.strip()
    if not 1 <= len(name) <= longest or not name.isprintable():
        raise InvalidField("name", f"1 to {longest} printable characters")
    return name


def checked_note(note: str) -> str:
    """Give a note back without outer spaces; it may be empty. Raises: InvalidField."""
    return checked_name(note) if note.strip() else ""


def checked_digest(digest: str) -> str:
    """Give a digest back that has the shape of one. Raises: InvalidField."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidField("digest", "sha256: and 64 hex digits")
    return digest


def checked_region(region: str | None) -> str | None:
    """Give a county of Sweden back, or None. Raises: InvalidField."""
    if region is not None and region not in COUNTIES:
        raise InvalidField("region", COUNTY)
    return region


def checked_public_key(public_key: str) -> str:
    """Give a public key back that has the shape of a user NKEY. Raises: InvalidField."""
    if not _PUBLIC_KEY.fullmatch(public_key):
        raise InvalidField("public_key", "a user NKEY: U and 55 base32 characters")
    return public_key


def checked_idempotency_key(key: str | None) -> str | None:
    """Give an idempotency key back, or None. Raises: InvalidField."""
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidField("idempotency_key", "1 to 255 visible ASCII characters")
    return key


def checked_scopes(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Give at least one known scope back. Raises: InvalidField."""
    chosen = frozenset(scopes)
    if not chosen or not chosen <= SCOPES:
        raise InvalidField("scopes", f"one or more of {', '.join(sorted(SCOPES))}")
    return chosen
