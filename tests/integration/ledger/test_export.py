"""What others check the books with accepts them."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import insert
from tests.parts.money import NOON, A, B, fee, grant, use

from garage_ai.ledger import (
    ADJUSTMENTS,
    ISSUANCE,
    Kind,
    Ledger,
    NanoGai,
    Transfer,
    escrow_account,
)
from garage_ai.ledger.export import as_csv, as_json, bean_account, beancount
from garage_ai.storage import Storage
from garage_ai.storage.tables import transfers
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

ESCROW = escrow_account(NodeId("nabcdefghijkl"))
NASTY = 'a "quoted" \\ note\nin two lines, ö'


@pytest.fixture
async def books(ledger: Ledger) -> Ledger:
    await ledger.post([grant("g1", A, 5_000_000_001)])
    await ledger.post([use("u1", A, ESCROW, 30), use("u2", A, B, 7), fee("f1", A, 3)])
    put_right = Transfer("a1", Kind.ADJUSTMENT, ADJUSTMENTS, B, NanoGai(9), NOON, note=NASTY)
    await ledger.post([put_right])
    return ledger


async def text(lines: AsyncIterator[str]) -> str:
    return "".join([line async for line in lines])


def bean_check(book: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "books.beancount"
    file.write_text(book)
    program = Path(sys.executable).with_name("bean-check")
    return subprocess.run([program, file], capture_output=True, text=True, timeout=60, check=False)


async def test_bean_check_accepts_the_books(books: Ledger, tmp_path: Path) -> None:
    """With what every account has at the end, to the last nGAI."""
    book = await text(beancount(books.entries()))
    assert "balance Assets:Member:Mbr-anna 4.999999961 ~ 0 GAI" in book
    checked = bean_check(book, tmp_path)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.system)], indirect=True
)
async def test_an_entry_that_is_committed_late_is_not_skipped(
    storage: Storage, ledger: Ledger
) -> None:
    """It has its number before another that is there already; the export waits for it."""
    await ledger.post([grant("g1", A, 1)])
    late = {"id": "late", "kind": "grant", "debit": ISSUANCE, "credit": A, "amount": 1}
    async with storage.write() as connection:
        await connection.execute(insert(transfers).values(**late, at=NOON, digest=b"x"))
        await ledger.post([grant("g2", B, 1)])
        reading = asyncio.create_task(ids(ledger.entries()))
        await asyncio.wait({reading}, timeout=0.5)
    assert await reading == ["g1", "late", "g2"]


async def ids(entries: AsyncIterator[Transfer]) -> list[str]:
    return [each.id async for each in entries]


async def test_bean_check_finds_a_changed_amount(books: Ledger, tmp_path: Path) -> None:
    """So the acceptance says something."""
    book = await text(beancount(books.entries()))
    checked = bean_check(book.replace("0.000000030 GAI", "0.000000031 GAI"), tmp_path)
    assert checked.returncode != 0


async def test_no_entries_are_books_too(ledger: Ledger, tmp_path: Path) -> None:
    """In every form."""
    assert bean_check(await text(beancount(ledger.entries())), tmp_path).returncode == 0
    assert json.loads(await text(as_json(ledger.entries()))) == []
    assert len((await text(as_csv(ledger.entries()))).splitlines()) == 1


async def test_tables_and_programs_get_the_same(books: Ledger) -> None:
    """Every field of every entry, amounts as text."""
    rows = json.loads(await text(as_json(books.entries())))
    table = list(csv.DictReader(io.StringIO(await text(as_csv(books.entries())))))
    assert [{key: value or "" for key, value in row.items()} for row in rows] == table
    assert rows[0]["amount"] == "5000000001"
    assert rows[0]["amount_gai"] == "5.000000001"
    assert rows[-1]["note"] == NASTY


@pytest.mark.parametrize(
    ("account", "name"),
    [
        (A, "Assets:Member:Mbr-anna"),
        (ESCROW, "Assets:Escrow:Nabcdefghijkl"),
        (ADJUSTMENTS, "Equity:Adjustments"),
    ],
)
def test_accounts_are_named_as_beancount_wants_it(account: str, name: str) -> None:
    """Parts begin with a capital, what owes is equity."""
    assert bean_account(replace(use("u", A, B, 1), debit=account).debit) == name
