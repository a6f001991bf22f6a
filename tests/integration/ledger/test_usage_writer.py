"""The writer of usage: in order, in time, once each, and nothing lost in silence."""

import asyncio
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import String, func, insert, select, text, type_coerce, update

from garage_ai.ledger import LeaseId, Ledger, Receipt, Settlement, UsageWriter, member_account
from garage_ai.ledger.usage_writer import GROUP
from garage_ai.storage import (
    KeyId,
    MemberId,
    Storage,
    UsageRecord,
    UsageRows,
    sqlite,
    sqlite_url,
    usage_list,
)
from garage_ai.storage.tables import keys, members, usage
from garage_ai.storage.usage_rows import _COLUMNS, _row

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = 30.0


def record(number: int) -> UsageRecord:
    return UsageRecord(
        request_id=f"req_{number:08}",
        at=NOON + timedelta(milliseconds=number),
        member=MemberId("mbr_operator"),
        key_id=KeyId("key_a"),
        route="chat",
        model="garage-chat",
        digest="sha256:00",
        node="naaaaaaaaaaaa",
        outcome="completed",
        stream=True,
        prompt_tokens=10,
        completion_tokens=20,
        content_events=21,
        bytes_out=3000,
        ttft_s=0.1,
        duration_s=0.5,
        attempts=1,
    )


@pytest.fixture
async def writer(storage: Storage) -> AsyncIterator[UsageWriter]:
    started = UsageWriter.start(Ledger(storage))
    yield started
    await started.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for is another thread's commit
            await asyncio.sleep(0.002)


async def written(writer: UsageWriter, count: int) -> None:
    """Wait until so many records are in the database."""
    await until(lambda: writer.counts.entered >= count)


async def kept(storage: Storage) -> list[str]:
    async with storage.read() as connection:
        rows = await connection.execute(text("SELECT request_id FROM usage ORDER BY seq"))
        return [row.request_id for row in rows]


async def test_records_are_written_in_order(storage: Storage, writer: UsageWriter) -> None:
    """More than several groups, put at once, stand in the order in which they came."""
    records = [record(number) for number in range(1234)]
    for each in records:
        writer.put(Receipt(each))
    await written(writer, len(records))
    assert await kept(storage) == [each.request_id for each in records]
    assert writer.waiting == 0


async def test_a_record_waits_less_than_50_ms(storage: Storage, writer: UsageWriter) -> None:
    """From put to commit a lone record takes under 50 ms; the best of many, as others run here."""
    waits = []
    for number in range(50):
        begun = time.perf_counter()
        writer.put(Receipt(record(number)))
        await written(writer, number + 1)
        waits.append(time.perf_counter() - begun)
        if waits[-1] < 0.05:
            return
    pytest.fail(f"none of them: {sorted(waits)}")


async def test_records_share_a_transaction(file_storage: Storage) -> None:
    """Records that come together are committed together, by one statement in one transaction."""
    said: list[str] = []
    writer = UsageWriter.start(Ledger(file_storage))
    async with file_storage._writer.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.set_trace_callback(said.append)
    for number in range(GROUP):
        writer.put(Receipt(record(number)))
    await written(writer, GROUP)
    await writer.close()
    assert [each.split(" (")[0] for each in said] == [
        "BEGIN IMMEDIATE",
        "INSERT INTO usage",
        "COMMIT",
    ]


async def test_a_group_waits_for_other_writers(storage: Storage) -> None:
    """Groups and ordinary writes of one process take turns; none fails."""
    ledger = Ledger(storage)

    async def count_up(number: int) -> None:
        async with storage.write() as connection:
            await connection.execute(select(keys))
            await asyncio.sleep(0)
            await connection.execute(update(members).values(name=str(number)))

    groups = [ledger.enter([Receipt(record(number))]) for number in range(20)]
    done = await asyncio.gather(*groups, *map(count_up, range(20)))
    assert done[:20] == [["entered"]] * 20


async def write_both_ways(storage: Storage) -> list[UsageRecord]:
    """Write a record as one of a group, and another as SQLAlchemy would."""
    first, second = record(1), replace(record(2), digest=None, ttft_s=None)
    async with storage.write() as connection:
        ordinary = dict(zip(_COLUMNS, _row(first), strict=True))
        await connection.execute(insert(usage).values(ordinary))
    assert await storage.write_exactly([UsageRows(storage).change([second])])
    return [second, first]


async def test_both_ways_write_the_same(storage: Storage) -> None:
    """A record of a group reads as one that SQLAlchemy wrote."""
    records = await write_both_ways(storage)
    assert list((await usage_list(storage)).records) == records


async def test_both_ways_write_the_same_to_a_file(file_storage: Storage) -> None:
    """SQLite keeps any type in any column, so it is asked: types and the moment's length agree."""
    columns = [name for name in _COLUMNS if name not in {"digest", "ttft_s"}]
    await write_both_ways(file_storage)
    async with file_storage.read() as connection:
        types = (func.typeof(usage.c[name]) for name in columns)
        moment = func.length(type_coerce(usage.c.at, String))
        found = (await connection.execute(select(moment, *types))).all()
    assert found[0] == found[1]


