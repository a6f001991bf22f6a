"""What vLLM says of its load, out of its page for Prometheus. Pure."""

import math
import re
from typing import Final

from garage_ai.node.engines.port import EngineLoad

# One line for each engine process; all of them serve the one model.
_LINES: Final = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)"
    r"\{[^}]{0,2000}\} (\S{1,32})$",
    re.MULTILINE,
)
_MOST: Final = 1 << 20


def read_load(page: bytes) -> EngineLoad | None:
    """Read the load; None where the page does not tell it."""
    sums: dict[str, float] = {}
    most = 0.0
    for name, text in _LINES.findall(page.decode(errors="replace")):
        value = _number(text)
        if value is None:
            return None
        sums[name] = sums.get(name, 0.0) + value
        if name == "kv_cache_usage_perc":
            most = max(most, value)
    if len(sums) != 3:
        return None
    return EngineLoad(
        running=_count(sums["num_requests_running"]),
        waiting=_count(sums["num_requests_waiting"]),
        cache_used=min(most, 1.0),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _count(value: float) -> int:
    return min(int(value), _MOST)


__all__ = ["read_load"]
