"""What nodes have earned by work for others, by which they prove themselves.

Of each node only what was entered since the last look is read: all that it ever earned would be
millions of entries, every five minutes.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import case, func, select

from garage_ai.ledger.models import AccountId, Kind, NanoGai, escrow_account, member_account
from garage_ai.ledger.rewards import Rules, Work, is_proved
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import transfers
from garage_ai.wire.ids import NodeId

_PAGE: Final = 10_000


@dataclass(slots=True)
class _Earned:
    """What was held back of a node's work for others since a moment, up to an entry's number."""

    since: datetime
    last: int = 0
    held: int = 0
    payers: set[AccountId] = field(default_factory=set)


class Proofs:
    """Who has done its work, in memory: a gateway that starts reads it all once."""

    def __init__(self, storage: Storage, rules: Rules) -> None:
        self._storage = storage
        self._rules = rules
        self._earned: dict[NodeId, _Earned] = {}

    async def newest(self) -> int:
        """Number the last entry, once none is to come below it any more. Raises: StorageError."""
        async with self._storage.read() as connection:
            newest = int(await connection.scalar(select(func.max(transfers.c.seq))) or 0)
        await self._storage.writes_ended()
        return newest

    async def has_proved(
        self, node: NodeId, owner: MemberId, since: datetime, until: datetime, newest: int
    ) -> bool:
        """Tell whether a node has done its work, by what others paid for it into escrow.

        Others are whose accounts paid: all that a proxy passes on later is one's, the proxy's.
        Raises: StorageError.
        """
        age = until - since
        if age < self._rules.probation or not self._rules.escrow:
            return False
        earned = self._earned.get(node)
        if earned is None or earned.since != since:
            earned = self._earned[node] = _Earned(since)
        while earned.last < newest:
            await self._read_on(earned, node, owner, newest)
        amount = NanoGai(earned.held * 1000 // self._rules.escrow)
        return is_proved(self._rules, Work(age, amount, len(earned.payers)))

    async def _read_on(self, earned: _Earned, node: NodeId, owner: MemberId, newest: int) -> None:
        entry = transfers.c
        page = (
            select(entry.seq, entry.kind, entry.debit, entry.amount, entry.at)
            .where(
                entry.credit == escrow_account(node), entry.seq > earned.last, entry.seq <= newest
            )
            .order_by(entry.seq)
            .limit(_PAGE)
            .subquery()
        )
        counts = (
            (page.c.kind == Kind.USE)
            & (page.c.debit != member_account(owner))
            & (page.c.at >= earned.since)
        )
        asked = select(
            page.c.debit,
            func.sum(case((counts, page.c.amount), else_=0)),
            func.count(),
            func.max(page.c.seq),
        ).group_by(page.c.debit)
        async with self._storage.read() as connection:
            rows = (await connection.execute(asked)).all()
        for payer, amount, *_ in rows:
            if amount:
                earned.held += int(amount)
                earned.payers.add(AccountId(payer))
        whole = sum(row[2] for row in rows) < _PAGE
        earned.last = newest if whole else max(row[3] for row in rows)


__all__ = ["Proofs"]
