"""Batches as users send them: a file goes up, a batch is made of it and looked at until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec

from bench.processes import StartError
from bench.product import Network

__all__ = ["BatchClient", "Look", "batch_client"]

LOOK_EVERY = 0.1
ASK_SECONDS = 60.0
END_SECONDS = 1_800.0
T = TypeVar("T")
_ENDS = frozenset({"completed", "failed", "expired", "cancelled"})


class _Counts(msgspec.Struct):
    completed: int = 0
    failed: int = 0


class _Usage(msgspec.Struct):
    output_tokens: int = 0


class _Total(msgspec.Struct):
    completion_tokens: int


class _Used(msgspec.Struct):
    totals: list[_Total]


class _Named(msgspec.Struct):
    id: str


class Look(msgspec.Struct):
    """A batch as it stands."""

    id: str
    status: str
    request_counts: _Counts
    usage: _Usage = msgspec.field(default_factory=_Usage)


@dataclass(frozen=True, slots=True)
class BatchClient:
    """Sends batches of chats of one model; an answer has at most so many tokens."""

    session: aiohttp.ClientSession
    url: str
    admin: str
    model: str
    tokens: int
    prompt: Callable[[], str]

    async def submit(self, items: int) -> str:
        """Send a file of so many requests, and make a batch of it; give its id."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", b"\n".join(map(self._line, range(items))), filename="bench.jsonl")
        file = await self._ask("POST", "/v1/files", _Named, data=form)
        asked = {
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return (await self._ask("POST", "/v1/batches", _Named, json=asked)).id

    async def look(self, batch: str) -> Look:
        """Ask how a batch stands."""
        return await self._ask("GET", f"/v1/batches/{batch}", Look)

    async def ended(self, batch: str) -> Look:
        """Wait for the end of a batch. Raises: StartError if it takes too long."""
        deadline = time.perf_counter() + END_SECONDS
        while True:
            seen = await self.look(batch)
            if seen.status in _ENDS:
                return seen
            if time.perf_counter() > deadline:
                raise StartError(f"{batch} has not ended within {END_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_EVERY)

    @contextlib.asynccontextmanager
    async def going(self, items: int) -> AsyncIterator[str]:
        """Have a batch at work for the length of a block, and cancel what is left of it."""
        batch = await self.submit(items)
        yield batch
        await self._ask("POST", f"/v1/batches/{batch}/cancel", Look)
        await self.ended(batch)

    async def rate(self, batch: str, meanwhile: Awaitable[object]) -> float:
        """Return the tokens a second of the items that end while something goes on."""
        before, began = await self.look(batch), time.perf_counter()
        await meanwhile
        after, took = await self.look(batch), time.perf_counter() - began
        if after.status in _ENDS:
            raise StartError(f"{batch} was {after.status} too soon")
        return (after.usage.output_tokens - before.usage.output_tokens) / took

    async def made(self) -> int:
        """Tell how many tokens engines say they made, of all answers since the start."""
        path = "/api/v1/usage?by=model&limit=0"
        used = await self._ask("GET", path, _Used, headers=self._as_admin)
        return sum(total.completion_tokens for total in used.totals)

    async def preempted(self) -> int:
        """Tell how often an item gave its slot to a chat."""
        async with self.session.get(f"{self.url}/metrics", headers=self._as_admin) as answer:
            lines = (await answer.text()).splitlines()
        told = next(line for line in lines if line.startswith("gai_batch_preempted_total "))
        return int(float(told.split()[1]))

    @property
    def _as_admin(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.admin}"}

    def _line(self, number: int) -> bytes:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt()}],
            "max_tokens": self.tokens,
            "temperature": 0,
        }
        return msgspec.json.encode(
            {
                "custom_id": f"item-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
        )

    async def _ask(self, method: str, path: str, kind: type[T], **asked: Any) -> T:
        async with self.session.request(method, self.url + path, **asked) as answer:
            body = await answer.read()
        if answer.status != 200:
            raise StartError(f"{method} {path}: {answer.status} {body[:300]!r}")
        return msgspec.json.decode(body, type=kind)


@contextlib.asynccontextmanager
async def batch_client(
    network: Network, key: str, model: str, tokens: int, prompt: Callable[[], str]
) -> AsyncIterator[BatchClient]:
    """Open a client of a network that sends batches with a key."""
    async with aiohttp.ClientSession(
        headers={"authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=ASK_SECONDS),
    ) as session:
        yield BatchClient(session, network.url, network.key, model, tokens, prompt)
