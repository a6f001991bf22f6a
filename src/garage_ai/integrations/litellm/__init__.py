"""LiteLLM in front of a gateway: its configuration, its environment, and what runs inside it.

`callback.py` is copied beside the configuration and imports nothing of ours.
"""

from garage_ai.integrations.litellm.config import (
    CALLBACK,
    CONFIG,
    Prices,
    Served,
    callback_source,
    config,
)
from garage_ai.integrations.litellm.environment import (
    FLOOR,
    KNOWN_BAD,
    Environment,
    OnInstalled,
    judge,
)
from garage_ai.integrations.litellm.errors import (
    BadVersion,
    EnvironmentFailed,
    LiteLlmError,
    LockMissing,
)

__all__ = [
    "CALLBACK",
    "CONFIG",
    "FLOOR",
    "KNOWN_BAD",
    "BadVersion",
    "Environment",
    "EnvironmentFailed",
    "LiteLlmError",
    "LockMissing",
    "OnInstalled",
    "Prices",
    "Served",
    "callback_source",
    "config",
    "judge",
]
