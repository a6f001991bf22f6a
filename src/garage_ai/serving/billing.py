"""What a request costs and who gets it: promised at admission, settled after the end.

admitted ──► held for the worst case, at the price of this moment
    │ nothing was delivered, or only faults ──► voided: costs nothing
    └ something was delivered ──► counted ──► charged ──► settled: node, network
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from garage_ai.accounts import Key
from garage_ai.ledger import (
    FEE,
    POOL,
    AccountId,
    InsufficientBalance,
    Kind,
    NanoGai,
    Receipt,
    Settlement,
    Transfer,
    escrow_account,
    member_account,
)
from garage_ai.ledger.charges import Price, apportion, charge, divide, split
from garage_ai.serving.books import FREE, Bill, Quote, Write
from garage_ai.serving.errors import BooksUnavailable, InsufficientQuota
from garage_ai.serving.models import Call
from garage_ai.serving.reply import OK
from garage_ai.storage import OPERATOR, MemberId, StorageError
from garage_ai.storage.usage import UsageRecord
from garage_ai.wire.ids import Digest, NodeId

_log = structlog.get_logger(__name__)

FAULTS: Final = frozenset({"bad_node_reply", "engine_error", "engine_rejected"})
"""Ends of a part that earn nothing and cost nothing, whatever was delivered before."""


class Held(Protocol):
    """A promise that so much can be paid; it ends once."""

    @property
    def amount(self) -> NanoGai:
        """What is promised."""
        ...

    def settle(self, transfers: Sequence[Transfer]) -> Settlement | None:
        """Say what the request cost, at most the amount; None where it comes too late."""
        ...

    def void(self) -> None:
        """Say that it cost nothing, unless it is settled."""


class Promises(Protocol):
    """Who promises that a payer can pay."""

    async def reserve(self, payer: MemberId, amount: NanoGai) -> Held:
        """Promise an amount. Raises: InsufficientBalance, StorageError."""
        ...


class Prices(Protocol):
    """The price list."""

    def price(self, digest: str | None, model: str) -> Price:
        """Give what a model costs now."""
        ...


class Models(Protocol):
    """What models are, as far as it matters for their price."""

    def digest(self, model: str) -> Digest | None:
        """Name the manifest that a served name stands for."""
        ...


@dataclass(frozen=True, slots=True)
class Earner:
    """Who earns so many parts of an answer by a node; thousandths of that are held in escrow."""

    node: NodeId
    member: MemberId
    escrow_permille: int = 0
    parts: int = 1


class Earners(Protocol):
    """Whose nodes are whose."""

    def earners(self, node: str, digest: str) -> Sequence[Earner]:
        """Tell who earns for a node's answer, itself first; nobody if it is no longer here."""
        ...


class Turns(Protocol):
    """Who goes first where requests wait."""

    def weight(self, payer: MemberId) -> float:
        """Weigh a payer beside others."""
        ...

    def used(self, payer: MemberId, amount: NanoGai) -> None:
        """Take what a request cost."""


class PaidPart(NamedTuple):
    """What a node delivered: its place in the answer, and its tokens as the gateway counts them."""

    place: int
    node: str
    digest: str
    tokens: int


class _Entry(NamedTuple):
    """What one account gets of a part; `rig` is for those that did not answer themselves."""

    name: str
    kind: Kind
    to: AccountId
    amount: NanoGai
    rig: str = ""
    note: str | None = None


