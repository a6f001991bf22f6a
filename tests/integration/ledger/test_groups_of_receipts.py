"""The writer of receipts: in order, within its time, and through whatever the database does."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.network.conftest import until
from tests.parts.money import A, B, receipt, record, settlement, use

from garage_ai.ledger import LeaseId, Receipt, UsageWriter
from garage_ai.ledger.books import Outcome
from garage_ai.ledger.usage_writer import GROUP
from garage_ai.storage import DatabaseUnreachable, ValueRefused

pytestmark = pytest.mark.anyio

LEASE = LeaseId("l1")


@dataclass
class PlayedLedger:
    """A ledger that fails as it is told, and remembers its groups."""

    groups: list[list[str]] = field(default_factory=list)
    charges: list[int | None] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    bad: str = ""
    error: Exception = field(default_factory=lambda: ValueRefused("bad"))
    outcome: Outcome = "entered"
    gate: asyncio.Event | None = None

    async def enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        names = [each.record.request_id for each in receipts]
        if self.bad in names:
            raise self.error
        self.groups.append(names)
        self.charges += [each.record.charge for each in receipts]
        return [self.outcome] * len(receipts)


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    return []


def started(ledger: PlayedLedger, ended: list[tuple[str, str]], queue: int = 10_000) -> UsageWriter:
    return UsageWriter.start(
        ledger, on_end=lambda each, end: ended.append((each.transfers[0].id, end)), queue=queue
    )


def put(writer: UsageWriter, *names: str) -> None:
    for name in names:
        writer.put(receipt(settlement(LEASE, use(name, A, B, 10))))


async def test_what_comes_together_is_committed_together(ended: list[tuple[str, str]]) -> None:
    """In order, and each is told once."""
    ledger = PlayedLedger()
    writer = started(ledger, ended)
    put(writer, "u1", "u2", "u3")
    await until(lambda: len(ended) == 3)
    put(writer, "u4")
    await writer.close()
    assert ledger.groups == [["u1", "u2", "u3"], ["u4"]]
    assert ended == [(f"u{number}", "entered") for number in range(1, 5)]
    assert (writer.counts.entered, writer.waiting) == (4, 0)


async def test_a_full_group_does_not_wait(ended: list[tuple[str, str]]) -> None:
    """And no group is larger."""
    ledger = PlayedLedger()
    writer = started(ledger, ended)
    put(writer, *(f"u{number}" for number in range(2 * GROUP + 1)))
    await until(lambda: len(ended) == 2 * GROUP + 1)
    assert [len(group) for group in ledger.groups] == [GROUP, GROUP, 1]
    await writer.close()


async def test_a_database_that_is_away_is_waited_for(ended: list[tuple[str, str]]) -> None:
    """Nothing is lost, the order stays, and the tries are counted."""
    ledger = PlayedLedger(failures=[DatabaseUnreachable("gone"), DatabaseUnreachable("gone")])
    writer = started(ledger, ended)
    put(writer, "u1", "u2")
    await until(lambda: len(ended) == 2)
    await writer.close()
    assert (ledger.groups, writer.counts.retries) == ([["u1", "u2"]], 2)


@pytest.mark.parametrize("error", [ValueRefused("bad"), RuntimeError("worse")])
async def test_a_bad_one_is_dropped_alone(ended: list[tuple[str, str]], error: Exception) -> None:
    """Its neighbours are committed; no record, no bill."""
    ledger = PlayedLedger(bad="u2", error=error)
    writer = started(ledger, ended)
    put(writer, "u1", "u2", "u3")
    await until(lambda: len(ended) == 3)
    await writer.close()
    assert ended == [("u1", "entered"), ("u2", "dropped"), ("u3", "entered")]
    assert writer.counts.dropped == 1


async def test_what_only_the_books_refuse_is_recorded(ended: list[tuple[str, str]]) -> None:
    """Once, without a charge, and whoever promised it hears that it is not paid."""
    ledger = PlayedLedger(failures=[ValueRefused("bad")])
    writer = started(ledger, ended)
    put(writer, "u1")
    await until(lambda: bool(ended))
    await writer.close()
    assert (ledger.groups, ended, writer.counts.refused) == ([["u1"]], [("u1", "refused")], 1)
    assert ledger.charges == [None]


async def test_what_the_ledger_refuses_is_told(ended: list[tuple[str, str]]) -> None:
    """It is counted and never tried again."""
    ledger = PlayedLedger(outcome="refused")
    writer = started(ledger, ended)
    put(writer, "u1")
    await until(lambda: bool(ended))
    await writer.close()
    assert (ended, writer.counts.refused) == ([("u1", "refused")], 1)


async def test_what_cost_nothing_is_told_to_nobody(ended: list[tuple[str, str]]) -> None:
    """It is recorded in the same group as the others."""
    ledger = PlayedLedger()
    writer = started(ledger, ended)
    writer.put(Receipt(record("free")))
    put(writer, "u1")
    await writer.close()
    assert (ledger.groups, ended) == ([["free", "u1"]], [("u1", "entered")])


async def test_a_full_queue_drops_what_comes(ended: list[tuple[str, str]]) -> None:
    """What was there first stays."""
    gate = asyncio.Event()
    writer = started(PlayedLedger(gate=gate), ended, queue=2)
    put(writer, "u1", "u2", "u3")
    assert ended == [("u3", "dropped")]
    gate.set()
    await writer.close()
    assert ended[1:] == [("u1", "entered"), ("u2", "entered")]


async def test_close_gives_up_in_time(ended: list[tuple[str, str]]) -> None:
    """What could not be committed is dropped, and so is what comes later."""
    writer = started(PlayedLedger(gate=asyncio.Event()), ended)
    put(writer, "u1")
    await writer.close(timeout=0.05)
    put(writer, "u2")
    assert ended == [("u1", "dropped"), ("u2", "dropped")]
    assert writer.counts.dropped == 2
