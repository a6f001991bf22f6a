"""What a key or a member may use: the settings, and what a request needs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, Literal, NewType

import msgspec

from garage_ai.accounts.windows import Dimension
from garage_ai.storage import KeyId, MemberId

Subject = NewType("Subject", str)
"""Whose limits they are: a key's id or a member's; no two of them are the same text."""

Fail = Literal["open", "closed"]
"""What becomes of requests with limits while the database cannot be asked."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What is allowed. None is no limit, 0 is nothing at all.

    Amounts of GAI are whole nGAI. With a member all its keys expire.
    """

    rpm: int | None = None
    tpm: int | None = None
    streams: int | None = None
    daily_tokens: int | None = None
    monthly_tokens: int | None = None
    daily_gai: int | None = None
    monthly_gai: int | None = None
    models: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    expires_at: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is limited."""
        return all(getattr(self, each.name) is None for each in fields(self))

    def limit(self, dimension: Dimension) -> int | None:
        """Give one limit."""
        value: int | None = getattr(self, COLUMN[dimension])
        return value


COLUMN: Final[Mapping[Dimension, str]] = {
    Dimension.REQUESTS: "rpm",
    Dimension.TOKENS: "tpm",
    Dimension.STREAMS: "streams",
    Dimension.DAILY_TOKENS: "daily_tokens",
    Dimension.MONTHLY_TOKENS: "monthly_tokens",
    Dimension.DAILY_GAI: "daily_gai",
    Dimension.MONTHLY_GAI: "monthly_gai",
}

NONE: Final = LimitSettings()
"""No limits."""


def subject_of(owner: KeyId | MemberId) -> Subject:
    """Name whose limits they are."""
    return Subject(owner)


class Demand(msgspec.Struct, frozen=True):
    """What a request may use at worst, in tokens and in nGAI.

    `completion` is what the client itself allows, None where it sets no bound. A `charge` of None
    is not known yet: then something has to be left, and what it was is booked at the end. One that
    is not `live` takes no place among the requests at a time or of a minute: nobody waits for it.
    """

    tokens: int
    completion: int | None = None
    charge: int | None = None
    live: bool = True


__all__ = ["COLUMN", "NONE", "Demand", "Fail", "LimitSettings", "Subject", "subject_of"]
