"""Serving that lets everybody in, for nothing, in turn."""

from garage_ai.accounts import FREE, Demand, Key, MemberId, Ticket
from garage_ai.ledger import NanoGai
from garage_ai.serving import Call
from garage_ai.serving.books import UNBILLED, Bill, Quote


class NoLimits:
    """Let everybody in."""

    def models(self, _: Key) -> None:
        """Allow all models."""

    def regions(self, _: Key) -> None:
        """Allow all regions."""

    async def admit(self, _key: Key, _demand: Demand) -> Ticket:
        """Let a request in."""
        return FREE


class NoBooks:
    """Serve without books."""

    def quote(self, call: Call, model: str, tokens: tuple[int, int]) -> None:
        """Know nothing of prices."""

    async def open(self, call: Call, quote: Quote | None) -> Bill:
        """Promise anything."""
        del call, quote
        return UNBILLED


class EvenTurns:
    """Everybody weighs the same."""

    def weight(self, _: MemberId) -> float:
        """Weigh a payer."""
        return 1.0

    def used(self, _payer: MemberId, _amount: NanoGai) -> None:
        """Forget it."""
