"""The clients of `bench.litellm`: what each asks of LiteLLM, and what it was told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import msgspec

from bench.litellm_proxy import Proxy

__all__ = ["LONG", "MOST_READ", "Call", "Clients", "Fault", "Kind", "kinds_of"]

Kind = Literal["plain", "stream", "abort"]
End = Literal["whole", "left", "broken"]

TOKENS = 8
LONG = 600  # tokens of an answer that its client leaves: unheard of, far beyond the tolerance
MOST_READ = 10  # of its words
LEAVES = 0.05  # share of the clients that leave
CALL_SECONDS = 60.0
MOST_BROKEN = 100  # after that many outside of a fault the rest is not asked


class Call(msgspec.Struct):
    """A call as its client saw it; times are those of the clock on the wall.

    `id` is LiteLLM's, empty where its head never came; tokens are what the answer's usage said.
    """

    kind: Kind
    began: float
    ended: float = 0.0
    id: str = ""
    end: End = "broken"
    prompt: int | None = None
    completion: int | None = None
    problem: str = ""


class Fault(msgspec.Struct):
    """One side killed with -9 or restarted in order, and when it served again."""

    side: Literal["proxy", "gateway"]
    how: Literal["killed", "restarted"]
    at: float = 0.0
    back: float = 0.0

    def touches(self, began: float, ended: float, before: float = 0.0) -> bool:
        """Tell whether a call was under way, or had ended no more than so many seconds before."""
        return began <= self.back and ended >= self.at - before


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Counts(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Counts | None = None
    error: msgspec.Raw | None = None


_event = msgspec.json.Decoder(_Event)


def kinds_of(calls: int, chance: random.Random) -> list[Kind]:
    """Say what the calls are, in a random order: half of them streams, some of which are left."""
    leaving = max(1, round(LEAVES * calls))
    kinds: list[Kind] = ["abort"] * leaving
    kinds += ["plain" if number % 2 else "stream" for number in range(calls - leaving)]
    chance.shuffle(kinds)
    return kinds


@dataclass(slots=True)
class Clients:
    """Clients that ask one call after the other, and wait while a side is down."""

    proxy: Proxy
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    spoiled: int = 0  # calls that broke although both sides were up

    async def ask(self, kinds: Sequence[Kind], clients: int) -> None:
        """Ask all of it."""
        headers = {"authorization": f"Bearer {self.proxy.key}"}
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            waiting = iter(kinds)
            await asyncio.gather(*(self._client(session, waiting) for _ in range(clients)))

    async def _client(self, session: aiohttp.ClientSession, waiting: Iterator[Kind]) -> None:
        while self.spoiled < MOST_BROKEN:
            await self.up.wait()
            kind = next(waiting, None)
            if kind is None:
                return
            call = Call(kind, time.time())
            try:
                await self._one(session, call)
            except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, LookupError) as error:
                call.problem = f"{type(error).__name__}: {error}"[:300]
                self.spoiled += self.up.is_set()
            call.ended = time.time()
            self.calls.append(call)

    async def _one(self, session: aiohttp.ClientSession, call: Call) -> None:
        body = _asking(call.kind)
        async with session.post(f"{self.proxy.url}/chat/completions", json=body) as answer:
            call.id = answer.headers.get("x-litellm-call-id", "")
            if answer.status != 200:
                raise LookupError(f"{answer.status} {await answer.text()}")
            if call.kind == "plain":
                _count(call, _event.decode(await answer.read()))
            else:
                most = self.chance.randint(1, MOST_READ) if call.kind == "abort" else None
                await _read(answer, call, most)

    @property
    def done(self) -> int:
        """How many calls have ended."""
        return len(self.calls)


async def _read(answer: aiohttp.ClientResponse, call: Call, most: int | None) -> None:
    """Read a stream to its end, or hang up after so many words."""
    words = 0
    async for line in answer.content:
        if line == b"data: [DONE]\n":
            return
        if not line.startswith(b"data: "):
            continue
        event = _event.decode(line[6:])
        words += any(choice.delta.content for choice in event.choices)
        if words == most:
            call.end = "left"
            answer.close()
            return
        _count(call, event)
    raise LookupError("a stream without an end")


def _count(call: Call, event: _Event) -> None:
    if event.error is not None:
        raise LookupError(bytes(event.error).decode("utf-8", "replace"))
    if event.usage is not None:
        call.end = "whole"
        call.prompt = event.usage.prompt_tokens
        call.completion = event.usage.completion_tokens


def _asking(kind: Kind) -> dict[str, object]:
    asked: dict[str, object] = {
        "model": "mock",
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": LONG if kind == "abort" else TOKENS,
    }
    if kind != "plain":
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return asked
