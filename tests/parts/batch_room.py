"""The batch room as a test has it: files in a store, and a keeper that looks after batches."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, update

from garage_ai.accounts import Key, KeyRing
from garage_ai.batch import (
    Batch,
    Batches,
    BatchId,
    FileLimits,
    Files,
    FileStore,
    Finalising,
    Keeper,
    Reading,
    ReservationRefused,
    Reserve,
    Submission,
    Validation,
)
from garage_ai.gateway.batching import Desk, Keys, Models, read_line_body
from garage_ai.storage import Storage
from garage_ai.storage.tables import batch_items, batches

CHAT: Final = "/v1/chat/completions"


def batch_room(
    storage: Storage,
    store: FileStore,
    keys: Keys,
    models: Models,
    limits: FileLimits | None = None,
    *,
    reserve: Reserve | None = None,
    check: Callable[[Key], None] = lambda _: None,
    longest_line: int = 100_000,
    most_lines: int = 10_000,
) -> tuple[Files, Keeper]:
    """Put a room together; the keeper is not started."""
    reserve = reserve or NoReserve()
    files = Files(storage, store, limits)
    validation = Validation(
        storage,
        files.store,
        read=read_line_body,
        desk=Desk(keys, models, check),
        reserve=reserve,
        longest_line=longest_line,
        most_lines=most_lines,
    )
    return files, Keeper(storage, files, validation, Finalising(storage, files, reserve))


class NoReserve:
    """Sets nothing aside, as nothing is billed."""

    def worst(self, _key: Key, _reading: Reading) -> int:
        """Cost nothing."""
        return 0

    async def take(self, _batch: Batch) -> None:
        """Promise nothing."""

    async def release(self, _batch: Batch) -> None:
        """Give nothing back."""


class AnyModel:
    """Every model is there."""

    def check(self, key: Key, model: str) -> None:
        """Refuse none."""


class NoEngines:
    """Makes no engine for any batch."""

    def view(self, batch: Batch) -> None:
        """Say so."""


@dataclass
class Books:
    """What was set aside, and given back."""

    most: int = 1000
    taken: int = 0
    released: list[BatchId] = field(default_factory=list)

    def worst(self, _key: Key, reading: Reading) -> int:
        return reading.bound.tokens or 0

    async def take(self, batch: Batch) -> None:
        if batch.reserved > self.most:
            raise ReservationRefused("insufficient_quota", "too little")
        self.taken = batch.reserved

    async def release(self, batch: Batch) -> None:
        self.released.append(batch.id)


@dataclass
class Room:
    """A room whose keeper runs, and a member's key."""

    storage: Storage
    files: Files
    batches: Batches
    keeper: Keeper
    books: Books
    key: Key
    folder: Path

    async def submit(self, lines: list[bytes]) -> Batch:
        """Upload a file of these lines and submit it."""
        async with await self.files.upload(self.key, "in.jsonl") as upload:
            await upload.write(b"\n".join(lines))
            file = await upload.keep()
        return await self.batches.submit(self.key, Submission(file.id, CHAT))

    async def until(self, batch: Batch, met: Callable[[Batch], bool]) -> Batch:
        """Look at a batch until it is as it should be."""
        async with asyncio.timeout(30):
            while not met(batch):
                self.keeper.wake()
                await asyncio.sleep(0.02)
                batch = await self.batches.get(self.key.member, batch.id)
        return batch

    async def ends(self, batch: Batch, status: str) -> Batch:
        """Wait for a status."""
        return await self.until(batch, lambda seen: seen.status == status)

    async def cleared(self, batch: Batch) -> None:
        """Wait until nothing is kept of a batch's items."""
        async with asyncio.timeout(30):
            while await self.items(batch):
                self.keeper.wake()
                await asyncio.sleep(0.02)

    async def rests(self) -> None:
        """Wait until no batch is looked after."""
        async with asyncio.timeout(30):
            while True:
                if not self.keeper.working:
                    return
                await asyncio.sleep(0.02)

    async def items(self, batch: Batch) -> int:
        """Count what is kept of a batch's items."""
        counted = select(func.count()).where(batch_items.c.batch_id == batch.id)
        async with self.storage.read() as connection:
            return int(await connection.scalar(counted) or 0)

    async def read(self, file: str | None) -> list[dict[str, object]]:
        """Read a file of results."""
        assert file is not None
        _, pieces = await self.files.content(self.key.member, file)
        whole = b"".join([piece async for piece in pieces])
        return [json.loads(line) for line in whole.splitlines()]


@asynccontextmanager
async def open_room(storage: Storage, folder: Path, store: FileStore) -> AsyncIterator[Room]:
    """A room with small limits; its keeper is not started."""
    keys = await KeyRing.open(storage)
    key, _ = await keys.create("batch")
    limits, books = FileLimits(200_000, 1000, member_bytes=400_000, member_files=20), Books()
    files, keeper = batch_room(
        storage,
        store,
        keys,
        AnyModel(),
        limits,
        reserve=books,
        longest_line=20_000,
        most_lines=1000,
    )
    yield Room(storage, files, Batches(storage, keeper.wake), keeper, books, key, folder)
    await keeper.close()
    await keys.close()


def line(number: int, *, tokens: int = 1, text: str = "Hello") -> bytes:
    """Write a line of an input file."""
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
    }
    asked = {"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": body}
    return json.dumps(asked).encode()


async def change(room: Room, batch: Batch, **values: object) -> None:
    """Change a batch behind everybody's back."""
    async with room.storage.write() as connection:
        await connection.execute(update(batches).where(batches.c.id == batch.id).values(values))
