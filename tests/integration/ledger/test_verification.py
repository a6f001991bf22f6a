"""Whatever is changed in the books behind the ledger's back is found."""

import asyncio

import pytest
from sqlalchemy import text
from tests.parts.money import NOON, A, B, C, fee, grant, receipt, settlement, use

from garage_ai.audit.models import COMMAND_LINE
from garage_ai.audit.service import AuditLog
from garage_ai.ledger import ADJUSTMENTS, ISSUANCE, Kind, Leases, Ledger, NanoGai, Transfer
from garage_ai.ledger.books import LeaseId, Position
from garage_ai.ledger.leases import Request, Wish
from garage_ai.ledger.projector import project
from garage_ai.ledger.reward_book import Reward, RewardBook
from garage_ai.ledger.verification import Verification, rebuild, stream_transfers, verify
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio

DOUBLED = (
    "INSERT INTO transfers (id, kind, debit, credit, amount, at, request_id, digest)"
    " SELECT 'u9', kind, debit, credit, amount, at, request_id, digest"
    " FROM transfers WHERE id = 'u1'"
)

WRONG = "UPDATE balances SET amount = 1, leased = 2 WHERE account = 'member:mbr_anna'"


@pytest.fixture
async def books(ledger: Ledger, storage: Storage) -> Ledger:
    return await _make_books(ledger, storage)


async def _make_books(ledger: Ledger, storage: Storage) -> Ledger:
    """Keep books with a bit of everything: balances, queued entries, leases open and closed."""
    leases = Leases(storage, "g1")
    await ledger.post([grant("g1", A, 1000), grant("g2", B, 500)])
    for number in range(3):
        await leases.extend([Request(LeaseId(f"l{number}"), A, Wish(10, 100, 100))])
    await leases.extend([Request(LeaseId("l3"), B, Wish(10, 10, 10))])
    for number in range(2):
        name = f"u{number + 1}"
        cost = use(name, A, B, 30), fee(f"f{number + 1}", A, 3, name)
        await ledger.enter([receipt(settlement(LeaseId(f"l{number}"), *cost))])
        if not number:
            await project(storage)
    await ledger.post([use("u3", A, C, 7), use("u4", B, A, 7)])
    await leases.close([LeaseId("l2")])
    return ledger


@pytest.fixture
async def beside(books: Ledger, storage: Storage) -> Ledger:
    return await _make_beside(books, storage)


async def _make_beside(books: Ledger, storage: Storage) -> Ledger:
    """Keep beside them what a gateway that is gone left, and a grant that was decided."""
    await Leases(storage, "g2").sweep(grace=-86_400)
    given = RewardBook(storage, books)
    await given.decide([Reward("grant/c", "2026-11", Kind.GRANT, ISSUANCE, C, NanoGai(5))], NOON)
    await given.post(NOON)
    assert (await books.verify()).findings == []
    return books


async def tamper(storage: Storage, statement: str) -> None:
    async with storage.write() as connection:
        assert (await connection.execute(text(statement))).rowcount == 1


async def test_sound_books_are_sound(books: Ledger, storage: Storage) -> None:
    """Nothing is found, before and after the queue is empty."""
    seen = await books.verify()
    assert (seen.findings, seen.sound, seen.transfers, seen.open_leases) == ([], True, 8, 3)
    assert seen.queued > 0
    while await project(storage):
        pass
    seen = await books.verify()
    assert (seen.findings, seen.queued) == ([], 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = amount + 1 WHERE id = 'u1'",
        "UPDATE transfers SET note = 'x' WHERE id = 'u1'",
        "UPDATE transfers SET request_id = NULL WHERE id = 'u1'",
        "UPDATE transfers SET at = '2026-11-24 12:00:00.000000' WHERE id = 'u1'",
        "UPDATE transfers SET kind = 'passed_on' WHERE id = 'u1'",
        "UPDATE transfers SET kind = 'theft' WHERE id = 'u1'",
        "UPDATE transfers SET debit = 'member:mbr_cilla' WHERE id = 'u1'",
        "DELETE FROM transfers WHERE id = 'f1'",
        DOUBLED,
        "UPDATE balances SET amount = amount + 1 WHERE account = 'member:mbr_anna'",
        "UPDATE balances SET entries = entries + 1 WHERE account = 'member:mbr_anna'",
        "UPDATE balances SET leased = 0 WHERE account = 'member:mbr_anna'",
        "DELETE FROM balances WHERE account = 'fee'",
        "INSERT INTO balances VALUES ('member:mbr_thief', 5, 0, 1)",
        "DELETE FROM queued_entries WHERE account = 'fee'",
        "UPDATE leases SET amount = amount + 1 WHERE id = 'l0'",
        "UPDATE leases SET settled = amount + 1 WHERE id = 'l2'",
        "DELETE FROM leases WHERE id = 'l1'",
        "UPDATE leases SET state = 'open' WHERE id = 'l2'",
    ],
)
async def test_a_changed_row_is_found(books: Ledger, storage: Storage, statement: str) -> None:
    """One row changed, added or taken away in any table does not go unseen."""
    await tamper(storage, statement)
    seen = await books.verify()
    assert not seen.sound
    assert seen.findings


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 'much' WHERE id = 'u1'",
        "UPDATE transfers SET at = 'then' WHERE id = 'u1'",
        "UPDATE balances SET amount = 'much' WHERE account = 'member:mbr_anna'",
        "UPDATE queued_entries SET amount = 'much' WHERE account = 'fee'",
        "UPDATE leases SET settled = 'much' WHERE id = 'l0'",
        "UPDATE leases SET expires_at = 'then' WHERE id = 'l0'",
        "UPDATE unaccounted SET amount = 'much' WHERE lease = 'l0'",
        "UPDATE usage SET charge = 'much' WHERE request_id = 'u1'",
        "UPDATE rewards SET amount = 'much'",
    ],
)
async def test_what_is_no_number_is_found(file_storage: Storage, statement: str) -> None:
    """SQLite keeps whatever somebody writes into a column; it is told in words."""
    ledger = Ledger(file_storage)
    await _make_beside(await _make_books(ledger, file_storage), file_storage)
    await tamper(file_storage, statement)
    seen = await ledger.verify()
    assert not seen.sound
    assert seen.findings


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE usage SET charge = charge + 1 WHERE request_id = 'u1'", "usage u1"),
        ("UPDATE usage SET charge = NULL WHERE request_id = 'u1'", "usage u1"),
        ("UPDATE usage SET request_id = 'u9' WHERE request_id = 'u1'", "usage u9"),
        ("UPDATE rewards SET amount = amount + 1", "reward grant/c"),
        ("UPDATE rewards SET credit = 'member:mbr_thief'", "reward grant/c"),
        ("UPDATE rewards SET id = 'grant/d'", "reward grant/d"),
        ("UPDATE unaccounted SET amount = amount - 1 WHERE lease = 'l0'", "lease l0"),
        ("UPDATE unaccounted SET payer = 'member:mbr_bert' WHERE lease = 'l0'", "lease l0"),
        ("DELETE FROM unaccounted WHERE lease = 'l0'", "lease l0"),
        ("UPDATE leases SET state = 'closed' WHERE id = 'l0'", "lease l0"),
    ],
)
async def test_what_stands_beside_the_entries_says_the_same(
    beside: Ledger, storage: Storage, statement: str, row: str
) -> None:
    """A charge that was never entered, a reward that is another, a loss that is kept quiet."""
    await tamper(storage, statement)
    assert [each.row for each in (await beside.verify()).findings] == [row]


