"""Images of engines: which are known, where they run, and what an administrator says of them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, Body, Depends, Path

from garage_ai.accounts import DecidedImage, Key
from garage_ai.gateway.auth import Doorkeeper
from garage_ai.gateway.books import image_list
from garage_ai.gateway.coordination.access import SECURITY, acting, errors, needs
from garage_ai.gateway.coordination.image_schemas import (
    DIGEST,
    ImageDecided,
    ImageGiven,
    ImagesGiven,
)
from garage_ai.gateway.services import Services
from garage_ai.network.models import ImageState, NodeView
from garage_ai.wire.messages import EngineImage

_log = structlog.get_logger(__name__)

DigestPath = Annotated[str, Path(pattern=DIGEST)]


def image_routes(services: Services, doorkeeper: Doorkeeper) -> APIRouter:
    """Make the routes of images."""
    caller = needs(doorkeeper, "admin")
    routes = APIRouter(tags=["images"], dependencies=[Depends(caller)])

    @routes.get("/images", responses=errors(), openapi_extra=SECURITY)
    async def list_images() -> ImagesGiven:
        """List the images that were decided about, and those that nodes say they run now."""
        return ImagesGiven(data=_shown(await services.images.list(), services.network.nodes()))

    @routes.post(
        "/images/{digest}/approve", responses=errors("invalid_field"), openapi_extra=SECURITY
    )
    async def approve(
        digest: DigestPath,
        key: Annotated[Key, Depends(caller)],
        asked: Annotated[ImageDecided | None, Body()] = None,
    ) -> ImageGiven:
        """Let nodes serve from an image: at once here, within half a minute at other gateways."""
        return await _decide(services, digest, asked, key, revoked=False)

    @routes.post(
        "/images/{digest}/revoke", responses=errors("invalid_field"), openapi_extra=SECURITY
    )
    async def revoke(
        digest: DigestPath,
        key: Annotated[Key, Depends(caller)],
        asked: Annotated[ImageDecided | None, Body()] = None,
    ) -> ImageGiven:
        """Give nodes no work that run this image, or one that was built of or on it."""
        return await _decide(services, digest, asked, key, revoked=True)

    return routes


async def _decide(
    services: Services, digest: str, asked: ImageDecided | None, key: Key, *, revoked: bool
) -> ImageGiven:
    note = asked.note if asked is not None else None
    await services.images.decide(digest, note, revoked=revoked, by=acting(key))
    _log.info("image_revoked" if revoked else "image_approved", digest=digest)
    decided = await services.images.list()
    services.network.images_are(image_list(decided))
    shown = _shown(decided, services.network.nodes())
    return next(each for each in shown if each.digest == digest)


def _shown(decided: Sequence[DecidedImage], nodes: Sequence[NodeView]) -> list[ImageGiven]:
    """Put together what was decided and what is run; what waits for a decision comes first."""
    running: dict[str, tuple[EngineImage, ImageState]] = {}
    where: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node.image is not None:
            running[node.image.digest] = node.image, node.image_state
            where[node.image.digest].append(node.id)
    known = {each.digest for each in decided}
    waiting = [
        ImageGiven.seen(image, state, where[digest])
        for digest, (image, state) in running.items()
        if digest not in known
    ]
    waiting.sort(key=lambda image: (image.state != "pending", image.digest))
    for each in decided:
        image = running[each.digest][0] if each.digest in running else None
        waiting.append(ImageGiven.decided(each, image, where[each.digest]))
    return waiting


__all__ = ["image_routes"]
