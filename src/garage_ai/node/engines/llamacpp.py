"""llama.cpp (xllamacpp) in a process of its own, behind a unix socket that only this user opens."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from garage_ai.node.body import asked, streamed, with_model
from garage_ai.node.engines.child import Child
from garage_ai.node.engines.complaints import rejection
from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.engines.link import HttpAnswer
from garage_ai.node.engines.port import ROUTES, Answer, Offer
from garage_ai.node.engines.supervised import SOCKET, SupervisedEngine
from garage_ai.node.engines.tally import OneUsage
from garage_ai.node.engines.told import Told, read_whole
from garage_ai.node.errors import EngineLost
from garage_ai.node.speeds import Pace
from garage_ai.wire.frames import Route
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import ModelKind

DEFAULT_SLOTS: Final = 8
LOAD_SECONDS: Final = 600.0
"""Longest start: tens of gigabytes from a slow disk."""

HEALTH_SECONDS: Final = 60.0
"""Longest answer of one token; the very first one may compile kernels."""

_OK: Final = 200
_FAILED: Final = 500
_CHAT_BODY: Final = b'{"prompt":"1","max_tokens":1,"cache_prompt":false}'
_EMBEDDING_BODY: Final = b'{"input":"1"}'


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How llama.cpp is run; `context` in tokens for each of `slots`."""

    weights: Path
    name: str
    digest: Digest
    kind: ModelKind
    slots: int
    context: int
    threads: int


class LlamaEngine(SupervisedEngine):
    """llama.cpp, started again with back-off whenever it dies or hangs."""

    kind = "llamacpp"

    def __init__(self, options: LlamaOptions, *, run: Path, logs: Path) -> None:
        offer = Offer(
            options.name,
            options.digest,
            options.name,
            kind=options.kind,
            context=options.context,
            slots=options.slots,
            routes=ROUTES[options.kind],
        )
        super().__init__(offer, run=run, logs=logs)
        self._options = options

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,
        salt: str = "",  # noqa: ARG002 - llama.cpp knows no such field
    ) -> Answer:
        """Put a request to llama.cpp. Raises: EngineError."""
        body = with_model(body, offer.engine_name)
        self._last_answer = asyncio.get_running_loop().time()
        if route == "embeddings":
            return await self._link.post(route, body)
        answer = await self._link.post(route, body if stream else streamed(body))
        if answer.status == _FAILED:
            return await _complaint(answer)
        if answer.status != _OK:
            return answer
        wanted = asked(body)
        if not stream:
            return GatheredAnswer(answer, route, wanted.choices)
        return TalliedAnswer(answer, wanted.choices) if wanted.several else answer

    async def _launch(self) -> Child:
        return await Child.start(self._argv(), self._log, self._run_folder)

    async def _until_ready(self, child: Child) -> None:
        await child.ready(LOAD_SECONDS)

    def _argv(self) -> list[str]:
        options = self._options
        words = {
            "--model": options.weights,
            "--alias": options.name,
            "--socket": self._run_folder.absolute() / SOCKET,
            "--slots": options.slots,
            "--context": options.context,
            "--threads": options.threads,
            "--parent": os.getpid(),
        }
        argv = [sys.executable, "-m", "garage_ai.node.engines.llamacpp_server"]
        argv += [str(word) for pair in words.items() for word in pair]
        return [*argv, "--embedding"] if options.kind == "embedding" else argv

    async def _prove(self) -> None:
        """Have it make one token: a server that answers may still not work. Raises: EngineError."""
        if self._options.kind == "embedding":
            status, page = await self._link.probe(
                "embeddings", _EMBEDDING_BODY, seconds=HEALTH_SECONDS
            )
        else:
            status, page = await self._link.probe("completions", _CHAT_BODY, seconds=HEALTH_SECONDS)
        if status != _OK:
            words = page[:200].decode(errors="replace")
            raise EngineLost(f"the engine answers {status} to one token: {words}")


class GatheredAnswer:
    """A plain answer that is being made of a stream."""

    __slots__ = ("_answer", "_gatherer", "at_end", "content_type", "status")

    def __init__(self, answer: HttpAnswer, route: Route, choices: int) -> None:
        self._answer = answer
        self._gatherer = Gatherer(route, choices)
        self.status = answer.status
        self.content_type = "application/json; charset=utf-8"
        self.at_end = False

    @property
    def pace(self) -> Pace:
        """The pace of the stream that it is made of."""
        return self._gatherer.pace

    async def read(self) -> bytes:
        """Give the whole answer at once; empty after that. Raises: EngineError."""
        if self.at_end:
            return b""
        while chunk := await self._answer.read():
            self._gatherer.feed(chunk, time.monotonic())
        self.at_end = True
        if self._gatherer.error is not None:
            self.status = 500
            return self._gatherer.error
        return self._gatherer.whole()

    def close(self) -> None:
        """Let go of it; a stream that is not at its end is stopped."""
        self._answer.close()


async def _complaint(answer: HttpAnswer) -> Told:
    """Read what the engine says it failed at, and whose fault that is. Raises: EngineError."""
    told = await read_whole(answer)
    rejected = rejection(told.body)
    return told if rejected is None else Told(400, told.content_type, rejected)


class TalliedAnswer:
    """A stream of several choices or prompts, that says once what they all used."""

    __slots__ = ("_answer", "_usage", "content_type", "status")

    pace: Final = None

    def __init__(self, answer: HttpAnswer, choices: int) -> None:
        self._answer = answer
        self._usage = OneUsage(choices)
        self.status = answer.status
        self.content_type = answer.content_type

    @property
    def at_end(self) -> bool:
        """Whether all of it was read."""
        return self._answer.at_end

    async def read(self) -> bytes:
        """Give the whole events that are there; empty at the end. Raises: EngineError."""
        while chunk := await self._answer.read():
            events = self._usage.feed(chunk)
            if self._answer.at_end:
                return events + self._usage.rest()
            if events:
                return events
        return self._usage.rest()

    def close(self) -> None:
        """Let go of it; a stream that is not at its end is stopped."""
        self._answer.close()


__all__ = [
    "DEFAULT_SLOTS",
    "GatheredAnswer",
    "LlamaEngine",
    "LlamaOptions",
    "TalliedAnswer",
]
