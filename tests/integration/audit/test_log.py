"""The log in a real database."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Table, text

from garage_ai.audit.errors import LogBroken
from garage_ai.audit.heads import HeadKeeper
from garage_ai.audit.models import COMMAND_LINE, GATEWAY, Action, Actor, Detail, Entry
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.audit.settings_log import note_settings
from garage_ai.storage import ConstraintViolated, Storage
from garage_ai.storage.tables import audit, audit_heads
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

SIGNER = KeyPair.generate(Role.OPERATOR)
ANNA = Actor.key("key_anna", "mbr_anna")


def made(subject: str, by: Actor = ANNA, action: Action = Action.KEY_MADE) -> Entry:
    """An entry of no importance."""
    return Entry(action, by, subject, by.member, {"scopes": "inference"})


async def record(storage: Storage, *entries: Entry) -> AuditLog:
    """Write entries, each in a transaction of its own."""
    log = AuditLog(storage)
    for entry in entries:
        async with storage.write(in_turn=True) as connection:
            await log.record(connection, entry)
    return log


async def test_entries_stand_in_order_and_are_whole(storage: Storage) -> None:
    """What was recorded can be read, newest or oldest first, and checked."""
    log = await record(storage, *(made(f"key_{n}") for n in range(5)))
    assert [entry.subject for entry in await log.latest(2)] == ["key_4", "key_3"]
    assert [entry.seq for entry in await log.latest(2, before=4)] == [3, 2]
    assert [entry.seq for entry in await log.following(3)] == [4, 5]
    verdict = await log.verify(SIGNER.public)
    assert (verdict.size, verdict.signed, verdict.findings) == (5, 0, ())


async def test_an_act_that_fails_leaves_no_entry(storage: Storage) -> None:
    """Entry and act are of one transaction; the number of the entry is not lost either."""
    log = await record(storage, made("key_1"))

    async def act_and_fail() -> None:
        async with storage.write(in_turn=True) as connection:
            await log.record(connection, made("key_2"))
            raise KeyError

    with pytest.raises(KeyError):
        await act_and_fail()
    await record(storage, made("key_3"))
    assert [(entry.seq, entry.subject) for entry in await log.following()] == [
        (1, "key_1"),
        (2, "key_3"),
    ]
    assert (await log.verify(SIGNER.public)).is_whole


async def test_two_entries_of_one_transaction_are_two(storage: Storage) -> None:
    """The second stands on the first."""
    log = AuditLog(storage)
    async with storage.write(in_turn=True) as connection:
        await log.record(connection, made("key_1"))
        await log.record(connection, made("key_2"))
    assert (await log.verify(SIGNER.public)).size == 2


async def test_an_entry_out_of_turn_is_a_fault(storage: Storage) -> None:
    """Without its turn two gateways would write behind the same entry."""
    log = AuditLog(storage)
    with pytest.raises(AssertionError, match="turn"):
        async with storage.write() as connection:
            await log.record(connection, made("key_1"))
    await record(storage, made("key_2"))
    with pytest.raises(AssertionError, match="turn"):  # the connection forgets its last turn
        async with storage.write() as connection:
            await log.record(connection, made("key_3"))


async def test_a_head_is_signed_when_there_is_something_new(storage: Storage) -> None:
    """One head for each state, and none twice."""
    log = await record(storage)
    assert await log.sign(SIGNER) is None
    await record(storage, made("key_1"), made("key_2"))
    head = await log.sign(SIGNER)
    assert head is not None
    assert (head.size, await log.sign(SIGNER)) == (2, head)
    assert await log.head() == head
    await record(storage, made("key_3"))
    await log.sign(SIGNER)
    assert [each.size for each in await log.heads()] == [2, 3]
    assert (await log.verify(SIGNER.public)).signed == 3


@pytest.mark.parametrize("table", [audit, audit_heads], ids=["audit", "audit_heads"])
@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_the_database_itself_takes_nothing_back(
    storage: Storage, table: Table, verb: str
) -> None:
    """A row of the log cannot be changed or deleted, not even by this program."""
    log = await record(storage, made("key_1"))
    await log.sign(SIGNER)
    target = audit if table is audit else audit_heads
    statement = (
        target.delete() if verb == "delete" else target.update().values(at=datetime.now(UTC))
    )
    with pytest.raises(ConstraintViolated, match="append-only"):
        async with storage.write() as connection:
            await connection.execute(statement)


async def test_entries_are_found_by_who_what_when_and_whose(storage: Storage) -> None:
    """Every filter of the list."""
    log = await record(
        storage,
        made("key_1"),
        made("n1", Actor.node("n1", "mbr_bo"), Action.NODE_ENROLLED),
        made("settings", GATEWAY, Action.SETTINGS_CHANGED),
        made("mbr_bo", COMMAND_LINE, Action.MEMBER_MADE),
        Entry(Action.NODE_REMOVED, ANNA, "n1", "mbr_bo"),
    )

    async def found(wanted: Wanted) -> list[int]:
        return [entry.seq for entry in await log.following(0, 10, wanted)]

    assert await found(Wanted(actor="key_anna")) == [1, 5]
    assert await found(Wanted(actor="mbr_bo")) == [2]
    assert await found(Wanted(actor="command line")) == [4]
    assert await found(Wanted(action="node")) == [2, 5]
    assert await found(Wanted(action="node.removed")) == [5]
    assert await found(Wanted(action="nod")) == []
    assert await found(Wanted(member="mbr_bo")) == [2, 5]
    assert await found(Wanted(since=datetime(2100, 1, 1, tzinfo=UTC))) == []
    assert len(await log.latest(10, wanted=Wanted(actor="mbr_anna"))) == 2


async def test_a_moment_that_is_none_is_found(file_storage: Storage, sqlite_file: Path) -> None:
    """What cannot even be read is told by its number, and the rest is still checked."""
    log = await record(file_storage, *(made(f"key_{n}") for n in range(3)))
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET at = 'yesterday' WHERE seq = 2")
        connection.commit()
    assert [found.seq for found in (await log.verify(SIGNER.public)).findings] == [2]


async def test_what_another_hand_wrote_is_not_signed(
    file_storage: Storage, sqlite_file: Path
) -> None:
    """A head over a log that was rewritten would make it good."""
    log = await record(file_storage, made("key_1"), made("key_2"))
    await log.sign(SIGNER)
    await record(file_storage, made("key_3"))
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET subject = 'key_9' WHERE seq = 3")
        connection.commit()
    with pytest.raises(LogBroken, match="entry 3"):
        await log.sign(SIGNER)


async def test_a_log_that_lost_its_end_is_not_signed(
    file_storage: Storage, sqlite_file: Path
) -> None:
    """New entries behind the cut do not hide it."""
    log = await record(file_storage, made("key_1"), made("key_2"))
    await log.sign(SIGNER)
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute("DELETE FROM audit WHERE seq = 2")
        connection.commit()
    with pytest.raises(LogBroken):
        await log.sign(SIGNER)
    await record(file_storage, made("key_8"), made("key_9"))
    with pytest.raises(LogBroken):
        await log.sign(SIGNER)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a gateway remembers its last head."""
    return tmp_path / "gateway" / "audit.head"


