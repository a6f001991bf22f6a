"""Versions of the agent: three numbers, as Semantic Versioning writes a release, and nothing else.

A node says its own, so the text is hostile input: what is no release of ours has no place in the
order, and is never shown as if it had.
"""

import re
from typing import Final, NamedTuple

VERSION_PATTERN: Final = r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})"
_FORM: Final = re.compile(VERSION_PATTERN)


class AgentVersion(NamedTuple):
    """A release, ordered by its numbers."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def agent_version(text: str) -> AgentVersion | None:
    """Read a version as X.Y.Z; None for any other text."""
    found = _FORM.fullmatch(text)
    return None if found is None else AgentVersion(*map(int, found.groups()))


__all__ = ["VERSION_PATTERN", "AgentVersion", "agent_version"]
