"""Digests: how a model, a template or a file is named by its content."""

import hashlib
import json
from typing import NewType

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits."""

DIGEST_PATTERN = r"\Asha256:[0-9a-f]{64}\Z"


def digest_of_bytes(data: bytes) -> Digest:
    """Name these bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def canonical_json(value: object) -> bytes:
    """Encode plain strings, integers, lists and objects so that equal values give equal bytes.

    Keys are sorted, there is no white space and nothing but the necessary is escaped, as in
    RFC 8785; its rules for floats are not needed because manifests hold none.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()
