"""What `/api/v1` takes and gives, as pydantic models: FastAPI makes its OpenAPI from them."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from garage_ai.accounts import (
    SCOPES,
    EnrolmentToken,
    ExternalModel,
    Key,
    LimitSettings,
    Member,
    Scope,
    TokenState,
)
from garage_ai.gateway.coordination.limit_schemas import LimitsAsked, LimitsGiven
from garage_ai.gateway.coordination.paging import NextPage
from garage_ai.network.models import ModelView
from garage_ai.wire.regions import County

DAY: Final = 86_400

Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Anna's gaming PC"])]
Region = Annotated[County, Field(examples=["SE-AB"])]
MemberText = Annotated[str, Field(min_length=1, max_length=64, examples=["mbr_operator"])]

# A string, since numbers of JSON end at 2⁵³ in many a reader.
Nano = Annotated[
    str,
    BeforeValidator(lambda amount: str(int(amount))),
    Field(pattern=r"^-?[0-9]+$", examples=["1500000000"]),
]


class Asked(BaseModel):
    """Base of what is taken: a field that is not known is a mistake worth telling."""

    model_config = ConfigDict(extra="forbid")


class Given(BaseModel):
    """Base of what is given."""

    model_config = ConfigDict(frozen=True)


Owner = Annotated[
    MemberText | None,
    Field(description="Whose it is; the operator's or, asked by a member, the member's if unset."),
]


class TokenAsked(Asked):
    region: Region | None = None
    member: Owner = None
    ttl: Annotated[int, Field(ge=1, le=365 * DAY, description="Seconds.")] = DAY
    bare_allowed: bool = Field(
        False, description="The node may serve without a sandbox, or one whose limits do not hold."
    )


class TokenGiven(Given):
    id: str
    member: str
    region: str | None
    state: TokenState
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None
    redeemed_by: str | None
    revoked_at: datetime | None
    bare_allowed_at: datetime | None

    @classmethod
    def of(cls, token: EnrolmentToken) -> Self:
        """Show a token without its secret."""
        return cls(
            id=token.id,
            member=token.member,
            region=token.region,
            state=token.state(datetime.now(UTC)),
            created_at=token.created_at,
            expires_at=token.expires_at,
            redeemed_at=token.redeemed_at,
            redeemed_by=token.redeemed_by,
            revoked_at=token.revoked_at,
            bare_allowed_at=token.bare_allowed_at,
        )


class TokenMade(TokenGiven):
    token: str | None = Field(
        None, description="The secret, told once; null where an earlier call had it."
    )


class TokensGiven(Given):
    data: list[TokenGiven]
    after: NextPage


class MemberAsked(Asked):
    name: Name


class MemberGiven(Given):
    id: str
    name: str
    state: Literal["active", "suspended", "erased"]
    created_at: datetime
    suspended_at: datetime | None
    erased_at: datetime | None

    @classmethod
    def of(cls, member: Member) -> Self:
        """Show a member."""
        return cls.model_validate(member, from_attributes=True)


class MembersGiven(Given):
    data: list[MemberGiven]
    after: NextPage


class KeyAsked(Asked):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))] = ["inference"]
    region: Region | None = Field(None, description="Requests stay within it.")
    member: Owner = None
    limits: LimitsAsked | None = Field(
        None, description="What is not named here is the network's default, if it has one."
    )


class KeyGiven(Given):
    id: str
    name: str
    member: str
    scopes: list[Scope]
    region: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    limits: LimitsGiven

    @classmethod
    def of(cls, key: Key, limits: LimitSettings) -> Self:
        """Show a key without its secret."""
        return cls(
            id=key.id,
            name=key.name,
            member=key.member,
            scopes=sorted(key.scopes),
            region=key.region,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
            limits=LimitsGiven.of(limits),
        )


class KeyMade(KeyGiven):
    key: str | None = Field(
        None, description="The secret, told once; null where an earlier call had it."
    )


class KeysGiven(Given):
    data: list[KeyGiven]
    after: NextPage


class ModelGiven(Given):
    name: str
    digest: str
    kind: str
    context: int
    nodes: int
    slots: int
    alias_of: str | None

    @classmethod
    def of(cls, view: ModelView) -> Self:
        """Show a model."""
        return cls.model_validate(view, from_attributes=True)


class ClaimGiven(Given):
    name: str
    member: str
    digest: str
    state: Literal["approved", "pending"]
    created_at: datetime
    approved_at: datetime | None

    @classmethod
    def of(cls, claim: ExternalModel) -> Self:
        """Show a claim."""
        return cls.model_validate(claim, from_attributes=True)


class ModelsGiven(Given):
    data: list[ModelGiven]
    claims: list[ClaimGiven]


class ApproveAsked(Asked):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    member: MemberText
