"""What is one's own: seen, taken along, and erased."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import StreamingResponse

from garage_ai.accounts import Key
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import member_schemas, schemas
from garage_ai.gateway.coordination.access import SECURITY, acting, errors, needs
from garage_ai.gateway.coordination.ledger import give_grant
from garage_ai.gateway.coordination.ledger_schemas import BalanceGiven
from garage_ai.gateway.coordination.node_schemas import NodeGiven
from garage_ai.gateway.coordination.usage_schemas import UsageTotalGiven
from garage_ai.gateway.services import Services
from garage_ai.ledger import member_account

_EXPORTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "All of it.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def me_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of what is one's own."""
    routes = APIRouter(prefix="/me", tags=["me"])
    caller = needs(doorkeeper, "member", "admin")

    @routes.get("", responses=errors(), openapi_extra=SECURITY)
    async def me(
        key: Annotated[Key, Depends(needs(doorkeeper, None))],
    ) -> member_schemas.MeGiven:
        """Show the key that asks, and what its member has."""
        return await _shown(services, key)

    @routes.get(
        "/export",
        responses=errors() | _EXPORTED,
        openapi_extra=SECURITY,
        response_class=StreamingResponse,
    )
    async def export(key: Annotated[Key, Depends(caller)]) -> StreamingResponse:
        """Give all that is kept of the key's member, as one JSON object.

        Member, keys without their secrets, limits and their use, tokens, invites, nodes,
        measurements, model names, usage, files, batches, calls by LiteLLM proxies, entries of the
        ledger and what goes with them, and the acts by and about the member.
        """
        await services.members.get(key.member)  # a database that is away says so before it begins
        named = {"content-disposition": 'attachment; filename="garage-ai.json"'}
        data = services.own_data.export(key.member)
        return StreamingResponse(data, media_type="application/json", headers=named)

    @routes.delete(
        "",
        responses=errors("operator_needed", "not_confirmed", "last_admin_key", "member_not_found"),
        openapi_extra=SECURITY,
    )
    async def erase(
        asked: member_schemas.EraseAsked, key: Annotated[Key, Depends(caller)]
    ) -> schemas.MemberGiven:
        """Erase the key's member, for good; its own name in the body confirms it.

        Keys, tokens and nodes end, names are forgotten; what was used and booked stays under an id.
        """
        by = acting(key)
        await services.members.may_erase(key.member, asked.name, by=by)
        await _remove_nodes(services, key)
        erased = await services.members.erase(key.member, asked.name, by=by)
        await services.keys.refresh()
        return schemas.MemberGiven.of(erased)

    return routes


async def _remove_nodes(services: Services, key: Key) -> None:
    """Cut the member's nodes off before they are forgotten: nobody would know them afterwards."""
    for node in await services.enrolment.remove_all(key.member, by=acting(key)):
        services.network.remove(node)


async def _shown(services: Services, key: Key) -> member_schemas.MeGiven:
    member = schemas.MemberGiven.of(await services.members.get(key.member))
    book = services.limit_book
    kept = await services.keys.list(key.member)
    # As it is kept: the key that was let in is of memory, which does not know its last use.
    asking = next(each for each in kept if each.id == key.id)
    shown = schemas.KeyGiven.of(asking, book.of(key.id))
    if key.scopes.isdisjoint(("member", "admin")):
        return member_schemas.MeGiven(
            key=shown, member=member, keys=None, nodes=None, usage=None, balance=None
        )
    await give_grant(services, key)
    measured = await services.benchmarks.latest(member=key.member)
    totals = await services.usage.totals(None, None, "model", key.member)
    return member_schemas.MeGiven(
        key=shown,
        member=member,
        keys=[schemas.KeyGiven.of(each, book.of(each.id)) for each in kept],
        nodes=[
            NodeGiven.of(view, measured.get(view.id), services.figures)
            for view in services.network.nodes(key.member)
        ],
        usage=[UsageTotalGiven.of(total) for total in totals],
        balance=BalanceGiven.of(await services.ledger.balance(member_account(key.member))),
    )


__all__ = ["me_routes"]