class Billing:
    """The books as serving keeps them. All methods belong to the event loop's thread."""

    def __init__(
        self,
        promises: Promises,
        prices: Prices,
        models: Models,
        earners: Earners,
        *,
        fee_permille: int,
        turns: Turns,
    ) -> None:
        self.failures = 0
        self._promises = promises
        self._prices = prices
        self._models = models
        self._earners = earners
        self._fee_permille = fee_permille
        self._turns = turns

    def quote(self, call: Call, model: str, tokens: tuple[int, int]) -> Quote | None:
        """Tell what a call may cost at worst, at the price that holds now; None: nothing."""
        if is_free(call.key):
            return None
        price = self._prices.price(self._models.digest(model), model)
        return Quote(price, charge(price, *tokens))

    async def open(self, call: Call, quote: Quote | None) -> Bill:
        """Promise that a call can be paid. Raises: InsufficientQuota, BooksUnavailable."""
        if quote is None:
            return FREE
        member = call.key.member
        try:
            reservation = await self._promises.reserve(member, quote.worst)
        except InsufficientBalance as error:
            raise InsufficientQuota(quote.worst, error.available) from error
        except StorageError as error:
            raise BooksUnavailable("The gateway's database does not answer.") from error
        return self.promised(call, quote.price, reservation)

    def promised(self, call: Call, price: Price, held: Held) -> Bill:
        """Bill at a price what was promised beforehand."""
        return _HeldBill(self, call, price, held)

    def weight(self, payer: MemberId) -> float:
        """Weigh a payer beside others, now."""
        return self._turns.weight(payer)

    def end(self, bill: "_HeldBill", record: UsageRecord, write: Write) -> None:
        """Settle a request, or void it: its client has its answer by now."""
        receipt = Receipt(record)
        try:
            receipt = self._receipt(bill, record)
        except Exception as error:  # a request that cannot be billed is told, and its hold ends
            self.failures += 1
            _log.error("not_billed", request=record.request_id, error=type(error).__name__)
        finally:
            bill.reservation.void()
            write(receipt)

    def _receipt(self, bill: "_HeldBill", record: UsageRecord) -> Receipt:
        paid = paid_parts(record)
        transfers = self._transfers(bill, record, paid) if paid else ()
        if not transfers:
            return Receipt(record.but(charge=0))
        settlement = bill.reservation.settle(transfers)
        if settlement is None:
            return Receipt(record)
        total = settlement.total
        self._turns.used(bill.call.key.member, total)
        return Receipt(record.but(charge=total), settlement)

    def _transfers(
        self, bill: "_HeldBill", record: UsageRecord, paid: Sequence[PaidPart]
    ) -> list[Transfer]:
        """Say who gets what of those parts that are paid; the prompt is of the first."""
        tokens = [(0, part.tokens) for part in paid]
        tokens[0] = (record.counted_prompt_tokens or 0, paid[0].tokens)
        amounts = apportion(bill.price, tokens, bill.reservation.amount)
        metered = record.count_source == "tokenizer"
        payer, request = member_account(record.member), record.request_id
        transfers: list[Transfer] = []
        for part, amount in zip(paid, amounts, strict=True):
            earners = self._earners.earners(part.node, part.digest) if metered else ()
            for name, kind, to, share, rig, note in self._entries(amount, earners):
                if share:
                    key = f"{name}:{request}:{part.place}{rig}"
                    transfers.append(
                        Transfer(key, kind, payer, to, share, record.at, request, note)
                    )
        return transfers

    def _entries(self, amount: NanoGai, earners: Sequence[Earner]) -> list[_Entry]:
        """Divide what one part costs between the network and its node, or the rigs of its gang."""
        if not earners:
            return [_Entry("pool", Kind.UNMETERED, POOL, amount)]
        whole = split(amount, self._fee_permille, 0)
        shares = divide(whole.node, [earner.parts for earner in earners])
        entries: list[_Entry] = []
        for earner, share in zip(earners, shares, strict=True):
            entries += _earned(earner, share, earners)
        return [*entries, _Entry("fee", Kind.FEE, FEE, whole.fee)]


class _HeldBill(msgspec.Struct, frozen=True):
    billing: Billing
    call: Call
    price: Price
    reservation: Held

    def weigh(self) -> float:
        """Tell its payer's share of the turns where some wait."""
        return self.billing.weight(self.call.key.member)

    def close(self, record: UsageRecord, write: Write) -> None:
        """Take the end of the request."""
        self.billing.end(self, record, write)


def _earned(earner: Earner, share: NanoGai, earners: Sequence[Earner]) -> list[_Entry]:
    """Give a node's share to its member, and to escrow what is held back of it."""
    leader, whole = earners[0].node, sum(each.parts for each in earners)
    rig = "" if earner.node == leader else f":{earner.node}"
    note = f"{earner.parts}/{whole} {leader}" if len(earners) > 1 else None
    found = split(share, 0, earner.escrow_permille)
    return [
        _Entry("use", Kind.USE, member_account(earner.member), found.node, rig, note),
        _Entry("escrow", Kind.USE, escrow_account(earner.node), found.escrow, rig, note),
    ]


def is_free(key: Key) -> bool:
    """Tell whether a key is the operator's own, which costs nothing."""
    return key.member == OPERATOR and "admin" in key.scopes


def paid_parts(record: UsageRecord) -> list[PaidPart]:
    """Give the parts of an answer that are paid: delivered to the client, and no fault.

    A plain answer is delivered whole or not at all.
    """
    if not record.stream and record.outcome != OK:
        return []
    if record.parts:
        return [
            PaidPart(place, part.node, part.digest, part.counted_tokens or 0)
            for place, part in enumerate(record.parts)
            if _is_paid(part.outcome, part.content_events)
        ]
    if record.node is None or not _is_paid(record.outcome, record.content_events):
        return []
    return [PaidPart(0, record.node, record.digest or "", record.counted_completion_tokens or 0)]


def _is_paid(outcome: str, content_events: int) -> bool:
    return (content_events > 0 or outcome == OK) and outcome not in FAULTS


__all__ = [
    "Billing",
    "Earner",
    "Earners",
    "Held",
    "Models",
    "Prices",
    "is_free",
]
