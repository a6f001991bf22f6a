"""What the routes of limits take and give. Null is no limit, 0 is nothing at all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from garage_ai.accounts import Dimension, LimitSettings
from garage_ai.gateway.coordination.moments import Moment
from garage_ai.wire.regions import County

MAX_MODELS: Final = 100

Amount = Annotated[int, Field(ge=0, le=2**53 - 1)]
NanoGai = Annotated[
    str,
    Field(pattern=r"^(0|[1-9][0-9]{0,17})$", examples=["1000000000"], description="Whole nGAI."),
]
ModelName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class LimitsAsked(BaseModel):
    """What is not named stays as it is; null takes a limit away."""

    model_config = ConfigDict(extra="forbid")

    rpm: Amount | None = Field(None, description="Requests in any minute.")
    tpm: Amount | None = Field(None, description="Tokens in any minute, prompt and answer.")
    streams: Amount | None = Field(None, description="Requests at a time, streamed or not.")
    daily_tokens: Amount | None = Field(None, description="Tokens of a day, in UTC.")
    monthly_tokens: Amount | None = Field(None, description="Tokens of a month, in UTC.")
    daily_gai: NanoGai | None = Field(None, description="nGAI of a day, in UTC.")
    monthly_gai: NanoGai | None = Field(None, description="nGAI of a month, in UTC.")
    models: Annotated[list[ModelName], Field(max_length=MAX_MODELS)] | None = Field(
        None, description="Models that may be used; null for all."
    )
    regions: Annotated[list[County], Field(max_length=32)] | None = Field(
        None, description="Regions that may answer; null for all."
    )
    expires_at: Moment | None = Field(
        None, description="From then on the key is refused; of a member, all its keys."
    )

    def changes(self) -> dict[str, object]:
        """Give what was named, as accounts take it."""
        return {name: _taken(getattr(self, name)) for name in self.model_fields_set}


class LimitsGiven(BaseModel):
    """Limits; null is none, 0 nothing at all."""

    model_config = ConfigDict(frozen=True)

    rpm: int | None
    tpm: int | None
    streams: int | None
    daily_tokens: int | None
    monthly_tokens: int | None
    daily_gai: str | None
    monthly_gai: str | None
    models: list[str] | None
    regions: list[str] | None
    expires_at: datetime | None

    @classmethod
    def of(cls, settings: LimitSettings) -> Self:
        """Show limits."""
        shown = {name: _shown(name, getattr(settings, name)) for name in cls.model_fields}
        return cls.model_validate(shown)


class UsedGiven(BaseModel):
    """What of each limit is used now: within the minute, the day, the month."""

    model_config = ConfigDict(frozen=True)

    requests: int
    tokens: int
    daily_tokens: int
    monthly_tokens: int
    daily_gai: str
    monthly_gai: str

    @classmethod
    def of(cls, used: Mapping[Dimension, int]) -> Self:
        """Show what is used; where nothing is limited nothing is counted."""
        found = {dimension.value: count for dimension, count in used.items()}
        shown = {name: _shown(name, found.get(name, 0)) for name in cls.model_fields}
        return cls.model_validate(shown)


class LimitsShown(BaseModel):
    """Limits, and how far they are used as gateways have told by now."""

    model_config = ConfigDict(frozen=True)

    limits: LimitsGiven
    used: UsedGiven


def _taken(value: object) -> object:
    if isinstance(value, list):
        return frozenset(value)
    return int(value) if isinstance(value, str) else value


def _shown(name: str, value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if name.endswith("_gai") and value is not None else value


__all__ = ["LimitsAsked", "LimitsGiven", "LimitsShown", "UsedGiven"]
