"""A gateway's books without a gateway, as a process that can be killed.

    python -m bench.books_gateway URL                  do what the lines on stdin say
    python -m bench.books_gateway URL --rate SECONDS   reserve and settle as fast as it goes

A line on stdin is an `Order`, a line on stdout a `Word`: how an order ended, or which entries are
committed. Nothing else is told before it is true.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
import structlog
import uvloop

from garage_ai.ledger import (
    FEE,
    ISSUANCE,
    AccountId,
    Allowances,
    InsufficientBalance,
    Kind,
    Leases,
    Ledger,
    NanoGai,
    Overdraft,
    Projector,
    Receipt,
    Transfer,
    UsageWriter,
    member_account,
)
from garage_ai.ledger.books import Outcome
from garage_ai.storage import KeyId, MemberId, Storage, StorageError, UsageRecord

__all__ = ["MEMBERS", "Order", "RateResult", "Word", "member"]

MEMBERS = 50
LEASE_SECONDS = 3.0
GRACE_SECONDS = 1.0
AT_A_TIME = 64
"""Requests under way in a measurement of the rate."""

MOST_WAITING = 2_000


class Order(msgspec.Struct, frozen=True):
    """What a client asks: `n` is its number, in which entries are named.

    `request` reserves `hold` and spends `spend` of it, or nothing; `forget` never says how it
    ended; `grant` and `give` are entered and committed before they are answered.
    """

    n: int
    what: Literal["request", "forget", "grant", "give"]
    payer: int
    payee: int
    hold: int
    spend: int


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """How order `n` ended, or numbers whose entries are committed."""

    n: int = 0
    end: str = ""
    committed: tuple[int, ...] = ()


class RateResult(msgspec.Struct, frozen=True):
    """Pairs of reserving and settling that were committed, and the seconds it took."""

    pairs: int
    seconds: float


def member(number: int) -> MemberId:
    """Name a member of the measurement."""
    return MemberId(f"mbr_{number}")


def use(order: Order) -> list[Transfer]:
    """Make the entries of a request: nine tenths are the node's, the rest is the network's."""
    kept = order.spend // 10
    shares = [(f"u{order.n}", Kind.USE, _account(order.payee), order.spend - kept)]
    shares += [(f"f{order.n}", Kind.FEE, FEE, kept)] if kept else []
    now = datetime.now(UTC)
    return [
        Transfer(name, kind, _account(order.payer), to, NanoGai(amount), now, f"r{order.n}")
        for name, kind, to, amount in shares
    ]


def _account(number: int) -> AccountId:
    return member_account(member(number))


def _record(order: Order, charge: int) -> UsageRecord:
    return UsageRecord(
        request_id=f"r{order.n}",
        at=datetime.now(UTC),
        member=member(order.payer),
        key_id=KeyId("key_bench"),
        route="chat",
        model="small",
        digest=None,
        node=None,
        outcome="ok" if charge else "engine_error",
        stream=False,
        prompt_tokens=None,
        completion_tokens=None,
        content_events=1,
        bytes_out=100,
        ttft_s=None,
        duration_s=0.1,
        attempts=1,
        charge=charge,
    )


class _TellingLedger(Ledger):
    """A ledger that says what is committed, once it is."""

    async def enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        ends = await super().enter(receipts)
        done = [
            receipt.record.request_id
            for receipt, end in zip(receipts, ends, strict=True)
            if receipt.settlement is not None and end != "refused"
        ]
        say(Word(committed=tuple(int(request[1:]) for request in done)))
        return ends


class _QuickLeases(Leases):
    """Leases that are taken back soon, so that a short run sees it."""

    async def sweep(self, grace: float = GRACE_SECONDS) -> list[object]:  # type: ignore[override]
        return [*await super().sweep(grace)]


def say(word: Word) -> None:
    """Tell the driver, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
    sys.stdout.buffer.flush()


