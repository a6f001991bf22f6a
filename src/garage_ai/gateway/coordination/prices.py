"""What models cost: shown to every key, set by administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from garage_ai.accounts import Key
from garage_ai.audit.models import Actor
from garage_ai.catalog import Catalog, digest_of
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination.access import SECURITY, errors, needs
from garage_ai.gateway.coordination.price_schemas import (
    ModelText,
    PriceAsked,
    PriceGiven,
    PriceHistoryGiven,
    PricesGiven,
)
from garage_ai.gateway.services import Services


def price_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of prices."""
    routes = APIRouter(prefix="/prices", tags=["prices"])
    prices = services.prices
    any_key = [Depends(needs(doorkeeper, None))]

    @routes.get("", dependencies=any_key, responses=errors(), openapi_extra=SECURITY)
    async def list_prices() -> PricesGiven:
        """List the prices that hold now, and those to come. A request keeps the price that held
        when it was admitted."""
        catalog = services.catalogue.catalog
        return PricesGiven(
            data=[PriceGiven.of(entry, catalog) for entry in prices.held],
            coming=[PriceGiven.of(entry, catalog) for entry in prices.coming],
        )

    @routes.get("/history", dependencies=any_key, responses=errors(), openapi_extra=SECURITY)
    async def price_history(
        model: Annotated[ModelText | None, Query()] = None,
    ) -> PriceHistoryGiven:
        """List every price there was or will be, newest first, of one model or of all."""
        catalog = services.catalogue.catalog
        found = prices.history(None if model is None else subject_of(model, catalog))
        return PriceHistoryGiven(data=[PriceGiven.of(entry, catalog) for entry in found])

    @routes.put("", responses=errors("invalid_price", "price_too_soon"), openapi_extra=SECURITY)
    async def set_price(
        asked: PriceAsked, key: Annotated[Key, Depends(needs(doorkeeper, "admin"))]
    ) -> PriceGiven:
        """Add a price to the list; those before it stay in the history."""
        catalog = services.catalogue.catalog
        entry = await prices.set(
            subject_of(asked.model, catalog),
            asked.price,
            by=Actor.key(key.id, key.member),
            effective_from=asked.effective_from,
            note=asked.note,
            batch_permille=asked.batch_permille,
        )
        return PriceGiven.of(entry, catalog)

    return routes


def subject_of(model: str, catalog: Catalog) -> str:
    """Give what a price is for: of a model of the catalogue its digest, else the name itself."""
    manifest = catalog.by_name(model)
    return model if manifest is None else str(digest_of(manifest))


__all__ = ["price_routes", "subject_of"]
