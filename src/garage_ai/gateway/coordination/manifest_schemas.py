"""What the routes of the catalogue give."""

from datetime import datetime
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import Field

from garage_ai.gateway.catalogue import CatalogueEntry
from garage_ai.gateway.coordination.schemas import Given

BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A manifest, as `gai models describe` writes one.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
"""The whole shape is told by the catalogue's own reader, in its words."""

ManifestFields = Annotated[
    dict[str, Any],
    Field(
        description="`id`, `name`, `family`, `kind`, `context_length`, `parameters`, "
        "`quantisation`, `licence`, `files`, and where they are known `template_digest`, "
        "`tokenizer_digest`, `sources` and `rank`."
    ),
]


class ManifestGiven(Given):
    digest: str = Field(description="Over all fields of the manifest but `sources` and `rank`.")
    name: str
    added_at: datetime | None = Field(description="Null for what comes with the gateway's version.")
    manifest: ManifestFields

    @classmethod
    def of(cls, entry: CatalogueEntry) -> Self:
        """Show a model of the catalogue."""
        return cls(
            digest=entry.digest,
            name=entry.manifest.name,
            added_at=entry.added_at,
            manifest=msgspec.to_builtins(entry.manifest),
        )


class ManifestsGiven(Given):
    data: list[ManifestGiven]


__all__ = ["BODY", "ManifestGiven", "ManifestsGiven"]
