"""The log of who did what: read by an administrator, checked by anybody who has a copy."""

from collections.abc import Sequence
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from garage_ai.audit.chain import written
from garage_ai.audit.models import Head, Recorded
from garage_ai.audit.service import MAX_LISTED, Wanted
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination.access import SECURITY, errors, needs
from garage_ai.gateway.coordination.moments import Moment
from garage_ai.gateway.coordination.schemas import Given
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.services import Services

Number = Annotated[int | None, Query(ge=-(2**63), le=2**63 - 1)]
"""Those below 1 are given to no entry; what stands there is of another hand, and is shown."""
Word = Annotated[str | None, Query(min_length=1, max_length=64)]


class EntryGiven(Given):
    seq: int = Field(description="Counted from 1 without a gap.")
    at: str = Field(description="UTC, with six decimals, as it was hashed.")
    action: str
    actor: str = Field(description="`key`, `node`, `invite`, `command line` or `gateway`.")
    actor_id: str | None
    actor_member: str | None
    subject: str = Field(description="The id of what was acted on.")
    member: str | None = Field(description="Whose that is.")
    details: str = Field(description="JSON, as it was hashed.")
    hash: str = Field(description="SHA-256 over the hash before it and all of the above; hex.")

    @classmethod
    def of(cls, entry: Recorded) -> Self:
        """Show an entry."""
        fields = {name: getattr(entry, name) for name in cls.model_fields}
        return cls(**fields | {"at": written(entry.at), "hash": entry.hash.hex()})


class EntriesGiven(Given):
    data: list[EntryGiven]
    before: int | None = Field(description="For the next page of older ones; null at the end.")


class HeadGiven(Given):
    size: int = Field(description="Entries that the signature stands over.")
    root: str = Field(description="The hash of the last of them.")
    at: str
    public_key: str = Field(description="The network's key, an NKEY.")
    signature: str = Field(description="Ed25519, hex.")

    @classmethod
    def of(cls, head: Head) -> Self:
        """Show a head."""
        return cls(
            size=head.size,
            root=head.root.hex(),
            at=written(head.at),
            public_key=head.public_key,
            signature=head.signature.hex(),
        )


class HeadsGiven(Given):
    public_key: str = Field(description="The key that this gateway signs with, whatever is kept.")
    data: list[HeadGiven]
    remembered: HeadGiven | None = Field(
        description="The last that this gateway signed or saw, kept outside of its database."
    )
    before: int | None = Field(description="For the next page of older ones; null at the end.")


def audit_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of the log."""
    admin = Depends(needs(doorkeeper, "admin"))
    routes = APIRouter(prefix="/audit", tags=["audit"], dependencies=[admin])

    @routes.get("", responses=errors(), openapi_extra=SECURITY)
    async def list_entries(
        *,
        since: Annotated[Moment | None, Query()] = None,
        actor: Word = None,
        action: Word = None,
        member: Word = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
        before: Number = None,
        after: Number = None,
    ) -> EntriesGiven:
        """List who did what, newest first; with `after`, oldest first from behind that number.

        `actor` is a kind, or the id of a key, node or member; `action` a whole one (`key.made`) or
        its first word; `member` asks for what a member did and what was done to what is its own.
        """
        wanted = Wanted(since, actor, action, member)
        if after is not None:
            return _page(await services.audit.following(after, limit, wanted), None)
        found = await services.audit.latest(limit, before, wanted)
        return _page(found, found[-1].seq if len(found) == limit else None)

    @routes.get("/head", responses=errors("nothing_signed"), openapi_extra=SECURITY)
    async def show_head() -> HeadGiven:
        """Give the newest signed head; keep it elsewhere, and the log cannot be cut below it."""
        head = await services.audit.head()
        if head is None:
            raise GatewayError("nothing_signed")
        return HeadGiven.of(head)

    @routes.get("/heads", responses=errors(), openapi_extra=SECURITY)
    async def list_heads(
        *, limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100, before: Number = None
    ) -> HeadsGiven:
        """List all signed heads, newest first, for whoever checks them."""
        found = await services.audit.latest_heads(limit, before)
        last = services.last_head()
        return HeadsGiven(
            public_key=services.audit_key,
            data=[HeadGiven.of(head) for head in found],
            remembered=None if last is None else HeadGiven.of(last),
            before=found[-1].size if len(found) == limit else None,
        )

    return routes


def _page(found: Sequence[Recorded], before: int | None) -> EntriesGiven:
    return EntriesGiven(data=[EntryGiven.of(entry) for entry in found], before=before)


__all__ = ["audit_routes"]
