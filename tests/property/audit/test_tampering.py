"""Whatever another hand does to the log's rows, a check finds it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from garage_ai.audit.chain import Verdict
from garage_ai.audit.models import Action, Actor, Entry, Noted
from garage_ai.audit.service import AuditLog
from garage_ai.storage import Storage, sqlite_url
from garage_ai.wire.nkey import KeyPair, Role

SIGNER: Final = KeyPair.generate(Role.OPERATOR)
SIZE: Final = 8
HEADS: Final = (3, 6)
"""The sizes over which a head was signed."""
COLUMNS: Final = (
    "seq",
    "at",
    "action",
    "actor",
    "actor_id",
    "actor_member",
    "subject",
    "member",
    "details",
    "hash",
)
HEAD_COLUMNS: Final = ("size", "root", "at", "public_key", "signature")
VALUES: Final = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=40), st.binary(max_size=40)
)
ROWS: Final = st.integers(1, SIZE)
ROWS_IN_ORDER: Final = tuple(range(1, SIZE + 1))


class AnotherHand:
    """A log with a way into its file past the program, and no triggers that would guard it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "garage.db"
        self.runner = asyncio.Runner()
        self.storage = self.runner.run(Storage.open(sqlite_url(path)))
        self.log = AuditLog(self.storage)
        self.runner.run(self._write())
        newest = self.runner.run(self.log.head())
        assert newest is not None
        self.noted = Noted(newest.size, newest.root)
        self.sql = sqlite3.connect(path)
        self._unguard()
        self._kept = {
            table: self.sql.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            for table in ("audit", "audit_heads")
        }

    async def _write(self) -> None:
        for number in range(SIZE):
            by = Actor.key(f"key_{number}", "mbr_1") if number % 2 else Actor.node("n1")
            await self.record(Entry(Action.NODE_DRAINED, by, f"n{number}", "m2", {"n": number}))
            if number + 1 in HEADS:
                await self.log.sign(SIGNER)

    async def record(self, entry: Entry) -> None:
        async with self.storage.write(in_turn=True) as connection:
            await self.log.record(connection, entry)

    def _unguard(self) -> None:
        triggers = self.sql.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            self.sql.execute(f"DROP TRIGGER {name}")
        self.sql.commit()

    def restore(self) -> None:
        for table, rows in self._kept.items():
            self.sql.execute(f"DELETE FROM {table}")  # noqa: S608
            places = ", ".join("?" * len(rows[0]))
            self.sql.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
        self.sql.commit()

    def change(self, table: str, column: str, row: int, value: object) -> None:
        """Put another value into a cell; passes over what the column does not take."""
        cell = f"SELECT {column}, typeof({column}) FROM {table} WHERE rowid = ?"  # noqa: S608
        before = self.sql.execute(cell, (row,)).fetchone()
        try:
            change = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608
            self.sql.execute(change, (value, row))
        except (sqlite3.IntegrityError, OverflowError, UnicodeEncodeError):
            self.sql.rollback()
            assume(False)
        assume(self.sql.execute(cell, (row,)).fetchone() != before)

    def verdict(self, noted: Noted | None = None) -> Verdict:
        self.sql.commit()
        return self.runner.run(self.log.verify(SIGNER.public, noted))

    def close(self) -> None:
        self.sql.close()
        self.runner.run(self.storage.close())
        self.runner.close()


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnotherHand]:
    """One log for all examples, restored before each of them."""
    made = AnotherHand(tmp_path_factory.mktemp("log"))
    yield made
    made.close()


def test_an_untouched_log_is_whole(hand: AnotherHand) -> None:
    """The other tests find what was done, not what was there."""
    hand.restore()
    found = hand.verdict()
    assert (found.size, found.signed, found.findings) == (SIZE, HEADS[-1], ())


@given(row=ROWS, column=st.sampled_from(COLUMNS), value=VALUES)
@example(row=SIZE, column="seq", value=0)
@example(row=SIZE, column="seq", value=-1)
def test_any_other_value_in_any_column_is_found(
    hand: AnotherHand, row: int, column: str, value: object
) -> None:
    """Changed to whatever the column takes, in whatever row."""
    hand.restore()
    hand.change("audit", column, row, value)
    assert not hand.verdict().is_whole