class _Gateway:
    """What does the orders."""

    def __init__(self, ledger: Ledger, allowances: Allowances, writer: UsageWriter) -> None:
        self._ledger = ledger
        self._allowances = allowances
        self._writer = writer

    async def do(self, order: Order) -> None:
        """Do one, and tell how it ended."""
        try:
            end = await self._do(order)
        except (InsufficientBalance, Overdraft):
            end = "refused"
        except StorageError:
            end = "unavailable"
        say(Word(order.n, end))

    async def _do(self, order: Order) -> str:
        if order.what in ("grant", "give"):
            await self._ledger.post([_given(order)])
            return "committed"
        held = await self._allowances.reserve(member(order.payer), NanoGai(order.hold))
        await asyncio.sleep(0)
        if order.what == "forget":
            return "forgotten"
        if not order.spend:
            held.void()
            self._writer.put(Receipt(_record(order, 0)))
            return "voided"
        self._writer.put(Receipt(_record(order, order.spend), held.settle(use(order))))
        return "settled"


def _given(order: Order) -> Transfer:
    kind, debit = (Kind.GRANT, ISSUANCE)
    if order.what == "give":
        kind, debit = Kind.PASSED_ON, _account(order.payer)
    to, now = _account(order.payee), datetime.now(UTC)
    return Transfer(f"p{order.n}", kind, debit, to, NanoGai(order.spend), now)


async def serve(url: str) -> None:
    """Do orders until stdin ends."""
    storage = await Storage.open(url)
    leases = _QuickLeases(storage, f"g{secrets.token_hex(4)}", seconds=LEASE_SECONDS)
    ledger = _TellingLedger(storage)
    allowances = Allowances.start(leases)
    writer = UsageWriter.start(ledger, on_end=allowances.ended)
    projector = Projector.start(storage, leases)
    gateway = _Gateway(ledger, allowances, writer)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    say(Word(end="ready"))
    tasks: set[asyncio.Task[None]] = set()
    decoder = msgspec.json.Decoder(Order)
    while line := await reader.readline():
        task = asyncio.create_task(gateway.do(decoder.decode(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    await writer.close()
    await allowances.close()
    await projector.close()
    await storage.close()


async def _until_fewer_wait(writer: UsageWriter, most: int) -> None:
    while writer.waiting >= most:  # noqa: ASYNC110 - what ends the wait is another's commit
        await asyncio.sleep(0.002)


async def rate(url: str, seconds: float) -> RateResult:
    """Reserve and settle as fast as it goes."""
    storage = await Storage.open(url)
    leases = Leases(storage, f"g{secrets.token_hex(4)}")
    allowances = Allowances.start(leases)
    writer = UsageWriter.start(Ledger(storage), on_end=allowances.ended)
    projector = Projector.start(storage, leases)
    start = secrets.randbits(40) << 20
    numbers = iter(range(start, start + (1 << 20)))
    begun = time.monotonic()

    async def one() -> None:
        while time.monotonic() < begun + seconds:
            number = next(numbers)
            held = await allowances.reserve(member(number % MEMBERS), NanoGai(1_000))
            await asyncio.sleep(0)
            order = Order(number, "request", number % MEMBERS, 0, 1_000, 500)
            writer.put(Receipt(_record(order, order.spend), held.settle(use(order))))
            await _until_fewer_wait(writer, MOST_WAITING)

    await asyncio.gather(*(one() for _ in range(AT_A_TIME)))
    await _until_fewer_wait(writer, 1)
    result = RateResult(writer.counts.entered, time.monotonic() - begun)
    await writer.close()
    await allowances.close()
    await projector.close()
    await storage.close()
    return result


def main() -> None:
    """Be a gateway's books."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--rate", type=float)
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if arguments.rate is None:
        uvloop.run(serve(arguments.url))
    else:
        print(msgspec.json.encode(uvloop.run(rate(arguments.url, arguments.rate))).decode())


if __name__ == "__main__":
    main()
