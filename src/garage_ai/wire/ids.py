"""Names that cross the network, as types."""

import re
import secrets
from typing import Final, NewType

NodeId = NewType("NodeId", str)
"""Given at enrolment; `n` and 12 lower-case base32 characters. A key is only its attribute."""

GatewayId = NewType("GatewayId", str)
"""One running gateway; new at each start."""

AttemptId = NewType("AttemptId", str)
"""One try of one request on one node: the `<request>` token of a reply subject."""

SessionId = NewType("SessionId", str)
"""One run of a node agent; a new session of an identity replaces the old one."""

Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits; names a model manifest."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"


def is_token(text: str) -> bool:
    """Tell whether the text can stand between two dots of a subject, with no wildcard."""
    return _TOKEN.match(text) is not None


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_node_id() -> NodeId:
    """Make a node id: 60 random bits."""
    return NodeId("n" + _random(12))


def new_gateway_id() -> GatewayId:
    """Make a gateway id: 50 random bits."""
    return GatewayId("g" + _random(10))


def new_session_id() -> SessionId:
    """Make a session id: 80 random bits."""
    return SessionId("s" + _random(16))
