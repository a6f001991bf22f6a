"""The rules of the books, over the part of them that one transaction has before it. Pure.

An account has an amount, of which a part is leased to gateways: they promise it to requests that
run. What is neither leased nor spent is available. A lease ends once, in one of two ways:

    open ──► closed     the gateway gave back what it had not settled
         └─► expired    the gateway was not heard of; the rest went back and is `unaccounted`
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, NewType, Self

import msgspec

from garage_ai.ledger.errors import InvalidTransfer, Overdraft, TransferConflict
from garage_ai.ledger.models import AccountId, NanoGai, Transfer
from garage_ai.ledger.rules import check_transfer, may_go_below_zero
from garage_ai.storage import UsageRecord

LeaseId = NewType("LeaseId", str)

LeaseState = Literal["open", "closed", "expired"]

Outcome = Literal["entered", "repeated", "refused"]
"""What became of a settlement; `refused` leaves its amount unaccounted."""


class Position(msgspec.Struct, frozen=True):
    """What an account has in nGAI, how much of that is leased, and how many entries made it."""

    amount: int = 0
    leased: int = 0
    entries: int = 0

    @property
    def available(self) -> int:
        """What may be given away now."""
        return self.amount - self.leased

    def moved(self, amount: int, entries: int = 1) -> "Position":
        """Add an amount, below zero for a debit."""
        return Position(self.amount + amount, self.leased, self.entries + entries)

    def lent(self, amount: int) -> "Position":
        """Lease more, or less by an amount below zero."""
        return Position(self.amount, self.leased + amount, self.entries)


class Lease(msgspec.Struct, frozen=True):
    """What a gateway may promise of a payer's amount; `settled` of it is spent."""

    id: LeaseId
    gateway: str
    payer: AccountId
    amount: int
    settled: int
    expires_at: datetime
    state: LeaseState = "open"

    @property
    def rest(self) -> int:
        """What is not spent."""
        return self.amount - self.settled

    def spent(self, amount: int) -> "Lease":
        """Settle an amount of it."""
        return msgspec.structs.replace(self, settled=self.settled + amount)


class Settlement(msgspec.Struct, frozen=True):
    """What a request costs in the end, out of the lease that promised it."""

    lease: LeaseId
    payer: AccountId
    transfers: tuple[Transfer, ...]

    @property
    def total(self) -> NanoGai:
        """The sum of its transfers."""
        return NanoGai(sum([transfer.amount for transfer in self.transfers]))


class Receipt(msgspec.Struct, frozen=True):
    """What a request used, and what it cost where it cost anything: entered together or not at all.

    The record's charge is the settlement's total.
    """

    record: UsageRecord
    settlement: Settlement | None = None

    def unbilled(self) -> "Receipt":
        """Keep what was used, where the books do not take what it cost."""
        return Receipt(self.record.but(charge=None))


@dataclass(slots=True)
class Queued:
    """What is to be added to an account that this transaction has not locked."""

    amount: int = 0
    entries: int = 0


@dataclass(slots=True)
class Sums:
    """What settlements add to rows that nobody has read, where each of them is good and new.

    `paid` is for the accounts that pay here: what each paid in all, and what is added to it.
    """

    entered: dict[str, Transfer] = field(default_factory=dict)
    spent: dict[tuple[LeaseId, AccountId], int] = field(default_factory=dict)
    paid: dict[AccountId, tuple[int, Queued]] = field(default_factory=dict)
    queued: dict[AccountId, Queued] = field(default_factory=dict)

    @classmethod
    def of(cls, settlements: Iterable[Settlement]) -> Self:
        """Add up. Raises: InvalidTransfer, TransferConflict where one comes twice."""
        sums = cls()
        entered, queued = sums.entered, sums.queued
        payers: dict[AccountId, tuple[int, int]] = {}
        for settlement in settlements:
            payer, total = settlement.payer, 0
            for transfer in settlement.transfers:
                check_transfer(transfer)
                if transfer.debit != payer:
                    raise InvalidTransfer(f"{settlement.lease} is not a lease of whoever is to pay")
                if transfer.id in entered:
                    raise TransferConflict(transfer.id)
                entered[transfer.id] = transfer
                total += transfer.amount
                to = queued.get(transfer.credit)
                if to is None:
                    to = queued[transfer.credit] = Queued()
                to.amount += transfer.amount
                to.entries += 1
            lease = settlement.lease, payer
            sums.spent[lease] = sums.spent.get(lease, 0) + total
            paid, entries = payers.get(payer, (0, 0))
            payers[payer] = paid + total, entries + len(settlement.transfers)
        for payer, (total, entries) in payers.items():
            added = queued.pop(payer, None) or Queued()
            added.amount -= total
            added.entries += entries
            sums.paid[payer] = total, added
        return sums