async def test_a_keeper_signs_now_and_then_and_at_the_end(storage: Storage, file: Path) -> None:
    """What is new is signed by itself, and what is left when the gateway goes."""
    log = await record(storage, made("key_1"))
    keeper = HeadKeeper.start(log, SIGNER, file, every=0.01)
    while await log.head() is None:  # noqa: ASYNC110 - it is the database that is looked at
        await asyncio.sleep(0.005)
    await keeper.close()
    keeper = HeadKeeper.start(log, SIGNER, file)
    await record(storage, made("key_2"))
    await keeper.close()
    assert [head.size for head in await log.heads()] == [1, 2]
    assert keeper.failures == 0


async def test_settings_are_told_where_they_changed(storage: Storage) -> None:
    """Against the defaults at first, then against what was told last."""
    log = AuditLog(storage)
    defaults: dict[str, Detail] = {"retries": 3, "min_agent": None}
    assert await note_settings(log, defaults, defaults) is None
    told = await note_settings(log, defaults | {"retries": 5}, defaults)
    assert told is not None
    assert (told.action, told.details) == ("settings.changed", '{"retries":5}')
    assert await note_settings(log, defaults | {"retries": 5}, defaults) is None
    back = await note_settings(log, defaults | {"min_agent": "0.2.0"}, defaults)
    assert back is not None
    assert back.details == '{"min_agent":"0.2.0","retries":3}'


async def test_gateways_that_record_at_once_keep_one_chain(database: str) -> None:
    """Two processes, many acts at a time: no number twice, none left out."""
    storages = [await Storage.open(database) for _ in range(2)]
    acts = [record(storages[n % 2], made(f"key_{n}")) for n in range(20)]
    logs = await asyncio.gather(*acts)
    verdict = await logs[0].verify(SIGNER.public)
    for each in storages:
        await each.close()
    assert (verdict.size, verdict.findings) == (20, ())


async def test_the_table_cannot_be_emptied_at_once_either(database: str) -> None:
    """PostgreSQL has a statement for that, which fires no trigger of a row."""
    storage = await Storage.open(database)
    try:
        await record(storage, made("key_1"))
        if not database.startswith("sqlite"):
            with pytest.raises(ConstraintViolated, match="append-only"):
                async with storage.write() as connection:
                    await connection.execute(text("TRUNCATE audit"))
        assert (await AuditLog(storage).verify(SIGNER.public)).size == 1
    finally:
        await storage.close()
