"""What `/api/v1` takes and gives of members, invites and what is one's own."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import Field

from garage_ai.accounts import Invite, TokenState
from garage_ai.accounts.invites import MOST_USES
from garage_ai.gateway.coordination.ledger_schemas import BalanceGiven
from garage_ai.gateway.coordination.node_schemas import NodeGiven
from garage_ai.gateway.coordination.paging import NextPage
from garage_ai.gateway.coordination.schemas import (
    DAY,
    Asked,
    Given,
    KeyGiven,
    MemberGiven,
    Name,
)
from garage_ai.gateway.coordination.usage_schemas import UsageTotalGiven


class InviteAsked(Asked):
    name: Name | None = Field(None, description="What a newcomer who says no name is called.")
    uses: Annotated[int, Field(ge=1, le=MOST_USES, description="How many may come by it.")] = 1
    ttl: Annotated[int, Field(ge=1, le=365 * DAY, description="Seconds.")] = 7 * DAY


class InviteGiven(Given):
    id: str
    member: str = Field(description="Who invites.")
    name: str | None
    uses: int
    used: int
    state: TokenState
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, invite: Invite) -> Self:
        """Show an invite without its secret."""
        return cls(
            id=invite.id,
            member=invite.member,
            name=invite.name,
            uses=invite.uses,
            used=invite.used,
            state=invite.state(datetime.now(UTC)),
            created_at=invite.created_at,
            expires_at=invite.expires_at,
            revoked_at=invite.revoked_at,
        )


class InviteMade(InviteGiven):
    secret: str | None = Field(
        None, description="Told once, for the link; null where an earlier call had it."
    )


class InvitesGiven(Given):
    data: list[InviteGiven]
    after: NextPage


class AcceptAsked(Asked):
    secret: Annotated[str, Field(min_length=1, max_length=256, examples=["gaim_…"])]
    name: Name | None = Field(None, description="Yours; the one on the invite if unset.")


class AcceptedGiven(Given):
    member: MemberGiven
    key: KeyGiven
    secret: str | None = Field(
        None, description="The key itself, told once; null where an earlier call had it."
    )


class MeGiven(Given):
    key: KeyGiven = Field(description="The key that asks.")
    member: MemberGiven
    keys: list[KeyGiven] | None = Field(description="Null for a key that is for inference alone.")
    nodes: list[NodeGiven] | None = Field(description="As `keys`.")
    usage: list[UsageTotalGiven] | None = Field(
        description="By model, of the last 31 days; as `keys`."
    )
    balance: BalanceGiven | None = Field(description="In nGAI, a billionth of a GAI; as `keys`.")


class EraseAsked(Asked):
    name: Annotated[str, Field(min_length=1, max_length=200, description="The member's own.")]
