"""A worker with all that it works with: storage, books, a network, and files."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import func, select, update
from tests.integration.serving.test_service import KEY
from tests.parts.batches import add_batch, counts, states
from tests.parts.money import grant
from tests.parts.unbilled import NoLimits

from garage_ai.accounts import Key, KeyId
from garage_ai.batch import Batch, Folder, LineRefused
from garage_ai.batch.models import batch_of
from garage_ai.batch.worker.bills import ItemBills
from garage_ai.batch.worker.items import Items
from garage_ai.batch.worker.promises import Promises
from garage_ai.batch.worker.worker import Worker
from garage_ai.gateway.batch_engines import Engines
from garage_ai.gateway.request import read_request
from garage_ai.ledger import (
    GAI,
    FigureJudge,
    Ledger,
    NanoGai,
    RuleMeter,
    member_account,
)
from garage_ai.ledger.charges import Price
from garage_ai.ledger.prices import ANY_MODEL, PriceList
from garage_ai.network.dedications import Dedications
from garage_ai.network.network import Network
from garage_ai.serving import Billing, Earner, Recount, Service
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import batch_items, batches, transfers, usage
from garage_ai.wire.ids import NodeId

PAYER = member_account(KEY.member)
HOLD = 1_000_000
DERIVED = [(ANY_MODEL, Price(NanoGai(2000), NanoGai(20_000)), "any")]  # batch: 1 and 10 a token


class Owners:
    """All nodes are one member's."""

    def earners(self, node: str, digest: str) -> list[Earner]:
        assert digest
        return [Earner(NodeId(node), MemberId("mbr_owner"))]


@dataclass
class Desk:
    """The keys that batches came with, which may be refused."""

    refused: str | None = None
    asked: int = 0
    keys: dict[KeyId, Key] = field(default_factory=dict)

    def key(self, key: KeyId) -> Key:
        self.asked += 1
        if self.refused is not None:
            raise LineRefused(self.refused, "No more.")
        return self.keys[key]

    def check_model(self, key: Key, model: str) -> None:
        """Let every model in."""


@dataclass
class Weighed:
    """Everybody weighs the same, but for those who are named."""

    named: dict[MemberId, float] = field(default_factory=dict)

    def weight(self, payer: MemberId) -> float:
        return self.named.get(payer, 1.0)


async def nothing(_: MemberId) -> None:
    """Give no month's share."""


@dataclass
class World:
    """Storage, books and a network, and workers over them."""

    storage: Storage
    ledger: Ledger
    network: Network
    store: Folder
    promises: Promises
    billing: Billing
    prices: PriceList
    dedications: Dedications
    desk: Desk = field(default_factory=Desk)
    weights: Weighed = field(default_factory=Weighed)
    workers: list[Worker] = field(default_factory=list)

    @property
    def engines(self) -> Engines:
        """What the network has, and makes for batches alone."""
        return Engines(self.network, self.dedications, self.desk, NoLimits())

    def work(self, name: str = "w1", seconds: float = 30.0) -> Worker:
        bills = ItemBills(self.billing, self.prices, self.network)
        recount = Recount(RuleMeter(), FigureJudge())
        worker = Worker(
            Items(self.storage, self.ledger, name, seconds=seconds),
            Service(self.network, bills, NoLimits(), bills, recount=recount),
            bills,
            store=self.store,
            read=read_request,
            desk=self.desk,
            capacity=self.engines,
            weights=self.weights,
        ).start()
        self.workers.append(worker)
        return worker

    async def submit(
        self,
        name: str,
        prompts: Sequence[str],
        hold: int = HOLD,
        *,
        key: Key = KEY,
        model: str = "small",
        tokens: int | None = None,
        isolation: str | None = None,
    ) -> None:
        """Put a batch there as its validation leaves it, its promise taken."""
        most = {} if tokens is None else {"max_tokens": tokens}
        data, places = b"", []
        for number, prompt in enumerate(prompts, 1):
            line = msgspec.json.encode(
                {
                    "custom_id": f"c{number}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": model, "messages": [{"role": "user", "content": prompt}]}
                    | most,
                }
            )
            places.append((len(data), len(line)))
            data += line + b"\n"
        writing = await self.store.create(f"file-{name}")
        await writing.write(data)
        await writing.commit()
        self.desk.keys[key.id] = key
        await self.ledger.post([grant(f"g{name}", member_account(key.member), GAI)])
        await add_batch(
            self.storage,
            name,
            places,
            member=key.member,
            key=key.id,
            model=model,
            hold=hold,
            input_file=f"file-{name}",
            isolation=isolation,
        )
        await self.promises.take(await self.batch(name))

    async def batch(self, name: str) -> Batch:
        """Give a batch as it stands in the database."""
        async with self.storage.read() as connection:
            rows = await connection.execute(select(batches).where(batches.c.id == name))
            return batch_of(rows.one())

    async def over(self, name: str) -> dict[int, dict[str, object]]:
        """Wait until nothing is left of a batch, and give its lines."""
        async with asyncio.timeout(20):
            while True:
                total, completed, failed = await counts(self.storage, name)
                if completed + failed == total:
                    break
                await asyncio.sleep(0.02)
        async with self.storage.read() as connection:
            rows = await connection.execute(
                select(batch_items.c.line, batch_items.c.result).where(
                    batch_items.c.batch_id == name
                )
            )
            return {row.line: msgspec.json.decode(row.result) for row in rows}

    async def change(self, name: str, **values: object) -> None:
        """Change a batch, as somebody else does meanwhile."""
        async with self.storage.write() as connection:
            await connection.execute(update(batches).where(batches.c.id == name).values(values))

    async def leased(self, name: str, count: int | Callable[[], int]) -> None:
        """Wait until so many items of a batch are leased."""
        async with asyncio.timeout(20):
            while True:
                held = list((await states(self.storage, name)).values())
                if held.count("leased") == (count() if callable(count) else count):
                    return
                await asyncio.sleep(0.02)

    async def sums(self) -> tuple[int, int, int]:
        """Tell how many usage records there are, what they charge, and what the payer paid."""
        async with self.storage.read() as connection:
            records, charged = (
                await connection.execute(
                    select(func.count(), func.coalesce(func.sum(usage.c.charge), 0)).select_from(
                        usage
                    )
                )
            ).one()
            paid = await connection.scalar(
                select(func.coalesce(func.sum(transfers.c.amount), 0)).where(
                    transfers.c.debit == PAYER
                )
            )
        return records, charged, paid or 0
