"""Whatever is lost, late or done twice between a gateway and its database, no GAI is made or spent
twice."""

import asyncio
import random
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parts.money import ANNA, BERT, A, B, fee, grant, use
from tests.parts.paying import Paying

from garage_ai.ledger import (
    AccountId,
    InsufficientBalance,
    LeaseId,
    Leases,
    Ledger,
    NanoGai,
    Receipt,
)
from garage_ai.ledger.books import Outcome
from garage_ai.ledger.leases import Granted, Request
from garage_ai.ledger.verification import stream_transfers
from garage_ai.storage import DatabaseLocked, Storage, StorageError, StorageTimeout, sqlite_url


@contextmanager
def hasty() -> Iterator[None]:
    """Let gateways give back, and be patient, in a thirtieth of the time."""
    with (
        patch("garage_ai.ledger.spares.SPARE_SECONDS", 0.008),
        patch("garage_ai.ledger.allowances.PATIENCE_SECONDS", 0.05),
        patch("garage_ai.ledger.allowances.AGAIN_SECONDS", 0.008),
    ):
        yield


class Weather:
    """What happens to calls on their way: a share of them fails before, or after the work."""

    def __init__(self, seed: int, before: float, after: float) -> None:
        self.chance = random.Random(seed)
        self._before, self._after = before, after

    async def on_the_way(self) -> None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.002]))
        if self.chance.random() < self._before:
            raise DatabaseLocked("before")

    def on_the_way_back(self) -> None:
        if self.chance.random() < self._after:
            raise StorageTimeout("after")


class FarLedger(Ledger):
    """A ledger behind that weather; what was committed may be told as lost."""

    def __init__(self, storage: Storage, weather: Weather) -> None:
        super().__init__(storage)
        self.weather = weather

    async def enter(self, receipts: Sequence[Receipt]) -> list[Outcome]:
        await self.weather.on_the_way()
        ends = await super().enter(receipts)
        self.weather.on_the_way_back()
        return ends


class FarLeases(Leases):
    """Leases behind that weather."""

    def __init__(self, storage: Storage, gateway: str, weather: Weather) -> None:
        super().__init__(storage, gateway)
        self.weather = weather

    async def extend(self, asked: Sequence[Request]) -> list[Granted]:
        await self.weather.on_the_way()
        granted = await super().extend(asked)
        self.weather.on_the_way_back()
        return granted

    async def close(self, ids: Collection[LeaseId]) -> None:
        await self.weather.on_the_way()
        await super().close(ids)
        self.weather.on_the_way_back()


async def expire_all(storage: Storage) -> None:
    """Let a day pass: every open lease is taken back."""
    await Leases(storage, "later").sweep(grace=-86_400)


async def request(
    gateway: Paying, number: int, chance: random.Random, told: dict[str, int]
) -> None:
    """Reserve, and end in one of the ways that there are; note what was settled."""
    payer, account = chance.choice([(ANNA, A), (BERT, B)])
    try:
        held = await gateway.reserve(payer, NanoGai(chance.randint(1, 40)))
    except (InsufficientBalance, StorageError):
        return
    await asyncio.sleep(chance.choice([0, 0.001]))
    how = chance.random()
    if how < 0.2:
        held.void()
    elif how < 0.9:
        spent = chance.randint(1, held.amount)
        kept = spent // 10
        shares = [use(f"u{number}", account, B, spent - kept)]
        shares += [fee(f"f{number}", account, kept, f"u{number}")] if kept else []
        for _ in range(chance.choice([1, 1, 2])):
            gateway.pay(held, shares)
        told[f"u{number}"] = spent
    # Else nobody ever tells how it ended.


async def live(path: Path, seed: int, before: float, after: float, sweeps: bool) -> None:
    storage = await Storage.open(sqlite_url(path))
    try:
        await live_on(storage, seed, before, after, sweeps)
    finally:
        await storage.close()


async def live_on(storage: Storage, seed: int, before: float, after: float, sweeps: bool) -> None:
    chance = random.Random(seed)
    clear = Ledger(storage)
    await clear.post([grant("g1", A, 500), grant("g2", B, 300)])
    weather = Weather(seed, before, after)
    gateways = [
        Paying.over(FarLedger(storage, weather), FarLeases(storage, f"g{n}", weather))
        for n in range(2)
    ]
    told: dict[str, int] = {}
    work = [request(chance.choice(gateways), n, chance, told) for n in range(60)]
    if sweeps:
        work.insert(30, expire_all(storage))
    await asyncio.gather(*work)
    for gateway in gateways:
        await gateway.close()
    seen = await clear.verify()
    assert seen.findings == []
    await expire_all(storage)
    await check(clear, storage, gateways, told)


async def check(
    ledger: Ledger, storage: Storage, gateways: Sequence[Paying], told: dict[str, int]
) -> None:
    """Compare what was told to be settled with what is in the books."""
    seen = await ledger.verify()
    assert (seen.findings, seen.open_leases) == ([], 0)
    entered: dict[str, int] = {}
    async for each in stream_transfers(storage):
        if each.id[0] in "uf":
            entered[f"u{each.id[1:]}"] = entered.get(f"u{each.id[1:]}", 0) + each.amount
    assert all(told[name] == amount for name, amount in entered.items())
    missing = sum(amount for name, amount in told.items() if name not in entered)
    lost = sum(gateway.unaccounted for gateway in gateways)
    # What was dropped at the end may have been committed all the same: nobody could tell.
    dropped = any(gateway.writer.counts.dropped for gateway in gateways)
    known = sum(
        gateway.writer.counts.entered + gateway.writer.counts.repeated for gateway in gateways
    )
    assert missing <= lost if dropped else missing == lost
    assert known <= len(entered) if dropped else known == len(entered)
    # What gateways could not bill lies within what the swept leases are booked with.
    assert missing <= seen.unaccounted
    total = (await ledger.balance(A)).amount + (await ledger.balance(B)).amount
    fees = (await ledger.balance(AccountId("fee"))).amount
    assert total + fees == 800


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    before=st.sampled_from([0.0, 0.2, 0.5]),
    after=st.sampled_from([0.0, 0.2, 0.5]),
    sweeps=st.booleans(),
)
def test_nothing_is_made_or_spent_twice(
    seed: int, before: float, after: float, sweeps: bool
) -> None:
    """Every settlement is in the books once, or counted as unaccounted and within its bound."""
    with tempfile.TemporaryDirectory() as folder, hasty():
        asyncio.run(live(Path(folder) / "garage.db", seed, before, after, sweeps))