@given(rows=st.sets(ROWS, min_size=1))
def test_entries_that_are_gone_are_found(hand: AnotherHand, rows: set[int]) -> None:
    """In the middle by the gap, at the end by the head; what nobody signed yet may be cut off."""
    cut_off = all(row in rows for row in range(min(rows), SIZE + 1))
    assume(not cut_off or min(rows) <= HEADS[-1])
    hand.restore()
    hand.sql.executemany("DELETE FROM audit WHERE seq = ?", [(row,) for row in rows])
    assert not hand.verdict().is_whole


@given(one=ROWS, other=ROWS)
def test_entries_in_another_order_are_found(hand: AnotherHand, one: int, other: int) -> None:
    """Two entries that changed places."""
    assume(one != other)
    hand.restore()
    for row, place in ((one, -1), (other, one), (-1, other)):
        hand.sql.execute("UPDATE audit SET seq = ? WHERE seq = ?", (place, row))
    assert not hand.verdict().is_whole


@given(like=ROWS, seq=st.integers(-3, SIZE + 5))
def test_an_entry_that_was_put_in_is_found(hand: AnotherHand, like: int, seq: int) -> None:
    """A copy of one that is there, under another number; later ones move up."""
    columns = ", ".join(COLUMNS[1:])
    hand.restore()
    for row in range(SIZE, seq - 1, -1):
        hand.sql.execute("UPDATE audit SET seq = ? WHERE seq = ?", (row + 1, row))
    put = f"INSERT INTO audit SELECT ?, {columns} FROM audit WHERE seq = ?"  # noqa: S608
    hand.sql.execute(put, (seq, like if like < seq else like + 1))
    assert not hand.verdict().is_whole


@given(row=st.integers(1, HEADS[-1]))
def test_a_log_that_was_written_anew_is_found(hand: AnotherHand, row: int) -> None:
    """From some entry on, all hashes made to fit again: the signed head does not."""
    hand.restore()
    hand.sql.execute("DELETE FROM audit WHERE seq >= ?", (row,))
    hand.sql.commit()
    for _ in range(row, SIZE + 1):
        hand.runner.run(hand.record(Entry(Action.NODE_ADMITTED, Actor.node("n1"), "n1")))
    assert not hand.verdict().is_whole


@given(head=st.sampled_from(HEADS), column=st.sampled_from(HEAD_COLUMNS), value=VALUES)
def test_a_head_that_was_changed_is_found(
    hand: AnotherHand, head: int, column: str, value: object
) -> None:
    """A head is as hard to change as an entry, the older ones too."""
    hand.restore()
    hand.change("audit_heads", column, head, value)
    assert not hand.verdict().is_whole


@given(entries=st.sets(ROWS), heads=st.sets(st.sampled_from(HEADS)))
@example(entries={7, 8}, heads=set())
@example(entries={4, 5, 6, 7, 8}, heads={6})
@example(entries=set(ROWS_IN_ORDER), heads=set(HEADS))
def test_what_is_gone_with_its_heads_is_found_by_a_noted_one(
    hand: AnotherHand, entries: set[int], heads: set[int]
) -> None:
    """Cut back to an earlier head the log is whole by itself, and not against a noted head."""
    hand.restore()
    noted = hand.noted
    hand.sql.executemany("DELETE FROM audit WHERE seq = ?", [(row,) for row in entries])
    hand.sql.executemany("DELETE FROM audit_heads WHERE size = ?", [(size,) for size in heads])
    left = SIZE - len(entries)
    is_cut = entries == set(ROWS_IN_ORDER[left:])
    by_itself = is_cut and all(size <= left for size in {*HEADS} - heads)
    assert hand.verdict().is_whole is by_itself
    assert hand.verdict(noted).is_whole is (by_itself and left >= noted.size)
