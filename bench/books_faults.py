"""Random orders from many clients to gateways that are killed, over a database that is too."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from bench.books_check import Checked, Fate, check, rows_of
from bench.books_gateway import MEMBERS, Order, Word, member
from bench.processes import ROOT
from bench.report import console
from garage_ai.ledger import ISSUANCE, Kind, Leases, Ledger, NanoGai, Transfer, member_account
from garage_ai.ledger.verification import Verification
from garage_ai.storage import Storage

if TYPE_CHECKING:
    from tests.parts.postgresql import Cluster

__all__ = ["Faults", "run_faults"]

CLIENTS = 16
GATEWAYS = {"sqlite": 1, "postgresql": 3}
"""As many as may stand before each."""

OPENING = 200_000
PATIENCE = 60.0
TOLD = 100_000


class Faults(msgspec.Struct):
    """What a run of faults did, and what was found afterwards."""

    database: str
    orders: int
    seconds: float
    gateways_killed: int
    databases_killed: int
    checked: Checked
    verify_faults: int
    findings: list[str]


class _Child:
    """A gateway process, and the orders that it has not answered."""

    def __init__(self, url: str, fates: dict[int, Fate]) -> None:
        self._url = url
        self._fates = fates
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.ready = asyncio.Event()
        self.killed = 0

    async def start(self) -> None:
        """Start the process and wait until it takes orders."""
        self.ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.books_gateway", self._url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
            limit=1 << 24,
        )
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(PATIENCE):
            await self.ready.wait()

    async def _read(self) -> None:
        decoder = msgspec.json.Decoder(Word)
        stdout = self._process.stdout
        assert stdout is not None
        while (line := await stdout.readline()).endswith(b"\n"):
            word = decoder.decode(line)
            for number in word.committed:
                self._fates[number].committed = True
            if word.end == "ready":
                self.ready.set()
            elif word.end:
                self._answer(word)
        # Nobody gives it an order any more: they would all be lost at once, in no time.
        self.ready.clear()
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    def _answer(self, word: Word) -> None:
        fate = self._fates[word.n]
        fate.end = word.end
        fate.committed |= word.end == "committed"
        waiting = self._waiting.pop(word.n, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def ask(self, order: Order) -> None:
        """Send an order and wait for its end, or the process's."""
        stdin = self._process.stdin
        assert stdin is not None
        if self._reading.done():
            return
        waiting = self._waiting[order.n] = asyncio.get_running_loop().create_future()
        stdin.write(msgspec.json.encode(order) + b"\n")
        # A killed process answers nothing; what it was told is lost with it.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await waiting

    async def kill(self) -> None:
        """Kill it as `kill -9` does, and start another in its place."""
        self._process.kill()
        await self._process.wait()
        await self._reading
        self.killed += 1
        while True:
            with contextlib.suppress(TimeoutError):
                await self.start()
                return
            self._process.kill()

    async def stop(self) -> None:
        """Let it end by itself."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        async with asyncio.timeout(PATIENCE):
            await self._reading
            await self._process.wait()


def _order(number: int, chance: random.Random) -> Order:
    payer, payee = chance.randrange(MEMBERS), chance.randrange(MEMBERS)
    how = chance.random()
    hold = chance.choice([100, 1_000, 5_000])
    if how < 0.85:
        spend = 0 if chance.random() < 0.15 else chance.randint(1, hold)
        return Order(number, "request", payer, payee, hold, spend)
    if how < 0.90:
        return Order(number, "forget", payer, payee, hold, hold)
    if how < 0.95:
        return Order(number, "grant", payer, payee, 0, chance.randint(1, 3_000))
    other = (payee + 1) % MEMBERS if payee == payer else payee
    return Order(number, "give", payer, other, 0, chance.randint(1, 20_000))


class _Run:
    """One run over one database."""

    def __init__(
        self, name: str, url: str, orders: int, seed: int, cluster: Cluster | None
    ) -> None:
        self.name = name
        self.url = url
        self.orders = orders
        self.chance = random.Random(seed)
        self.cluster = cluster
        self.fates: dict[int, Fate] = {}
        self.children = [_Child(url, self.fates) for _ in range(GATEWAYS[name])]
        self.numbers = self._numbers()
        self.databases_killed = 0
        self.over = asyncio.Event()

    def _numbers(self) -> Iterator[int]:
        """Number the orders: at least so many, and more until each kind of thing was killed."""
        number = 0
        while number < self.orders or not self._all_killed:
            yield number
            number += 1

    @property
    def gateways_killed(self) -> int:
        """How often a gateway was."""
        return sum(child.killed for child in self.children)

    @property
    def _all_killed(self) -> bool:
        return bool(self.gateways_killed and (self.cluster is None or self.databases_killed))

    async def client(self, seed: int) -> None:
        """Give orders one after another, each to any gateway; some twice, to two of them."""
        chance = random.Random(seed)
        for number in self.numbers:
            if number and number % TOLD == 0:
                console.print(f"{self.name}: {number} orders", style="dim")
            order = _order(number, chance)
            self.fates[number] = Fate(order)
            child = await self._ready(chance)
            await child.ask(order)
            if self.fates[number].end == "unavailable":
                await asyncio.sleep(0.2)  # as a client would, before it asks for something else
            if order.what in ("grant", "give") and chance.random() < 0.3:
                await self._again(order, chance)

    async def _ready(self, chance: random.Random) -> _Child:
        """Choose a gateway that takes orders, as a balancer does; all wait only where none is."""
        while not (up := [child for child in self.children if child.ready.is_set()]):
            starts = [asyncio.ensure_future(child.ready.wait()) for child in self.children]
            await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
            for each in starts:
                each.cancel()
        return chance.choice(up)

    async def _again(self, order: Order, chance: random.Random) -> None:
        """Ask for the same entry once more, elsewhere: whatever became of it, it is made once."""
        before = msgspec.structs.replace(self.fates[order.n])
        await chance.choice(self.children).ask(order)
        fate = self.fates[order.n]
        if before.committed and fate.end != "committed":
            fate.end, fate.committed = before.end, True

    async def killer(self, pause: float) -> None:
        """Kill a gateway now and then, and sometimes the database: it is the second to go."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * self.chance.uniform(0.5, 1.5)):
                    await self.over.wait()
                return
            second = self.gateways_killed == 1 and not self.databases_killed
            if self.cluster is not None and (second or self.chance.random() < 0.3):
                await asyncio.to_thread(self.cluster.kill)
                await asyncio.to_thread(self.cluster.start)
                self.databases_killed += 1
            else:
                await self.chance.choice(self.children).kill()


