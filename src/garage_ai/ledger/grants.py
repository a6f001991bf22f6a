"""The free share of every month: given when a member first needs it, never on top of savings."""

from collections.abc import Awaitable, Callable, Collection
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


class Granting(Protocol):
    """What gives members their grants."""

    def has(self, member: MemberId) -> bool:
        """Tell whether a member is known to have this month's."""
        ...

    async def give(self, *asked: MemberId) -> None:
        """See to it that members have this month's. Raises: StorageError."""
        ...


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

    def has(self, member: MemberId) -> bool:
        """Tell whether a member is known to have this month's grant."""
        return member in self._given_in(self._now())

    async def give(self, *asked: MemberId) -> None:
        """See to it that members have this month's grant, all in the same few transactions.

        Raises: StorageError.
        """
        now = self._now()
        given = self._given_in(now)
        names = {_name(member, now): member for member in asked if member not in given}
        if not names:
            return
        decided = await self._book.are_decided(names)
        new = {member: name for name, member in names.items() if name not in decided}
        rewards = [
            await self._reward(new[member], member, joined, now)
            for member, joined in (await self._joined(new)).items()
        ]
        if rewards:
            await self._book.decide(rewards, now)
        due = [*decided, *(reward.id for reward in rewards)]
        await self._book.post(now, due)
        given.update(names[name] for name in due)

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)

    def _given_in(self, now: datetime) -> set[MemberId]:
        """Give who is known to have the grant of the month; the last month's are forgotten."""
        month = _month(now)
        if month != self._month:
            self._month, self._given = month, set()
        return self._given

    async def _reward(self, name: str, member: MemberId, joined: datetime, now: datetime) -> Reward:
        account = member_account(member)
        held = await self._ledger.balance(account)
        amount = grant(self._rules, held.amount, joined.date(), now.date())
        return Reward(name, _month(now), Kind.GRANT, ISSUANCE, account, amount)

    async def _joined(self, asked: Collection[MemberId]) -> dict[MemberId, datetime]:
        """Tell since when members are there, of those who are."""
        rows = select(members.c.id, members.c.created_at).where(
            members.c.id.in_(asked),
            members.c.suspended_at.is_(None),
            members.c.erased_at.is_(None),
        )
        async with self._storage.read() as connection:
            return {MemberId(row.id): row.created_at for row in await connection.execute(rows)}


def _month(now: datetime) -> str:
    return f"{now:%Y-%m}"


def _name(member: MemberId, now: datetime) -> str:
    return f"grant/{_month(now)}/{member}"


__all__ = ["Before", "Granting", "Grants", "Held", "Ledger", "no_grants"]
