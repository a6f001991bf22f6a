"""Bill a request every millisecond and tell how many are entered and put, until killed."""

import asyncio
import secrets
import sys
from datetime import UTC, datetime

from garage_ai.accounts import Key
from garage_ai.ledger import Allowances, Leases, Ledger, NanoGai, UsageWriter
from garage_ai.ledger.charges import Price
from garage_ai.serving import Billing, Call, Earner
from garage_ai.serving.books import Quote
from garage_ai.storage import KeyId, MemberId, Storage, UsageRecord
from garage_ai.wire.ids import Digest, NodeId

PRICE = Price(NanoGai(1000), NanoGai(10_000))
HOLD = NanoGai(1000)


class Flat:
    """One price, one model, one member whose nodes they are."""

    def price(self, digest: str | None, model: str) -> Price:
        """Give the one price."""
        del digest, model
        return PRICE

    def digest(self, model: str) -> Digest | None:
        """Know no model."""
        del model
        return None

    def earners(self, node: str, digest: str) -> list[Earner]:
        """Name the one owner."""
        del digest
        return [Earner(NodeId(node), MemberId("mbr_owner"), 500)]

    def weight(self, payer: MemberId) -> float:
        """Weigh everybody the same."""
        del payer
        return 1.0

    def used(self, payer: MemberId, amount: NanoGai) -> None:
        """Forget it."""


def call(request: str, payer: str) -> Call:
    """Make a request of a payer."""
    key = Key(
        KeyId("key_a"), MemberId(payer), "k", frozenset({"inference"}), None, datetime.now(UTC)
    )
    return Call(request, "chat", key, "small", b"{}", stream=False, include_usage=False)


def record(asked: Call, number: int) -> UsageRecord:
    """Make the end of a request: every fifth failed and costs nothing."""
    return UsageRecord(
        request_id=asked.request_id,
        at=datetime.now(UTC),
        member=asked.key.member,
        key_id=asked.key.id,
        route="chat",
        model="small",
        digest=None,
        node="naaaaaaaaaaaa",
        outcome="ok" if number % 5 else "engine_error",
        stream=False,
        prompt_tokens=None,
        completion_tokens=None,
        content_events=1,
        bytes_out=30,
        ttft_s=None,
        duration_s=0.1,
        attempts=1,
        counted_prompt_tokens=number % 7,
        counted_completion_tokens=number % 11 + 1,
        count_source="tokenizer",
    )


async def main(url: str, payers: list[str]) -> None:
    """Bill without end."""
    storage = await Storage.open(url)
    gateway = f"g{secrets.token_hex(4)}"
    allowances = Allowances.start(Leases(storage, gateway))
    writer = UsageWriter.start(Ledger(storage), on_end=allowances.ended)
    flat = Flat()
    billing = Billing(allowances, flat, flat, flat, fee_permille=50, turns=flat)
    number = 0
    while True:
        for _ in range(10):
            asked = call(f"req_{gateway}_{number}", payers[number % len(payers)])
            bill = await billing.open(asked, Quote(PRICE, HOLD))
            bill.close(record(asked, number), writer.put)
            number += 1
        print(writer.counts.entered, number, flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
