"""The catalogue: which models the network knows, shown to everybody, decided by administrators."""

from functools import lru_cache
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from garage_ai.accounts import Key
from garage_ai.catalog import Catalog, decode_manifest
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.coordination.access import OPEN, SECURITY, acting, errors, needs
from garage_ai.gateway.coordination.manifest_schemas import BODY, ManifestGiven, ManifestsGiven
from garage_ai.gateway.errors import GatewayError
from garage_ai.gateway.services import Services

MANIFESTS_PATH: Final = "/api/v1/manifests"

_log = structlog.get_logger(__name__)

NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]


def manifest_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of the catalogue."""
    routes = APIRouter(prefix="/manifests", tags=["manifests"])
    admin = needs(doorkeeper, "admin")
    catalogue = services.catalogue

    @lru_cache(maxsize=1)
    def listed(_: Catalog) -> bytes:
        """Write the list once for each catalogue: anybody may ask for it, as often as he likes."""
        data = [ManifestGiven.of(each) for each in catalogue.entries()]
        return ManifestsGiven(data=data).model_dump_json().encode()

    @routes.get("", response_model=ManifestsGiven, responses=errors(key=False), openapi_extra=OPEN)
    async def list_manifests() -> Response:
        """List the models that the network knows, served now or not."""
        return Response(listed(catalogue.catalog), media_type="application/json")

    @routes.get("/{name}", responses=errors("model_not_found", key=False), openapi_extra=OPEN)
    async def show_manifest(name: NamePath) -> ManifestGiven:
        """Show one: what it is made of, and where a node fetches it."""
        entry = catalogue.entry(name)
        if entry is None:
            raise GatewayError("model_not_found", f"The catalogue has no model called {name!r}.")
        return ManifestGiven.of(entry)

    @routes.post(
        "",
        responses=errors("invalid_manifest", "manifest_exists"),
        openapi_extra=SECURITY | BODY,
    )
    async def add_manifest(request: Request, key: Annotated[Key, Depends(admin)]) -> ManifestGiven:
        """Add a model: known, counted and priced at once here, within two seconds elsewhere.

        Added again it stays as it is; other `sources` and another `rank` take the old ones' place.
        """
        manifest = decode_manifest(await request.body(), "the manifest")
        entry = await catalogue.add(manifest, by=acting(key))
        _log.info("manifest_added", model=manifest.name, digest=entry.digest)
        return ManifestGiven.of(entry)

    @routes.delete(
        "/{name}",
        responses=errors("model_not_found", "conflict"),
        openapi_extra=SECURITY,
    )
    async def remove_manifest(name: NamePath, key: Annotated[Key, Depends(admin)]) -> ManifestGiven:
        """Take a model out, and show it one last time.

        Nodes go on serving it, but as a model that is in no catalogue: the name is whose member
        claims it first, tokens are counted by the rule, and nobody earns by it.
        """
        await catalogue.refresh()  # it may have been added elsewhere a moment ago
        entry = catalogue.entry(name)
        await catalogue.remove(name, by=acting(key))
        if entry is None:
            raise GatewayError("model_not_found", f"The catalogue has no model called {name!r}.")
        _log.info("manifest_removed", model=name, digest=entry.digest)
        return ManifestGiven.of(entry)

    return routes


__all__ = ["MANIFESTS_PATH", "manifest_routes"]
