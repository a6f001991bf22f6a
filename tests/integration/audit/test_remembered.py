"""What a gateway remembers of the log outside of its database, whatever is done to that."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from garage_ai.audit.chain import NOTHING, hash_of, signed_head
from garage_ai.audit.errors import LogBroken
from garage_ai.audit.heads import HeadKeeper
from garage_ai.audit.models import Action, Actor, Entry, Head, Recorded
from garage_ai.audit.remembered import RememberedHead
from garage_ai.audit.service import AuditLog
from garage_ai.storage import Storage
from garage_ai.storage.tables import audit, audit_heads
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

SIGNER = KeyPair.generate(Role.OPERATOR)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a gateway remembers its last head."""
    return tmp_path / "gateway" / "audit.head"


async def act(log: AuditLog, count: int) -> None:
    for number in range(count):
        await log.append(Entry(Action.KEY_MADE, Actor.node("n1"), f"key_{number}"))


async def live(log: AuditLog, file: Path) -> HeadKeeper:
    """Let a gateway look at the log once and go, as it does at its end."""
    keeper = HeadKeeper.start(log, SIGNER, file)
    await keeper.close()
    return keeper


def remembered_in(file: Path) -> Head | None:
    return RememberedHead(file).read(SIGNER.public)


async def unguard(storage: Storage) -> None:
    """Take away the triggers, as whoever has the database can."""
    async with storage.write() as connection:
        for table in ("audit", "audit_heads"):
            if connection.dialect.name == "postgresql":
                await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
                continue
            for verb in ("update", "delete"):
                await connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))


async def rewrite(storage: Storage, seq: int) -> None:
    """Change an entry, and make all hashes from there on fit again."""
    log = AuditLog(storage)
    entries = list(await log.following())
    await unguard(storage)
    previous = entries[seq - 2].hash if seq > 1 else NOTHING
    async with storage.write() as connection:
        await connection.execute(update(audit).where(audit.c.seq == seq).values(subject="key_9"))
        for row in (await connection.execute(select(audit).order_by(audit.c.seq))).all():
            if row.seq >= seq:
                previous = hash_of(Recorded(**row._asdict()), previous)
                change = update(audit).where(audit.c.seq == row.seq).values(hash=previous)
                await connection.execute(change)


async def drop_heads(storage: Storage, above: int = 0) -> None:
    async with storage.write() as connection:
        await connection.execute(delete(audit_heads).where(audit_heads.c.size > above))


async def test_the_last_head_is_remembered(storage: Storage, file: Path) -> None:
    """In a file of its own, that the next start reads."""
    log = AuditLog(storage)
    await live(log, file)
    assert remembered_in(file) is None
    await act(log, 2)
    first = (await live(log, file)).last
    await act(log, 1)
    second = (await live(log, file)).last
    assert (first and first.size, second and second.size) == (2, 3)
    assert remembered_in(file) == second == await log.head()


@pytest.mark.parametrize("kept", [0, 3], ids=["no head left", "an earlier head left"])
async def test_a_log_that_was_rewritten_with_its_heads_is_not_signed(
    storage: Storage, file: Path, kept: int
) -> None:
    """All of it fits together, but not to what is remembered; new entries behind hide nothing."""
    log = AuditLog(storage)
    for _ in range(2):
        await act(log, 3)
        await live(log, file)
    remembered = remembered_in(file)
    await rewrite(storage, kept + 2)
    await drop_heads(storage, above=kept)
    assert (await log.verify(SIGNER.public)).is_whole
    findings = (await log.verify(SIGNER.public, remembered=remembered)).findings
    assert [found.seq for found in findings] == [6]
    await act(log, 2)
    keeper = await live(log, file)
    assert (keeper.failures, keeper.last) == (1, remembered)
    assert [head.size for head in await log.heads()] == ([kept] if kept else [])
    assert remembered_in(file) == remembered


async def test_the_newest_entry_that_was_deleted_with_its_head_is_missed(
    storage: Storage, file: Path
) -> None:
    """Also when another took its number."""
    log = AuditLog(storage)
    await act(log, 2)
    await live(log, file)
    await unguard(storage)
    async with storage.write() as connection:
        await connection.execute(delete(audit).where(audit.c.seq == 2))
    await drop_heads(storage)
    assert (await live(log, file)).failures == 1
    await act(log, 1)
    assert (await live(log, file)).failures == 1
    assert await log.heads() == []


async def test_gateways_take_over_each_other_s_heads(storage: Storage, tmp_path: Path) -> None:
    """Each remembers the newest that goes on from its own, whoever signed it."""
    log = AuditLog(storage)
    files = [tmp_path / name / "audit.head" for name in ("one", "two")]
    await act(log, 1)
    await live(log, files[0])
    await act(log, 1)
    await live(log, files[1])
    await act(log, 1)
    newest = await log.sign(SIGNER)
    for file in files:
        await live(log, file)
    assert [remembered_in(file) for file in files] == [newest, newest]
    assert [head.size for head in await log.heads()] == [1, 2, 3]


async def test_a_remembered_head_that_the_table_lacks_is_no_harm(
    storage: Storage, file: Path
) -> None:
    """The log goes on from it; it is signed anew with the next entry."""
    log = AuditLog(storage)
    await act(log, 2)
    await live(log, file)
    await unguard(storage)
    await drop_heads(storage)
    await act(log, 1)
    assert (await live(log, file)).failures == 0
    assert [head.size for head in await log.heads()] == [3]


async def test_a_file_that_tells_nothing_is_not_passed_over(storage: Storage, file: Path) -> None:
    """Damaged, or of another network: nothing is signed until somebody looked."""
    log = AuditLog(storage)
    await act(log, 1)
    stranger = KeyPair.generate(Role.OPERATOR)
    other = signed_head(1, NOTHING, datetime(2026, 11, 30, tzinfo=UTC), stranger)
    RememberedHead(file).write(other)
    assert (await live(log, file)).failures == 1
    await asyncio.to_thread(file.write_text, "no head")
    with pytest.raises(LogBroken, match="audit"):
        remembered_in(file)
    assert (await live(log, file)).failures == 1
    assert await log.head() is None


async def test_two_signed_heads_that_differ_are_found(storage: Storage) -> None:
    """One of them is of another history, as after a database was put back and went on."""
    log = AuditLog(storage)
    await act(log, 1)
    head = await log.sign(SIGNER)
    assert head is not None
    other: Head = signed_head(1, bytes(31) + b"1", head.at, SIGNER)
    findings = (await log.verify(SIGNER.public, remembered=other)).findings
    assert [found.seq for found in findings] == [1]


async def test_a_head_that_cannot_be_read_is_told(file_storage: Storage, file: Path) -> None:
    """A moment that is none, which SQLite takes; the keeper does not die of it."""
    log = AuditLog(file_storage)
    await act(log, 1)
    async with file_storage.write() as connection:
        bad = "INSERT INTO audit_heads VALUES (1, x'00', 'yesterday', 'O', x'00')"
        await connection.execute(text(bad))
    assert (await live(log, file)).failures == 1
