"""Several gateways on one PostgreSQL let a key use what it may: no more, and nearly all of it."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases import Server

from garage_ai.accounts import KeyRing, LimitSettings
from garage_ai.storage import OPERATOR, KeyId, Storage

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PROCESS = Path(__file__).with_name("limit_process.py")
GATEWAYS = 3
OVER = 1.02
USED = 0.95


@pytest.fixture
def url(postgresql: Server) -> Iterator[str]:
    with postgresql.cluster.database(postgresql.template) as url:
        yield url


async def make_key(url: str, limits: LimitSettings) -> KeyId:
    """Make a key with limits."""
    storage = await Storage.open(url)
    ring = await KeyRing.open(storage)
    key = (await ring.create("hammered", limits=limits)).key
    await ring.close()
    await storage.close()
    return key.id


async def hammer(url: str, key: KeyId, seconds: float) -> list[list[tuple[float, int]]]:
    """Let gateways hammer one key; gives what each let in, and when."""
    words = (sys.executable, PROCESS, url, key, OPERATOR, str(seconds))
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
        for _ in range(GATEWAYS)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    # All at once: else the first may have used everything before the last has begun.
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * GATEWAYS
    return [[tuple(json.loads(line)) for line in out.splitlines()] for out, _ in outputs]


def fullest(moments: list[float]) -> int:
    """Count the most that happened within any minute."""
    moments, first, most = sorted(moments), 0, 0
    for number, moment in enumerate(moments):
        while moments[first] <= moment - 60:
            first += 1
        most = max(most, number - first + 1)
    return most


async def test_a_budget_is_used_up_and_not_more(url: str) -> None:
    """Tokens of a day, asked for by three gateways at once, with worst cases that are too high."""
    budget = 20_000
    key = await make_key(url, LimitSettings(daily_tokens=budget))
    let_in = await hammer(url, key, 10.0)
    used = sum(tokens for each in let_in for _, tokens in each)
    assert USED * budget <= used <= OVER * budget
    assert all(let_in)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_rate_holds_over_minutes(url: str) -> None:
    """Requests a minute: never more in any minute, and nearly all that two minutes allow."""
    rpm = 600
    key = await make_key(url, LimitSettings(rpm=rpm))
    let_in = await hammer(url, key, 75.0)
    moments = [at for each in let_in for at, _ in each]
    assert fullest(moments) <= OVER * rpm
    assert len(moments) >= USED * 2 * rpm
    assert min(map(len, let_in)) >= len(moments) / GATEWAYS / 4
