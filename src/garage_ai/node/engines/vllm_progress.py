"""Whether anything moves in vLLM, out of its page for Prometheus. Pure.

Its scheduler reports once for each step, also for one that gave nobody a token (vLLM's
`Scheduler.update_from_output`), so while it computes some figure of its own changes with each.
"""

from typing import Final

_OWN: Final = b"vllm:"
"""How its own lines begin: those of the HTTP server and of Python change by being asked for."""


class Progress:
    """For how long no figure has changed."""

    def __init__(self) -> None:
        self._seen: bytes | None = None
        self._since = 0.0

    def still(self, page: bytes, now: float) -> float:
        """Take a page, and give the seconds since one last differed from the one before it."""
        own = b"\n".join(line for line in page.splitlines() if line.startswith(_OWN))
        if own != self._seen:
            self._seen, self._since = own, now
        return now - self._since


__all__ = ["Progress"]
