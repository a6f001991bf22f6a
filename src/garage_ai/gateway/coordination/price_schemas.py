"""What the routes of prices take and give; amounts are whole nGAI for 1,000 tokens, as text."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from garage_ai.catalog import Catalog, Digest
from garage_ai.gateway.coordination.moments import Moment
from garage_ai.gateway.coordination.schemas import Asked, Given
from garage_ai.ledger.charges import Price
from garage_ai.ledger.models import NanoGai
from garage_ai.ledger.prices import ANY_MODEL, BATCH_PERMILLE, PriceEntry

PriceText = Annotated[
    str,
    Field(
        pattern=r"^(0|[1-9][0-9]{0,12})$",
        examples=["830000"],
        description="nGAI for 1,000 tokens; a million of them cost a thousandth of that in GAI.",
    ),
]
ModelText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="A manifest's digest, a model's name, or `*` for all that have no price.",
    ),
]


class PriceAsked(Asked):
    model: ModelText
    prompt: PriceText
    completion: PriceText
    effective_from: Moment | None = Field(
        None, description="A minute from now at the earliest, which it is if nothing is said."
    )
    note: Annotated[str, Field(max_length=200)] = ""
    batch_permille: Annotated[
        int, Field(ge=0, le=1000, description="Thousandths of the price that batches pay.")
    ] = BATCH_PERMILLE

    @property
    def price(self) -> Price:
        """The price that is asked for."""
        return Price(NanoGai(int(self.prompt)), NanoGai(int(self.completion)))


class PriceGiven(Given):
    id: str
    model: str = Field(description=f"A digest or a name; `{ANY_MODEL}` is every other model.")
    name: str | None = Field(
        description="What the catalogue calls a model that is given by its digest."
    )
    prompt: PriceText
    completion: PriceText
    effective_from: datetime
    set_at: datetime
    set_by: str | None = Field(description="A member; null for what a version derived by itself.")
    note: str
    batch_permille: int = Field(
        description="Thousandths of the price that batches pay, which run on what chat leaves over."
    )

    @classmethod
    def of(cls, entry: PriceEntry, catalog: Catalog) -> Self:
        """Show an entry."""
        known = catalog.by_digest(Digest(entry.subject))
        return cls(
            id=entry.id,
            model=entry.subject,
            name=None if known is None else known.name,
            prompt=str(entry.price.prompt),
            completion=str(entry.price.completion),
            effective_from=entry.effective_from,
            set_at=entry.set_at,
            set_by=entry.set_by,
            note=entry.note,
            batch_permille=entry.batch_permille,
        )


class PricesGiven(Given):
    data: list[PriceGiven]
    coming: list[PriceGiven] = Field(description="What will hold, the next first.")


class PriceHistoryGiven(Given):
    data: list[PriceGiven]


__all__ = ["ModelText", "PriceAsked", "PriceGiven", "PriceHistoryGiven", "PricesGiven"]
