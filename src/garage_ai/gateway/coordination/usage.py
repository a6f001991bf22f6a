"""What was used, by whom and of what."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from garage_ai.accounts import Key
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination import usage_schemas
from garage_ai.gateway.coordination.access import SECURITY, errors, needs, only
from garage_ai.gateway.coordination.moments import Moment
from garage_ai.gateway.services import Services
from garage_ai.storage import Grouping


def usage_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the route of usage: all of it for an administrator, the own for a member."""
    routes = APIRouter(tags=["usage"])
    caller = needs(doorkeeper, "member", "admin")

    @routes.get("/usage", responses=errors(), openapi_extra=SECURITY)
    async def usage(
        key: Annotated[Key, Depends(caller)],
        *,
        since: Annotated[Moment | None, Query()] = None,
        until: Annotated[Moment | None, Query()] = None,
        by: Grouping = "member",
        limit: Annotated[int, Query(ge=0, le=1000, description="Records; 0 for sums alone.")] = 20,
        before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    ) -> usage_schemas.UsageGiven:
        """Add usage up by one property, and list the newest records.

        `since` and `until` bound the sums; without `since` they are of the 31 days before `until`
        or now. `before` pages through the records. A member sees its own, an administrator
        everybody's.
        """
        totals = await services.usage.totals(since, until, by, only(key))
        page = await services.usage.page(limit, before, only(key)) if limit else None
        return usage_schemas.UsageGiven(
            totals=[usage_schemas.UsageTotalGiven.of(total) for total in totals],
            records=[usage_schemas.UsageRecordGiven.of(r) for r in page.records] if page else [],
            before=page.before if page else None,
        )

    return routes


__all__ = ["usage_routes"]