@dataclass(slots=True)
class Books:
    """The accounts whose rows are locked, the leases on them, and transfers that are there already.

    `positions` holds every account that pays here and may not go below zero. Calls change what
    is held in memory and note in `entered` and `queued` what is to be written; one that raises
    changes nothing.
    """

    positions: dict[AccountId, Position]
    leases: dict[LeaseId, Lease] = field(default_factory=dict)
    known: Mapping[str, Transfer] = field(default_factory=dict)
    entered: dict[str, Transfer] = field(default_factory=dict)
    queued: dict[AccountId, Queued] = field(default_factory=dict)

    def post(self, transfers: Sequence[Transfer]) -> int:
        """Enter those transfers that are new, all or none of them; give how many.

        Raises: InvalidTransfer, TransferConflict, Overdraft.
        """
        new = self._new(transfers)
        moved: dict[AccountId, Position] = {}
        for transfer in new:
            self._move(moved, transfer)
            payer = moved.get(transfer.debit)
            if payer is not None and payer.available < 0:
                raise Overdraft(transfer.debit, self.positions[transfer.debit].available)
        self._enter(new, moved)
        return len(new)

    def settle(self, settlement: Settlement) -> Outcome:
        """Enter what a request cost, if its lease is still open for that.

        Raises: InvalidTransfer, TransferConflict.
        """
        new = self._new(settlement.transfers)
        if not new:
            return "repeated"
        lease = self.leases.get(settlement.lease)
        total, is_payers = 0, True
        for transfer in new:
            total += transfer.amount
            is_payers = is_payers and transfer.debit == settlement.payer
        if lease is None or lease.state != "open" or total > lease.rest:
            return "refused"
        if not is_payers or settlement.payer != lease.payer:
            raise InvalidTransfer(f"{lease.id} is not a lease of whoever is to pay")
        moved = {lease.payer: self.positions[lease.payer].lent(-total)}
        for transfer in new:
            self._move(moved, transfer)
        self.leases[lease.id] = lease.spent(total)
        self._enter(new, moved)
        return "entered"

    def _new(self, transfers: Iterable[Transfer]) -> list[Transfer]:
        """Leave out what is there already with the same content."""
        new: dict[str, Transfer] = {}
        for transfer in transfers:
            check_transfer(transfer)
            earlier = (
                self.known.get(transfer.id) or self.entered.get(transfer.id) or new.get(transfer.id)
            )
            if earlier is None:
                new[transfer.id] = transfer
            elif not same_content(earlier, transfer):
                raise TransferConflict(transfer.id)
        return list(new.values())

    def _move(self, moved: dict[AccountId, Position], transfer: Transfer) -> None:
        """Move the amount between those accounts that are held here."""
        for account, amount in sides(transfer):
            now = moved.get(account) or self.positions.get(account)
            if now is not None:
                moved[account] = now.moved(amount)

    def _enter(self, new: Sequence[Transfer], moved: dict[AccountId, Position]) -> None:
        self.positions.update(moved)
        for transfer in new:
            self.entered[transfer.id] = transfer
            for account, amount in sides(transfer):
                if account not in self.positions:
                    queued = self.queued.setdefault(account, Queued())
                    queued.amount += amount
                    queued.entries += 1


def sides(transfer: Transfer) -> tuple[tuple[AccountId, int], tuple[AccountId, int]]:
    """Give what a transfer adds to each of its accounts."""
    return (transfer.debit, -transfer.amount), (transfer.credit, transfer.amount)


def payers_of(transfers: Iterable[Transfer]) -> list[AccountId]:
    """Name the accounts whose rows must be locked, in the order in which everyone locks them."""
    return sorted({each.debit for each in transfers if not may_go_below_zero(each.debit)})


def same_content(one: Transfer, other: Transfer) -> bool:
    """Tell whether a transfer is a repetition of another: all is the same but its moment."""
    return msgspec.structs.replace(one, at=other.at) == other


def digest_of(transfer: Transfer) -> bytes:
    """Give the SHA-256 of a transfer, kept beside it: a changed row does not match any more."""
    parts = (
        transfer.id,
        str(transfer.kind),
        transfer.debit,
        transfer.credit,
        str(int(transfer.amount)),
        transfer.at.astimezone(UTC).isoformat(),
        transfer.request_id or "",
        "" if transfer.note is None else f"={transfer.note}",
    )
    return sha256("\n".join(parts).encode()).digest()
