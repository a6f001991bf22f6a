"""What the edge needs of the books, as protocols."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from garage_ai.accounts import KeyId, MemberId
from garage_ai.audit.models import Actor
from garage_ai.ledger import AccountId, Balance, NanoGai, Statement, Transfer, Verification
from garage_ai.ledger.charges import Price
from garage_ai.ledger.prices import PriceEntry
from garage_ai.ledger.proxied import Mapping, MappingKind, Page, ProxiedCall, TellResult
from garage_ai.wire.ids import NodeId


class Ledger(Protocol):
    """The accounts' books."""

    async def balance(self, account: AccountId) -> Balance:
        """Tell what an account has."""
        ...

    async def statement(
        self, account: AccountId, limit: int = 100, before: int | None = None
    ) -> Statement:
        """List an account's transfers, newest first."""
        ...

    async def post(self, transfers: Sequence[Transfer], *, by: Actor | None = None) -> int:
        """Enter transfers, all or none; recorded where somebody does it. Raises: LedgerError."""
        ...

    async def verify(self) -> Verification:
        """Check the whole books."""
        ...

    def entries(self, account: AccountId | None = None) -> AsyncIterator[Transfer]:
        """Give all transfers, oldest first."""
        ...


class Prices(Protocol):
    """What models cost."""

    def price(self, digest: str | None, model: str) -> Price:
        """Give what a model costs now."""
        ...

    @property
    def held(self) -> Sequence[PriceEntry]:
        """All entries that hold now."""
        ...

    @property
    def coming(self) -> Sequence[PriceEntry]:
        """Entries that will hold."""
        ...

    def history(self, subject: str | None = None) -> Sequence[PriceEntry]:
        """Give every price there was or will be."""
        ...

    async def set(
        self,
        subject: str,
        price: Price,
        *,
        by: Actor = ...,
        effective_from: datetime | None = None,
        note: str = "",
        batch_permille: int = ...,
    ) -> PriceEntry:
        """Add an entry. Raises: InvalidPrice, PriceTooSoon."""
        ...


class Proxied(Protocol):
    """Calls that LiteLLM proxies took."""

    async def tell(
        self, proxy: MemberId, key: KeyId, calls: Sequence[ProxiedCall]
    ) -> Sequence[TellResult]:
        """Keep what a proxy tells."""
        ...

    async def map(self, kind: MappingKind, value: str, member: MemberId, *, by: Actor) -> Mapping:
        """Map calls to a member. Raises: ProxiedError."""
        ...

    async def unmap(self, kind: MappingKind, value: str, *, by: Actor) -> Mapping:
        """Take a mapping away. Raises: MappingNotFound."""
        ...

    async def mappings(self) -> Sequence[Mapping]:
        """Give all mappings."""
        ...

    async def compare(
        self, since: datetime | None, until: datetime | None, after: str | None
    ) -> Page:
        """Compare a page of both sides. Raises: ValueError."""
        ...


class Grants(Protocol):
    """The free share of every month."""

    async def give(self, member: MemberId) -> None:
        """See to it that a member has this month's. Raises: StorageError."""


class Rewards(Protocol):
    """What is given, and what is held back."""

    async def forfeit(
        self, node: NodeId, why: str, now: datetime, *, key: str, by: Actor
    ) -> NanoGai | None:
        """Give what is held back of a node to the community, once for each `key`.

        None where no such node ever was. Raises: TransferConflict.
        """
        ...

    async def owner(self, node: NodeId) -> MemberId | None:
        """Tell whose a node is or was; None where there never was one."""
        ...


__all__ = ["Grants", "Ledger", "Prices", "Proxied", "Rewards"]
