"""A gateway's limits in a process of its own: asks for as much as it can get, and writes when.

URL KEY MEMBER SECONDS: says `ready` and begins when it is told a line; then one line of JSON per
request that was let in, `[moment, tokens]`.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from datetime import UTC, datetime

from garage_ai.accounts import (
    Demand,
    Key,
    Leases,
    LimitBook,
    LimitReached,
    Limits,
    StoredPools,
)
from garage_ai.storage import KeyId, MemberId, Storage

CLIENTS = 4
WORST = 20


async def hammer(limits: Limits, key: Key, until: float, chance: random.Random) -> None:
    """Ask again and again; a request holds its worst case for a moment and uses a part of it."""
    while time.time() < until:
        with contextlib.suppress(LimitReached):
            ticket = await limits.admit(key, Demand(WORST))
            at = time.time()
            await asyncio.sleep(chance.uniform(0, 0.01))
            used = chance.randint(0, WORST)
            ticket.finish(used)
            sys.stdout.write(json.dumps([at, used]) + "\n")
        await asyncio.sleep(chance.uniform(0, 0.01))


async def main(url: str, key_id: str, member: str, seconds: float) -> None:
    """Run clients for so long."""
    storage = await Storage.open(url)
    book = await LimitBook.open(storage)
    leases = Leases(StoredPools(storage), f"gateway-{os.getpid()}")
    leases.start()
    limits = Limits(book, leases)
    now = datetime.now(UTC)
    key = Key(KeyId(key_id), MemberId(member), "k", frozenset({"inference"}), None, now)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.time() + seconds
    chances = [random.Random(number) for number in range(CLIENTS)]
    await asyncio.gather(*(hammer(limits, key, until, chance) for chance in chances))
    await leases.close()
    await book.close()
    await storage.close()


if __name__ == "__main__":
    _, url, key_id, member, seconds = sys.argv
    asyncio.run(main(url, key_id, member, float(seconds)))
