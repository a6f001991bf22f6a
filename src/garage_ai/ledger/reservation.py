"""A promise to one request that it can be paid."""

from collections.abc import Sequence
from typing import Protocol

from garage_ai.ledger.allowance import Allowance, ReservationState
from garage_ai.ledger.books import Settlement
from garage_ai.ledger.errors import InvalidTransfer
from garage_ai.ledger.models import NanoGai, Transfer
from garage_ai.storage import MemberId


class Owner(Protocol):
    """Who made the promise and is told of its end."""

    def end(
        self,
        reservation: "Reservation",
        allowance: Allowance,
        state: ReservationState,
        transfers: Sequence[Transfer],
        total: int,
    ) -> Settlement:
        """End a reservation that is held, of which so much is spent; give what is to be entered."""

    def told_too_late(self, amount: int) -> None:
        """Count what a request cost whose reservation had expired."""


class Reservation:
    """A promise to a request that it can be paid. It ends once; ending it again does nothing."""

    __slots__ = ("_allowance", "_owner", "amount", "payer", "since", "state")

    def __init__(
        self, owner: Owner, allowance: Allowance, payer: MemberId, amount: int, since: float
    ) -> None:
        self.payer = payer
        self.amount = NanoGai(amount)
        self.since = since
        self.state: ReservationState = "held"
        self._owner = owner
        self._allowance = allowance

    def settle(self, transfers: Sequence[Transfer]) -> Settlement | None:
        """Say what the request cost; give what is to be entered with its usage record.

        All are of the payer, and no more together than the amount. None where the reservation has
        ended before. Raises: InvalidTransfer.
        """
        total, payer = 0, self._allowance.payer
        for transfer in transfers:
            total += transfer.amount
            if transfer.debit != payer:
                raise InvalidTransfer(f"not all transfers are of {payer}")
        if total > self.amount:
            raise InvalidTransfer(f"{total} nGAI of a reservation of {self.amount}")
        if self.state == "held":
            state: ReservationState = "settled" if transfers else "voided"
            return self._owner.end(self, self._allowance, state, transfers, total)
        if self.state == "expired":
            self._owner.told_too_late(total)
        return None

    def void(self) -> None:
        """Say that the request cost nothing."""
        if self.state == "held":
            self._owner.end(self, self._allowance, "voided", (), 0)

    def expire(self) -> None:
        """Give up hearing how the request ended."""
        if self.state == "held":
            self._owner.end(self, self._allowance, "expired", (), 0)


__all__ = ["Owner", "Reservation"]
