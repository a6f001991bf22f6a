"""Usage while the PostgreSQL server is killed: nothing acknowledged is lost, nothing is doubled."""

import asyncio
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import select
from tests.databases import Server

from garage_ai.ledger import Ledger, Receipt, UsageWriter
from garage_ai.storage import KeyId, MemberId, Storage, UsageRecord
from garage_ai.storage.tables import usage

pytestmark = [pytest.mark.anyio, pytest.mark.system]

KILLS = 3
PATIENCE = 30.0


def record(number: int) -> UsageRecord:
    return UsageRecord(
        request_id=f"req_{number:08}",
        at=datetime.now(UTC),
        member=MemberId("mbr_operator"),
        key_id=KeyId("key_a"),
        route="chat",
        model="garage-chat",
        digest=None,
        node=None,
        outcome="completed",
        stream=False,
        prompt_tokens=1,
        completion_tokens=2,
        content_events=2,
        bytes_out=30,
        ttft_s=None,
        duration_s=0.1,
        attempts=1,
    )


class Child:
    """Another process that puts a record every millisecond and tells how many are written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._words = process.stdout
        self.acknowledged = 0
        self.delays = 0

    @classmethod
    async def start(cls, url: str) -> Self:
        program = Path(__file__).with_name("writing_process.py")
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, str(program), url, stdout=asyncio.subprocess.PIPE
            )
        )

    async def reaches(self, count: int) -> None:
        """Listen until so many are written."""
        async with asyncio.timeout(PATIENCE):
            while self.acknowledged < count:
                self._hear(await self._words.readline())

    async def end(self) -> None:
        """Kill it, and hear what it said last."""
        self._process.kill()
        for line in (await self._words.read()).splitlines(keepends=True):
            self._hear(line)
        await self._process.wait()

    def _hear(self, line: bytes) -> None:
        words = line.split()
        if line.endswith(b"\n") and len(words) == 2 and all(map(bytes.isdigit, words)):
            self.acknowledged = int(words[0])
        elif b"usage_write_delayed" in line:
            self.delays += 1


async def kept(storage: Storage) -> list[str]:
    async with storage.read() as connection:
        return list(await connection.scalars(select(usage.c.request_id).order_by(usage.c.seq)))


@pytest.mark.timeout(120)
async def test_a_killed_server_loses_and_doubles_nothing(killable: Server) -> None:
    """The writer goes on by itself after each `kill -9`; every record is there once, in order."""
    rng = random.Random(4)
    with killable.cluster.database(killable.template) as url:
        child = await Child.start(url)
        for _ in range(KILLS):
            await child.reaches(child.acknowledged + rng.randint(100, 400))
            killable.cluster.kill()
            killable.cluster.start()
        await child.reaches(child.acknowledged + 500)
        await child.end()
        storage = await Storage.open(url)
        found = await kept(storage)
        await storage.close()
    assert found == [f"req_{number:08}" for number in range(len(found))]
    assert child.acknowledged <= len(found)
    assert child.delays >= 1


async def test_a_server_that_is_away_delays_and_loses_nothing(killable: Server) -> None:
    """While it is down records wait, and closing in time counts what it must leave."""
    with killable.cluster.database(killable.template) as url:
        storage = await Storage.open(url)
        writer, doomed = (UsageWriter.start(Ledger(storage)) for _ in range(2))
        killable.cluster.shut_down()
        for number in range(200):
            writer.put(Receipt(record(number)))
        doomed.put(Receipt(record(200)))
        async with asyncio.timeout(PATIENCE):
            while writer.counts.retries < 2:  # noqa: ASYNC110 - the writer's own task counts
                await asyncio.sleep(0.01)
        assert writer.waiting == 200
        await asyncio.wait_for(doomed.close(timeout=0.2), PATIENCE)
        assert (doomed.counts.entered, doomed.counts.dropped) == (0, 1)
        killable.cluster.start()
        await writer.close(timeout=PATIENCE)
        assert await kept(storage) == [f"req_{number:08}" for number in range(200)]
        await storage.close()
