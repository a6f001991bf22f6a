"""The agent on a gaming PC: its engine, its identity, its owner's wishes.

Names are imported when first used: the engine's process lives in this package and needs none.
"""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import (
        EnrolmentFailed,
        GatewayAway,
        NoAgent,
        NodeError,
        NotEnrolled,
        NotKept,
        NotPossible,
        Removed,
    )
    from garage_ai.node.folder import Choice, NodeFolder, Record
    from garage_ai.node.join import join
    from garage_ai.node.leaving import leave
    from garage_ai.node.serve import serve
    from garage_ai.node.status import Status

_HOMES: Final = {
    "Choice": "folder",
    "EnrolmentFailed": "errors",
    "GatewayAway": "errors",
    "NoAgent": "errors",
    "NodeError": "errors",
    "NodeFolder": "folder",
    "NotEnrolled": "errors",
    "NotKept": "errors",
    "NotPossible": "errors",
    "Record": "folder",
    "Removed": "errors",
    "Status": "status",
    "ask_agent": "control",
    "join": "join",
    "leave": "leaving",
    "serve": "serve",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


__all__ = [
    "Choice",
    "EnrolmentFailed",
    "GatewayAway",
    "NoAgent",
    "NodeError",
    "NodeFolder",
    "NotEnrolled",
    "NotKept",
    "NotPossible",
    "Record",
    "Removed",
    "Status",
    "ask_agent",
    "join",
    "leave",
    "serve",
]
