"""The free share of every month: given when a member first needs it, never on top of savings."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import select

from garage_ai.audit.models import Clock, utc_now
from garage_ai.ledger.models import ISSUANCE, AccountId, Kind, NanoGai, member_account
from garage_ai.ledger.reward_book import Poster, Reward, RewardBook
from garage_ai.ledger.rewards import Rules, grant
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import members

Before = Callable[[MemberId], Awaitable[None]]
"""Done for a payer before its balance is asked; raises StorageError."""


async def no_grants(_: MemberId) -> None:
    """Give nothing before a payer's balance is asked."""


class Held(Protocol):
    """What an account has."""

    @property
    def amount(self) -> NanoGai:
        """In nGAI."""
        ...


class Ledger(Poster, Protocol):
    """What grants need of the ledger."""

    async def balance(self, account: AccountId) -> Held:
        """Tell what an account has."""
        ...


class Grants:
    """Give each member who comes in a month what is missing to the grant, once.

    Who does not come gets none, so that nothing is minted for accounts that lie idle.
    """

    def __init__(
        self,
        storage: Storage,
        ledger: Ledger,
        rules: Rules,
        clock: Clock = utc_now,
    ) -> None:
        self._storage = storage
        self._ledger = ledger
        self._rules = rules
        self._clock = clock
        self._book = RewardBook(storage, ledger)
        self._month = ""
        self._given: set[MemberId] = set()

    async def give(self, member: MemberId) -> None:
        """See to it that a member has this month's grant. Raises: StorageError."""
        now = self._clock().astimezone(UTC)
        month = f"{now:%Y-%m}"
        if month != self._month:
            self._month, self._given = month, set()
        if member in self._given:
            return
        name = f"grant/{month}/{member}"
        if not await self._book.is_decided(name):
            joined = await self._joined(member)
            if joined is None:
                return
            account = member_account(member)
            held = await self._ledger.balance(account)
            amount = grant(self._rules, held.amount, joined.date(), now.date())
            given = Reward(name, month, Kind.GRANT, ISSUANCE, account, amount)
            await self._book.decide([given], now)
        await self._book.post(now, name)
        if month == self._month:
            self._given.add(member)

    async def _joined(self, member: MemberId) -> datetime | None:
        asked = select(members.c.created_at).where(
            members.c.id == member,
            members.c.suspended_at.is_(None),
            members.c.erased_at.is_(None),
        )
        async with self._storage.read() as connection:
            joined: datetime | None = await connection.scalar(asked)
        return joined


__all__ = ["Before", "Grants", "Held", "Ledger", "no_grants"]