async def test_adjustments_are_told(books: Ledger) -> None:
    """How many there are and what they made in all, since each may make or take GAI."""
    given = Transfer("a1", Kind.ADJUSTMENT, ADJUSTMENTS, A, NanoGai(50), NOON, note="a prize")
    taken = Transfer("a2", Kind.ADJUSTMENT, B, ADJUSTMENTS, NanoGai(20), NOON, note="a mistake")
    assert (await books.verify()).adjustments == 0
    await books.post([given, taken])
    seen = await books.verify()
    assert (seen.adjustments, seen.adjusted, seen.sound) == (2, 30, True)


async def test_two_that_cancel_out_are_missed_too(books: Ledger, storage: Storage) -> None:
    """Two transfers there and back are counted, though their amounts are nothing together."""
    await tamper(storage, "DELETE FROM transfers WHERE id = 'u3'")
    await tamper(storage, "DELETE FROM transfers WHERE id = 'u4'")
    assert {each.row for each in (await books.verify()).findings} >= {
        f"account {A}",
        f"account {B}",
    }


async def test_balances_can_be_made_again(books: Ledger, storage: Storage) -> None:
    """They follow from transfers and leases alone; sound ones stay as they are."""
    assert await rebuild(storage, by=COMMAND_LINE) == []
    await tamper(storage, WRONG)
    await tamper(storage, "DELETE FROM balances WHERE account = 'member:mbr_bert'")
    await tamper(storage, "INSERT INTO balances VALUES ('member:mbr_thief', 5, 0, 1)")
    wrong = await rebuild(storage, by=COMMAND_LINE)
    assert [each.account for each in wrong] == [A, B, "member:mbr_thief"]
    assert [each.before.amount for each in wrong] == [1, 0, 5]
    assert [each.after for each in wrong][2] == Position()
    assert (await books.verify()).findings == []
    (told,) = await AuditLog(storage).latest()
    assert (told.action, told.actor, told.subject) == ("ledger.rebuilt", "command line", "balances")
    assert '"accounts":3' in told.details
    assert f'"{A}":"1 (2 leased, 7 entries) to {wrong[0].after.amount} (' in told.details


async def test_transfers_stream_in_order(books: Ledger, storage: Storage) -> None:
    """All of them, or those of one account."""
    names = [each.id async for each in stream_transfers(storage)]
    assert names == ["g1", "g2", "f1", "u1", "f2", "u2", "u3", "u4"]
    assert [each.id async for each in stream_transfers(storage, C)] == ["u3"]


async def test_verifications_leave_readers_to_others(
    books: Ledger, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for, each of which may take minutes, balances are read meanwhile."""
    looks, may_go_on = asyncio.Event(), asyncio.Event()

    async def look(storage: Storage) -> Verification:
        async with storage.read():
            looks.set()
            await may_go_on.wait()
        return await verify(storage)

    monkeypatch.setattr("garage_ai.ledger.service.verify", look)
    asked = [asyncio.create_task(books.verify()) for _ in range(8)]
    await looks.wait()
    async with asyncio.timeout(2):
        assert (await books.balance(A)).amount > 0
    may_go_on.set()
    assert all(each.sound for each in await asyncio.gather(*asked))
