"""Put one item to the network, as a request of chat is put."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from garage_ai.batch.models import ROUTES
from garage_ai.batch.requests import ReadRequest, read_line
from garage_ai.batch.store import FileStore
from garage_ai.batch.validation import Desk
from garage_ai.batch.worker.items import Item, Queue
from garage_ai.batch.worker.memory import Memory
from garage_ai.serving import Call, Reply

MOST_BYTES: Final = 64 * 1024 * 1024
"""Lines of items that run, and answers until they are written; a request is as long as its line."""

SHORT_LINE: Final = 64 * 1024
"""Bytes that are read at once; more would hold up chats, and are read in a thread."""


class Serving(Protocol):
    """Requests, as chat has them."""

    async def open(self, call: Call) -> Reply:
        """Return when the answer begins. Raises: ServingError, LimitReached."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """An item and the batch that it is of."""

    item: Item
    queue: Queue


class Asking:
    """Read items out of their files, and ask for their answers."""

    def __init__(
        self, serving: Serving, *, store: FileStore, read: ReadRequest, desk: Desk
    ) -> None:
        self._serving = serving
        self._store = store
        self._read = read
        self._desk = desk
        self._memory = Memory(MOST_BYTES)

    async def ask(self, job: Job, kept: ExitStack) -> bytes:
        """Put an item to the network; give the whole body of its answer.

        Memory is held for both until `kept` is closed.

        Raises: ServingError, LimitReached, LineRefused, FileStoreUnavailable.
        """
        held = kept.enter_context(await self._memory.hold(job.item.length))
        reply = await self._serving.open(await self._call(job))
        pieces: list[bytes] = []
        try:
            async for piece in reply:
                pieces.append(piece)
                await held.grow(len(piece))
        finally:
            await reply.aclose()
        return b"".join(pieces)

    async def _call(self, job: Job) -> Call:
        """Make a request of an item's line, which nobody holds after that."""
        item, queue = job.item, job.queue
        data = await self._store.read(queue.place, item.offset, item.length)
        if len(data) <= SHORT_LINE:
            asked = read_line(data, queue.endpoint, self._read)
        else:
            asked = await asyncio.to_thread(read_line, data, queue.endpoint, self._read)
        return Call(
            item.request_id,
            ROUTES[queue.endpoint],
            self._desk.key(queue.key),
            asked.reading.model,
            asked.reading.body,
            stream=False,
            include_usage=False,
            bound=asked.reading.bound,
            priority="batch",
            job=queue.job,
        )


__all__ = ["MOST_BYTES", "SHORT_LINE", "Asking", "Job", "Serving"]
