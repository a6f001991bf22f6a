"""What the routes of images take and give."""

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import Field

from garage_ai.accounts import DecidedImage
from garage_ai.gateway.coordination.schemas import Asked, Given
from garage_ai.network.models import ImageState
from garage_ai.wire.messages import EngineImage

DIGEST: Final = r"^sha256:[0-9a-f]{64}$"


class ImageDecided(Asked):
    note: Annotated[str, Field(max_length=200, description="What it is, for other administrators.")]


class ImageGiven(Given):
    digest: str = Field(description="The registry's of a pulled image, the id of a built one.")
    state: ImageState = Field(
        description="`built` on a node of what was installed there serves without a decision."
    )
    content: str | None = Field(description="What a built image was built of; the same on any PC.")
    base: str = Field(description="What a built image stands on.")
    note: str
    decided_at: datetime | None
    nodes: list[str] = Field(description="Nodes that say they run it now.")

    @classmethod
    def seen(cls, image: EngineImage, state: ImageState, nodes: list[str]) -> Self:
        """Show an image that nodes run and nobody has decided about."""
        return cls(
            digest=image.digest,
            state=state,
            content=image.content,
            base=image.base,
            note="",
            decided_at=None,
            nodes=nodes,
        )

    @classmethod
    def decided(cls, decided: DecidedImage, image: EngineImage | None, nodes: list[str]) -> Self:
        """Show an image that was decided about, and who runs it."""
        return cls(
            digest=decided.digest,
            state=decided.state,
            content=image.content if image else None,
            base=image.base if image else "",
            note=decided.note,
            decided_at=decided.decided_at,
            nodes=nodes,
        )


class ImagesGiven(Given):
    data: list[ImageGiven]


__all__ = ["DIGEST", "ImageDecided", "ImageGiven", "ImagesGiven"]
