"""What the routes of LiteLLM proxies take and give."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, WrapValidator
from pydantic.json_schema import SkipJsonSchema

from garage_ai.gateway.coordination.moments import Moment
from garage_ai.gateway.coordination.schemas import Asked, Given, MemberText
from garage_ai.ledger import NanoGai
from garage_ai.ledger.proxied import (
    CallOutcome,
    Difference,
    DifferenceKind,
    Mapping,
    MappingKind,
    Page,
    ProxiedCall,
)

MOST_CALLS: Final = 1000

CallId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
# No letter that ends a line or steers a terminal; half a surrogate pair is no letter at all.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tokens = Annotated[int, Field(ge=0, lt=2**53)]
Cost = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$"),
    Field(description="GAI, by the prices of LiteLLM's configuration.", examples=["0.000026"]),
]


class CallTold(BaseModel):
    """A call as LiteLLM has it; what a newer callback says beside that is ignored."""

    model_config = ConfigDict(extra="ignore")

    call_id: CallId = Field(description="LiteLLM's id, `x-litellm-call-id`.")
    request_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")] | None = None
    begun_at: Moment
    ended_at: Moment | None = None
    model: Text = ""
    route: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,32}$")] = ""
    stream: bool = False
    sent: bool = Field(True, description="Whether it went out to the gateway.")
    outcome: CallOutcome = Field(
        description="`left`: the client did, before the end. `lost`: the proxy died in it."
    )
    error: Text | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    cost: Cost | None = None
    key_hash: Text | None = None
    key_alias: Text | None = None
    key_user_id: Text | None = None
    key_team_id: Text | None = None
    key_team_alias: Text | None = None

    def call(self) -> ProxiedCall:
        """Give it as the ledger has it."""
        fields = self.model_dump()
        cost = fields.pop("cost")
        ngai = None if cost is None else NanoGai(round(Decimal(cost) * 1_000_000_000))
        return ProxiedCall(**fields, cost=ngai)


class Unfit(BaseModel):
    """A call that cannot be kept, and why."""

    call_id: str
    reason: str


def _each(value: Any, _: Callable[[Any], Any]) -> CallTold | Unfit:
    """Judge each call by itself: one that is unfit does not keep the others out."""
    try:
        return CallTold.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        return Unfit(call_id=_shown_id(value), reason=f"{place}: {first['msg']}"[:300])


def _shown_id(value: object) -> str:
    found = value.get("call_id") if isinstance(value, dict) else None
    text = found[:128] if isinstance(found, str) else ""
    return text.encode("ascii", "replace").decode()


class CallsTold(Asked):
    calls: Annotated[
        list[Annotated[CallTold | SkipJsonSchema[Unfit], WrapValidator(_each)]],
        Field(max_length=MOST_CALLS),
    ]


class CallResult(Given):
    call_id: str
    result: Literal["new", "known", "refused"] = Field(
        description="`known`: it was told before, and the first word stands."
    )
    reason: str | None = Field(None, description="Why it is refused.")


class CallResults(Given):
    results: list[CallResult] = Field(description="In the order of the calls.")


class MappingAsked(Asked):
    kind: MappingKind = Field(description="`key` is a key's hash, `alias` its alias.")
    value: Annotated[str, Field(min_length=1, max_length=255)]
    member: MemberText


class MappingGiven(Given):
    kind: MappingKind
    value: str
    member: str
    created_at: datetime

    @classmethod
    def of(cls, mapping: Mapping) -> Self:
        """Show a mapping."""
        return cls.model_validate(mapping, from_attributes=True)


class MappingsGiven(Given):
    data: list[MappingGiven]


class DifferenceGiven(Given):
    kind: DifferenceKind
    at: datetime
    call_id: str | None
    request_id: str | None
    model: str
    litellm: str | None = Field(description="What LiteLLM has.")
    gateway: str | None = Field(description="What the gateway has.")

    @classmethod
    def of(cls, difference: Difference) -> Self:
        """Show a difference."""
        return cls.model_validate(difference, from_attributes=True)


class ComparedGiven(Given):
    counts: dict[str, int] = Field(description="How many calls of this page came out how.")
    differences: list[DifferenceGiven]
    after: str | None = Field(description="Ask with it for the next page; null at the end.")

    @classmethod
    def of(cls, page: Page) -> Self:
        """Show a page."""
        return cls(
            counts={str(kind): count for kind, count in page.counts.items()},
            differences=[DifferenceGiven.of(each) for each in page.differences],
            after=page.after,
        )


__all__ = [
    "MOST_CALLS",
    "CallResult",
    "CallResults",
    "CallTold",
    "CallsTold",
    "ComparedGiven",
    "MappingAsked",
    "MappingGiven",
    "MappingsGiven",
    "Unfit",
]
