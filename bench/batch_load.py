"""A load of batch requests: put by a second gateway, as a worker does, into the same network.

It has its own link, books and line, and knows of the first one's requests only what nodes tell in
their beats: so a chat that comes by the first finds slots taken by somebody else's batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from bench.processes import StartError
from bench.product import GRANT, Network
from garage_ai.accounts import Key
from garage_ai.gateway.asgi import new_request_id
from garage_ai.gateway.process import open_services
from garage_ai.gateway.services import Services
from garage_ai.serving import Bound, Call, ServingError
from garage_ai.settings import GatewaySettings

__all__ = ["BatchGateway", "BatchLoad", "batch_gateway"]

READY_SECONDS = 30.0
LOOK_EVERY = 0.05
ITEM_SECONDS = 300.0


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Answer(msgspec.Struct):
    usage: _Usage


@dataclass(frozen=True, slots=True)
class BatchGateway:
    """A gateway of this process, and the key that its items are billed to."""

    services: Services
    key: Key

    @property
    def preempted(self) -> int:
        """Tell how often its items gave a slot to a chat."""
        lines = self.services.metrics.render().decode().splitlines()
        told = next(line for line in lines if line.startswith("gai_batch_preempted "))
        return int(float(told.split()[1]))

    async def item(self, model: str, prompt: str, tokens: int, **extra: object) -> int:
        """Have one answered; return how many tokens its answer has. Raises: ServingError."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, "max_tokens": tokens} | extra
        call = Call(
            request_id=new_request_id(),
            route="chat",
            key=self.key,
            model=model,
            body=msgspec.json.encode(body),
            stream=False,
            include_usage=False,
            bound=Bound(tokens),
            priority="batch",
        )
        async with asyncio.timeout(ITEM_SECONDS):
            reply = await self.services.serving.open(call)
            answer = b"".join([chunk async for chunk in reply])
        return msgspec.json.decode(answer, type=_Answer).usage.completion_tokens


@contextlib.asynccontextmanager
async def batch_gateway(network: Network, key: str, model: str) -> AsyncIterator[BatchGateway]:
    """Open a second gateway on a network, once it knows who serves the model."""
    settings = GatewaySettings(
        data_dir=network.data,
        nats_urls=network.nats_url,
        authority_dir=network.data / "nats",
        grant=GRANT,
    )
    async with contextlib.AsyncExitStack() as stack:
        services = await open_services(settings, stack)
        deadline = time.monotonic() + READY_SECONDS
        while model not in {view.name for view in services.network.models()}:
            if time.monotonic() > deadline:
                raise StartError(f"the second gateway has not heard of {model}")
            await asyncio.sleep(LOOK_EVERY)
        yield BatchGateway(services, services.keys.authenticate(key))


@dataclass(slots=True)
class BatchLoad:
    """Items one after the other, so many at a time: a saturating batch."""

    gateway: BatchGateway
    model: str
    tokens: int
    prompt: Callable[[], str]
    extra: dict[str, object] = field(default_factory=dict)
    items: int = 0
    made: int = 0
    """Tokens of the items that are done."""
    errors: list[str] = field(default_factory=list)

    async def run(self, count: int, at_once: int) -> None:
        """Have so many items answered."""
        left = iter(range(count))
        await asyncio.gather(*(self._worker(left) for _ in range(at_once)))

    @contextlib.asynccontextmanager
    async def going(self, at_once: int) -> AsyncIterator[None]:
        """Keep so many at work for the length of a block; those under way then are given up."""
        endless = itertools.count()
        workers = [asyncio.create_task(self._worker(endless)) for _ in range(at_once)]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers, timeout=10)

    async def rate(self, seconds: float) -> float:
        """Return the tokens a second of the items that end within a time."""
        before, began = self.made, time.perf_counter()
        await asyncio.sleep(seconds)
        return (self.made - before) / (time.perf_counter() - began)

    async def _worker(self, left: Iterator[int]) -> None:
        for _ in left:
            try:
                tokens = await self.gateway.item(
                    self.model, self.prompt(), self.tokens, **self.extra
                )
                self.made += tokens
                self.items += 1
            except (ServingError, TimeoutError) as problem:
                self.errors.append(f"{type(problem).__name__}: {problem}")
                await asyncio.sleep(1)
