"""llama.cpp (xllamacpp) in a process of its own, bare or in a container, behind a unix socket."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from garage_ai.node.body import asked, streamed, with_model
from garage_ai.node.engines.child import Child
from garage_ai.node.engines.complaints import rejection
from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.engines.launch import BareLauncher, Launcher, LlamaOptions
from garage_ai.node.engines.link import HttpAnswer
from garage_ai.node.engines.port import ROUTES, Answer, Fence, Offer
from garage_ai.node.engines.supervised import SupervisedEngine
from garage_ai.node.engines.tally import OneUsage
from garage_ai.node.engines.told import Told, read_whole
from garage_ai.node.errors import EngineError, EngineLost
from garage_ai.node.speeds import Pace
from garage_ai.wire.frames import Route

_log = structlog.get_logger(__name__)

DEFAULT_SLOTS: Final = 8
LOAD_SECONDS: Final = 600.0
"""Longest start: tens of gigabytes from a slow disk."""

HEALTH_SECONDS: Final = 60.0
"""Longest answer of one token; the very first one may compile kernels."""

_OK: Final = 200
_FAILED: Final = 500
_CHAT_BODY: Final = b'{"prompt":"1","max_tokens":1,"cache_prompt":false}'
_EMBEDDING_BODY: Final = b'{"input":"1"}'


class LlamaEngine(SupervisedEngine):
    """llama.cpp, started again with back-off whenever it dies or hangs."""

    kind = "llamacpp"

    def __init__(
        self, options: LlamaOptions, *, run: Path, logs: Path, launcher: Launcher | None = None
    ) -> None:
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
        self._launcher = launcher or BareLauncher()
        self._socket_folder = run

    @property
    def fence(self) -> Fence:
        """What stands between it and this PC."""
        return self._launcher.fence

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

    def _make_folder(self) -> Path:
        self._socket_folder = self._launcher.socket_folder(self._run_folder)
        return self._socket_folder

    async def _launch(self) -> Child:
        await self._launcher.clear()
        return await self._launcher.launch(self._options, self._socket_folder, self._log)

    async def _end(self, child: Child) -> None:
        await child.stop()
        try:
            await self._launcher.clear()
        except EngineError as error:
            # Before the next start it is tried again, and there it counts.
            _log.warning("engine_left_behind", engine=self.kind, detail=str(error))

    async def _until_ready(self, child: Child) -> None:
        await child.ready(LOAD_SECONDS)

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
    "TalliedAnswer",
]
