"""Members: made, invited, suspended and let in again."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from garage_ai.accounts import InvalidInvite, InviteId, Key, Member, MemberId
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.books import as_enrolled
from garage_ai.gateway.coordination import member_schemas, schemas
from garage_ai.gateway.coordination.access import (
    OPEN,
    SECURITY,
    Admitted,
    IdempotencyKey,
    acting,
    errors,
    heed,
    needs,
)
from garage_ai.gateway.coordination.accounts import with_fingerprint
from garage_ai.gateway.coordination.paging import After, Limit, next_after
from garage_ai.gateway.coordination.paths import IdPath
from garage_ai.gateway.services import Services

_CHANGED = ("member_not_found", "operator_needed", "member_erased")


def member_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of members and invites."""
    routes = APIRouter(tags=["members"])
    admin = needs(doorkeeper, "admin")
    routes.include_router(_member_routes(services, admin))
    routes.include_router(_invite_routes(services, admin))
    routes.include_router(_accept_route(services, doorkeeper))
    return routes


def _member_routes(services: Services, admin: Admitted) -> APIRouter:
    routes = APIRouter()
    members = services.members

    @routes.post(
        "/members", status_code=201, responses=errors("invalid_field"), openapi_extra=SECURITY
    )
    async def create_member(
        asked: schemas.MemberAsked, key: Annotated[Key, Depends(admin)]
    ) -> schemas.MemberGiven:
        """Make a member, to whom keys, enrolment tokens and model names can belong."""
        return schemas.MemberGiven.of(await members.add(asked.name, by=acting(key)))

    @routes.get(
        "/members",
        responses=errors("member_not_found"),
        openapi_extra=SECURITY,
        dependencies=[Depends(admin)],
    )
    async def list_members(limit: Limit = None, after: After = None) -> schemas.MembersGiven:
        """List all members, the operator of the network among them, oldest first."""
        found = await members.list(limit, None if after is None else MemberId(after))
        return schemas.MembersGiven(
            data=[schemas.MemberGiven.of(each) for each in found], after=next_after(found, limit)
        )

    @routes.post(
        "/members/{member}/suspend",
        responses=errors(*_CHANGED, "last_admin_key"),
        openapi_extra=SECURITY,
    )
    async def suspend(member: IdPath, key: Annotated[Key, Depends(admin)]) -> schemas.MemberGiven:
        """Let a member's keys do nothing and its nodes get no new work.

        At once here, within a second at other gateways, their nodes within half a minute.
        """
        suspended = await members.suspend(MemberId(member), by=acting(key))
        return await _changed(services, suspended)

    @routes.post("/members/{member}/resume", responses=errors(*_CHANGED), openapi_extra=SECURITY)
    async def resume(member: IdPath, key: Annotated[Key, Depends(admin)]) -> schemas.MemberGiven:
        """Let a suspended member in again."""
        return await _changed(services, await members.resume(MemberId(member), by=acting(key)))

    return routes


async def _changed(services: Services, member: Member) -> schemas.MemberGiven:
    """Let a change be felt here at once; elsewhere it is heard of."""
    await services.keys.refresh()
    suspended = member.suspended_at is not None
    for view in services.network.nodes(member.id):
        services.network.enrol(as_enrolled(view, suspended=suspended))
    return schemas.MemberGiven.of(member)


def _invite_routes(services: Services, admin: Admitted) -> APIRouter:
    routes = APIRouter()
    invites = services.invites

    @routes.post(
        "/invites",
        status_code=201,
        responses=errors("invalid_field", "idempotency_conflict"),
        openapi_extra=SECURITY,
    )
    async def create_invite(
        asked: member_schemas.InviteAsked,
        key: Annotated[Key, Depends(admin)],
        idempotency_key: IdempotencyKey = None,
    ) -> member_schemas.InviteMade:
        """Make an invite; its secret is told this one time.

        The link for the newcomer is `/invite#SECRET` at this gateway: what stands behind the `#`
        is sent to nobody when the link is opened.
        """
        made = await invites.create(
            key.member,
            asked.name,
            asked.uses,
            timedelta(seconds=asked.ttl),
            idempotency_key=idempotency_key,
            by=acting(key),
        )
        shown = member_schemas.InviteGiven.of(made.invite)
        secret = with_fingerprint(made.secret, services.ca_fingerprint)
        return member_schemas.InviteMade(**shown.model_dump(), secret=secret)

    @routes.get(
        "/invites",
        responses=errors("invite_not_found"),
        openapi_extra=SECURITY,
        dependencies=[Depends(admin)],
    )
    async def list_invites(limit: Limit = None, after: After = None) -> member_schemas.InvitesGiven:
        """List all invites, oldest first."""
        found = await invites.list(limit, None if after is None else InviteId(after))
        shown = [member_schemas.InviteGiven.of(each) for each in found]
        return member_schemas.InvitesGiven(data=shown, after=next_after(found, limit))

    @routes.delete(
        "/invites/{invite}", responses=errors("invite_not_found"), openapi_extra=SECURITY
    )
    async def revoke_invite(
        invite: IdPath, key: Annotated[Key, Depends(admin)]
    ) -> member_schemas.InviteGiven:
        """Make an invite useless; who came by it stays."""
        revoked = await invites.revoke(InviteId(invite), by=acting(key))
        return member_schemas.InviteGiven.of(revoked)

    return routes


def _accept_route(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/invites/accept",
        status_code=201,
        responses=errors(
            "invalid_invite",
            "invite_expired",
            "invite_revoked",
            "invite_used",
            "invalid_field",
            "too_many_failures",
            key=False,
        ),
        openapi_extra=OPEN,
    )
    async def accept(
        asked: member_schemas.AcceptAsked,
        request: Request,
        idempotency_key: IdempotencyKey = None,
    ) -> member_schemas.AcceptedGiven:
        """Become a member by an invite, with a first key, whose secret is told this one time."""
        try:
            joined = await services.invites.accept(
                asked.secret, asked.name, idempotency_key=idempotency_key
            )
        except InvalidInvite:
            doorkeeper.count_failure(request.scope)
            raise
        # The limits first: the key is not to work without them.
        await heed(services.limit_book.refresh, services.keys.refresh)
        return member_schemas.AcceptedGiven(
            member=schemas.MemberGiven.of(joined.member),
            key=schemas.KeyGiven.of(joined.key, services.limit_book.of(joined.key.id)),
            secret=joined.secret,
        )

    return routes


__all__ = ["member_routes"]