async def test_a_request_is_recorded_once(storage: Storage, writer: UsageWriter) -> None:
    """The first record of a request stays, a second is counted as repeated."""
    writer.put(Receipt(record(1)))
    writer.put(Receipt(replace(record(1), outcome="again")))
    await written(writer, 1)
    writer.put(Receipt(replace(record(1), outcome="later")))
    await writer.close()
    page = await usage_list(storage)
    assert [each.outcome for each in page.records] == ["completed"]
    assert (writer.counts.entered, writer.counts.repeated) == (1, 2)


async def test_a_bad_record_stops_no_other(storage: Storage) -> None:
    """What no column can hold is dropped, counted and told; all others are written."""
    told: list[tuple[int, str]] = []
    writer = UsageWriter.start(
        Ledger(storage), on_drop=lambda count, why: told.append((count, why))
    )
    bad = {
        3: replace(record(3), prompt_tokens=2**70),
        7: replace(record(7), model="\ud800"),
        8: replace(record(8), at=NOON.replace(tzinfo=None)),
        9: replace(record(9), outcome=None),
    }
    for number in range(20):
        writer.put(Receipt(bad.get(number, record(number))))
    await writer.close()
    good = [f"req_{number:08}" for number in range(20) if number not in bad]
    assert await kept(storage) == good
    assert told == [(1, "refused")] * 4
    assert writer.counts.dropped == 4


async def test_a_long_model_name_is_cut(storage: Storage, writer: UsageWriter) -> None:
    """A name longer than its column costs its end, not the record."""
    writer.put(Receipt(replace(record(0), model="m" * 1000)))
    await written(writer, 1)
    assert (await usage_list(storage)).records[0].model == "m" * 255


async def test_a_locked_database_delays_and_loses_nothing(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the database records wait; then they are all there."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.02)
    storage = await Storage.open(sqlite_url(sqlite_file))
    writer = UsageWriter.start(Ledger(storage))
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(10):
            writer.put(Receipt(record(number)))
        await until(lambda: writer.counts.retries >= 2)
        assert writer.waiting == 10
        other.execute("ROLLBACK")
    await written(writer, 10)
    await writer.close()
    assert len(await kept(storage)) == 10
    assert writer.counts.dropped == 0
    await storage.close()


async def test_a_full_disk_delays_then_drops_what_no_longer_fits(file_storage: Storage) -> None:
    """With no room on the disk the queue fills, the rest is counted, and all heals by itself."""
    async with file_storage.write() as connection:
        pages = await connection.scalar(text("PRAGMA page_count"))
        await connection.execute(text(f"PRAGMA max_page_count={pages}"))
    told: list[tuple[int, str]] = []
    writer = UsageWriter.start(
        Ledger(file_storage), queue=1000, on_drop=lambda count, why: told.append((count, why))
    )
    for number in range(1005):
        writer.put(Receipt(record(number)))
    assert told == [(1, "queue_full")] * 5
    await until(lambda: writer.counts.retries >= 2)
    async with file_storage.write() as connection:
        await connection.execute(text("PRAGMA max_page_count=1000000"))
    await written(writer, 1000)
    await writer.close()
    assert await kept(file_storage) == [f"req_{number:08}" for number in range(1000)]
    assert writer.counts.dropped == 5


async def test_closing_writes_what_waits(storage: Storage) -> None:
    """Nothing that was put before close is lost; what is put after it is counted."""
    writer = UsageWriter.start(Ledger(storage))
    for number in range(50):
        writer.put(Receipt(record(number)))
    await writer.close()
    writer.put(Receipt(record(50)))
    assert len(await kept(storage)) == 50
    assert writer.counts.dropped == 1


async def test_closing_ends_though_the_database_is_away(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close that cannot write gives up in time and counts what it leaves."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.02)
    storage = await Storage.open(sqlite_url(sqlite_file))
    writer = UsageWriter.start(Ledger(storage))
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.put(Receipt(record(0)))
        await asyncio.wait_for(writer.close(timeout=0.2), PATIENCE)
    assert (writer.counts.entered, writer.counts.dropped) == (0, 1)
    await storage.close()


async def test_a_killed_writer_loses_its_last_moment_only(storage: Storage, database: str) -> None:
    """After kill -9 all that was called written is there, without a gap, and opens clean."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("writing_process.py")),
        database,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    acknowledged, put = 0, 0
    async with asyncio.timeout(PATIENCE * 3):
        while acknowledged < 300:
            acknowledged, put = map(int, (await child.stdout.readline()).split())
        child.send_signal(signal.SIGKILL)
        for line in (await child.stdout.read()).decode().splitlines(keepends=True):
            if line.endswith("\n"):
                acknowledged, put = map(int, line.split())
        await child.wait()
    found = await kept(storage)
    assert found == [f"req_{number:08}" for number in range(len(found))]
    # One record a millisecond, reported every ten: what is missing was put just before the end.
    assert acknowledged <= len(found)
    assert put - len(found) <= 500


async def test_who_hears_of_an_end_and_fails_stops_no_writing(storage: Storage) -> None:
    """What comes behind it is written."""
    heard: list[str] = []

    def fail(ended: Settlement, _: object) -> None:
        heard.append(ended.lease)
        raise RuntimeError("no such lease")

    writer = UsageWriter.start(Ledger(storage), on_end=fail)
    spent = Settlement(LeaseId("l1"), member_account(MemberId("mbr_anna")), ())
    writer.put(Receipt(record(1), spent))
    await until(lambda: heard == ["l1"])
    writer.put(Receipt(record(2)))
    await written(writer, 1)
    await writer.close()
    assert "req_00000002" in await kept(storage)
