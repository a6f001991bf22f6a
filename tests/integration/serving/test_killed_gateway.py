"""A gateway that is killed leaves no usage without its bill, and no bill without its usage."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.parts.money import ANNA, BERT, A, B, grant

from garage_ai.ledger import GAI, Leases, Ledger
from garage_ai.storage import Storage
from garage_ai.storage.tables import transfers, usage

pytestmark = pytest.mark.anyio

KILLS = 5
PATIENCE = 120.0


async def bill_until_killed(url: str, chance: random.Random) -> int:
    """Let a process bill, kill it anywhere, and give how many requests it had told as entered."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("billing_process.py")), url, ANNA, BERT),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    entered, enough = 0, chance.randint(50, 250)
    try:
        async with asyncio.timeout(PATIENCE):
            while entered < enough:
                entered = entered_by(await child.stdout.readline()) or entered
        await asyncio.sleep(chance.uniform(0, 0.05))  # anywhere in a group's life
    finally:
        child.kill()
        last = [entered_by(line) for line in (await child.stdout.read()).splitlines(keepends=True)]
        await child.wait()
    return max([entered, *last])


def entered_by(line: bytes) -> int:
    """Read a whole line of the process; a line of the log tells nothing."""
    words = line.split()
    told = line.endswith(b"\n") and len(words) == 2 and all(map(bytes.isdigit, words))
    return int(words[0]) if told else 0


@pytest.mark.timeout(300)
async def test_use_and_cost_are_there_together(storage: Storage, database: str) -> None:
    """Wherever the kill comes; what it took has no charge, and is bounded by the lease's rest."""
    ledger = Ledger(storage)
    await ledger.post([grant("ga", A, GAI), grant("gb", B, GAI)])
    chance = random.Random(45)
    told = 0
    for _ in range(KILLS):
        told += await bill_until_killed(database, chance)
    async with storage.read() as connection:
        used = dict((await connection.execute(select(usage.c.request_id, usage.c.charge))).all())
        paid = await connection.execute(select(transfers.c.request_id, transfers.c.amount))
        sums: Counter[str] = Counter()
        for request, amount in paid:
            if request is not None:
                sums[request] += amount
    assert {request: charge for request, charge in used.items() if charge} == dict(sums)
    assert None not in used.values()
    assert told <= len(used)
    assert len(sums) < len(used)
    swept = await Leases(storage, "later").sweep(grace=-86_400)
    seen = await ledger.verify()
    assert (seen.findings, seen.open_leases) == ([], 0)
    assert seen.unaccounted == sum(lease.rest for lease in swept) > 0
