"""How long lists are asked for page by page."""

from collections.abc import Sequence
from typing import Annotated, Final, Protocol

from fastapi import Query
from pydantic import Field

MAX_LISTED: Final = 1000

Limit = Annotated[int | None, Query(ge=1, le=MAX_LISTED, description="All if not given.")]
After = Annotated[str | None, Query(max_length=64, description="List from behind this id.")]
NextPage = Annotated[
    str | None, Field(description="Ask with it for the next page; null at the end.")
]


class Identified(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> str:
        """What it is known by."""
        ...


def next_after(found: Sequence[Identified], limit: int | None) -> str | None:
    """Name the last of a page, unless it is the last page for sure."""
    return found[-1].id if len(found) == limit else None


__all__ = ["MAX_LISTED", "After", "Identified", "Limit", "NextPage", "next_after"]
