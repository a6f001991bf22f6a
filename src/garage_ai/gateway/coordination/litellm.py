"""LiteLLM proxies in front: what they tell, whose calls those are, and where both sides differ."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from garage_ai.accounts import Key, MemberId
from garage_ai.audit.models import Actor
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import litellm_schemas
from garage_ai.gateway.coordination.access import SECURITY, errors, needs
from garage_ai.gateway.coordination.moments import Moment
from garage_ai.gateway.errors import BadRequest
from garage_ai.gateway.services import Proxied, Services
from garage_ai.ledger.proxied import MappingKind, TellResult

TOLD_PATH: Final = "/api/v1/usage/litellm"


def litellm_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of LiteLLM proxies."""
    routes = APIRouter(tags=["litellm"])
    admin = [Depends(needs(doorkeeper, "admin"))]
    teller = Depends(needs(doorkeeper, "usage", "admin"))
    proxied = services.proxied

    @routes.post("/usage/litellm", responses=errors(), openapi_extra=SECURITY)
    async def tell(
        told: litellm_schemas.CallsTold, key: Annotated[Key, teller]
    ) -> litellm_schemas.CallResults:
        """Keep what a proxy says of its calls; each is kept once, however often it is told.

        Takes a key with the scope `usage` or `admin`. One that is unfit keeps no other out.
        """
        fit = [each.call() for each in told.calls if isinstance(each, litellm_schemas.CallTold)]
        results = await proxied.tell(key.member, key.id, fit)
        return litellm_schemas.CallResults(results=list(_results(told, results)))

    @routes.get(
        "/usage/litellm/differences",
        responses=errors(),
        openapi_extra=SECURITY,
        dependencies=admin,
    )
    async def differences(
        since: Annotated[Moment | None, Query()] = None,
        until: Annotated[Moment | None, Query()] = None,
        after: Annotated[str | None, Query(max_length=40)] = None,
    ) -> litellm_schemas.ComparedGiven:
        """Compare what LiteLLM told with what the gateway has, a page of calls at a time."""
        try:
            page = await proxied.compare(since, until, after)
        except ValueError as error:
            raise BadRequest("invalid_value", f"'after': {error}.", param="after") from error
        return litellm_schemas.ComparedGiven.of(page)

    routes.include_router(_mapping_routes(proxied, doorkeeper), dependencies=admin)
    return routes


def _mapping_routes(proxied: Proxied, doorkeeper: Doorkeeper) -> APIRouter:
    routes = APIRouter()
    admin = Depends(needs(doorkeeper, "admin"))

    @routes.get("/litellm/mappings", responses=errors(), openapi_extra=SECURITY)
    async def list_mappings() -> litellm_schemas.MappingsGiven:
        """List which member pays for the calls of which LiteLLM key, user or team."""
        found = await proxied.mappings()
        return litellm_schemas.MappingsGiven(
            data=[litellm_schemas.MappingGiven.of(each) for each in found]
        )

    @routes.post(
        "/litellm/mappings",
        responses=errors("member_not_found", "invalid_field"),
        openapi_extra=SECURITY,
    )
    async def put_mapping(
        asked: litellm_schemas.MappingAsked, key: Annotated[Key, admin]
    ) -> litellm_schemas.MappingGiven:
        """Map a LiteLLM key, user or team to a member; calls that wait are booked now."""
        mapping = await proxied.map(
            asked.kind, asked.value, MemberId(asked.member), by=Actor.key(key.id, key.member)
        )
        return litellm_schemas.MappingGiven.of(mapping)

    @routes.delete(
        "/litellm/mappings", responses=errors("mapping_not_found"), openapi_extra=SECURITY
    )
    async def remove_mapping(
        kind: MappingKind,
        value: Annotated[str, Query(min_length=1, max_length=255)],
        key: Annotated[Key, admin],
    ) -> litellm_schemas.MappingGiven:
        """Take a mapping away; what was booked stays booked."""
        gone = await proxied.unmap(kind, value, by=Actor.key(key.id, key.member))
        return litellm_schemas.MappingGiven.of(gone)

    return routes


def _results(
    told: litellm_schemas.CallsTold, results: Sequence[TellResult]
) -> Iterator[litellm_schemas.CallResult]:
    kept = iter(results)
    for each in told.calls:
        if isinstance(each, litellm_schemas.Unfit):
            yield litellm_schemas.CallResult(
                call_id=each.call_id, result="refused", reason=each.reason
            )
            continue
        result = next(kept)
        if result == "taken":
            reason = "another proxy told of a call of this id"
            yield litellm_schemas.CallResult(call_id=each.call_id, result="refused", reason=reason)
        else:
            yield litellm_schemas.CallResult(call_id=each.call_id, result=result, reason=None)


__all__ = ["TOLD_PATH", "litellm_routes"]