async def _open(url: str) -> None:
    storage = await Storage.open(url)
    ledger = Ledger(storage)
    for number in range(MEMBERS):
        account, now = member_account(member(number)), datetime.now(UTC)
        opening = Transfer(f"opening{number}", Kind.GRANT, ISSUANCE, account, NanoGai(OPENING), now)
        await ledger.post([opening])
    await storage.close()


async def _close(url: str) -> Verification:
    """Take back what dead gateways had leased, and let the program check its own books."""
    storage = await Storage.open(url)
    leases = Leases(storage, "last")
    while await leases.sweep(grace=-86_400):
        pass
    try:
        return await Ledger(storage).verify()
    finally:
        await storage.close()


async def run_faults(
    name: str, url: str, orders: int, *, seed: int, pause: float, cluster: Cluster | None = None
) -> Faults:
    """Give the orders, kill meanwhile, and check the books."""
    await _open(url)
    run = _Run(name, url, orders, seed, cluster)
    await asyncio.gather(*(child.start() for child in run.children))
    begun = time.monotonic()
    killer = asyncio.create_task(run.killer(pause))
    await asyncio.gather(*(run.client(seed + number) for number in range(CLIENTS)))
    seconds = time.monotonic() - begun
    run.over.set()
    await killer
    for child in run.children:
        await child.stop()
    seen = await _close(url)
    checked = await asyncio.to_thread(check, rows_of(url), run.fates)
    return Faults(
        name,
        len(run.fates),
        seconds,
        run.gateways_killed,
        run.databases_killed,
        checked,
        seen.faults,
        [f"{each.row} {each.what}" for each in seen.findings],
    )
