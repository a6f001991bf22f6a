"""llama.cpp (xllamacpp) in a process of its own, behind a unix socket that only this user opens."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from garage_ai.node.body import asked, streamed, with_model
from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.complaints import rejection
from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.engines.link import EngineLink, HttpAnswer, socket_path
from garage_ai.node.engines.port import ROUTES, Answer, Offer
from garage_ai.node.engines.tally import OneUsage
from garage_ai.node.engines.told import Told, read_whole
from garage_ai.node.errors import EngineError, EngineLost
from garage_ai.node.logs import BoundedLog
from garage_ai.node.speeds import Pace
from garage_ai.wire.frames import Route
from garage_ai.wire.ids import Digest
from garage_ai.wire.messages import EngineState, ModelKind

_log = structlog.get_logger(__name__)

DEFAULT_SLOTS: Final = 8
LOAD_SECONDS: Final = 600.0
"""Longest start: tens of gigabytes from a slow disk."""

HEALTH_SECONDS: Final = 60.0
"""Longest answer of one token; the very first one may compile kernels."""

CHECK_SECONDS: Final = 60.0
"""An engine that has answered nobody for so long is asked for a token, to see that it works."""

_GOOD_SECONDS: Final = 30.0
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_SOCKET: Final = "engine.sock"
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


class LlamaEngine:
    """llama.cpp, started again with back-off whenever it dies or hangs."""

    kind = "llamacpp"

    def __init__(self, options: LlamaOptions, *, run: Path, logs: Path) -> None:
        self._options = options
        self._run_folder = run
        self._folder_handle = -1
        self._log = BoundedLog(logs / "engine.log")
        self._link = EngineLink("http://engine", socket=self._socket)
        self._offer = Offer(
            options.name,
            options.digest,
            options.name,
            kind=options.kind,
            context=options.context,
            slots=options.slots,
            routes=ROUTES[options.kind],
        )
        self._state: EngineState = "stopped"
        self._reason = ""
        self._listener: Callable[[], None] = _nothing
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._last_answer = 0.0

    @property
    def state(self) -> EngineState:
        """Where it stands now."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is not ready; empty when it is."""
        return self._reason

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The one model it serves."""
        return (self._offer,)

    @property
    def pid(self) -> int | None:
        """The process id of the engine, while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def pids(self) -> frozenset[int]:
        """Its one process, while it runs."""
        return frozenset() if self.pid is None else frozenset({self.pid})

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the state has changed."""
        self._listener = listener

    async def start(self) -> None:
        """Begin to run the process."""
        if self._folder_handle < 0:
            self._run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._run_folder.chmod(0o700)
            self._folder_handle = os.open(self._run_folder, os.O_PATH | os.O_DIRECTORY)
            self._link.open()
        self._become("loading", "the engine is starting")
        self._task = asyncio.create_task(self._supervise(), name="llamacpp")

    async def release(self) -> None:
        """End the process at once: nobody waits for it to be polite."""
        if self._child is not None:
            self._child.kill()
        await self._end_process()
        self._become("stopped", "the PC is its owner's now")

    async def stop(self) -> None:
        """End the process; idempotent."""
        await self._end_process()
        await self._link.close()
        self._log.close()
        if self._folder_handle >= 0:
            os.close(self._folder_handle)
            self._folder_handle = -1
        self._become("stopped", "")

    async def ask(self, route: Route, body: bytes, *, offer: Offer, stream: bool) -> Answer:
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

    async def _end_process(self) -> None:
        """End the process; whoever is cancelled meanwhile leaves the waiting to the next one."""
        task = self._task
        if task is None:
            return
        if not task.cancelling():
            # A second time would break off the process's own end.
            task.cancel()
        await asyncio.wait({task})
        self._task = None
        if not task.cancelled():
            task.result()

    def _socket(self) -> str:
        return socket_path(self._folder_handle, _SOCKET)

    def _argv(self) -> list[str]:
        options = self._options
        words = {
            "--model": options.weights,
            "--alias": options.name,
            "--socket": self._run_folder.absolute() / _SOCKET,
            "--slots": options.slots,
            "--context": options.context,
            "--threads": options.threads,
            "--parent": os.getpid(),
        }
        argv = [sys.executable, "-m", "garage_ai.node.engines.llamacpp_server"]
        argv += [str(word) for pair in words.items() for word in pair]
        return [*argv, "--embedding"] if options.kind == "embedding" else argv

    async def _supervise(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            ready_at = None
            try:
                child = self._child = await Child.start(self._argv(), self._log, self._run_folder)
                try:
                    await child.ready(LOAD_SECONDS)
                    await self._prove()
                    ready_at = loop.time()
                    self._become("ready", "")
                    await self._watch(child)
                finally:
                    self._child = None
                    await child.stop()
            except EngineError as error:
                good = ready_at is not None and loop.time() - ready_at > _GOOD_SECONDS
                failures = 1 if good else failures + 1
                _log.warning("engine_lost", engine=self.kind, failures=failures, detail=str(error))
                self._become("loading", str(error))
            await asyncio.sleep(_wait(failures, random.random()))  # noqa: S311 - jitter

    async def _watch(self, child: Child) -> None:
        """Wait for the end of a process that works. Raises: EngineError, always."""
        end = asyncio.ensure_future(child.ended())
        try:
            while True:
                await asyncio.wait({end}, timeout=CHECK_SECONDS)
                if end.done():
                    raise EngineLost(f"the engine ended with {describe(end.result())}")
                # With every slot taken a token of ours would wait for the slowest answer.
                idle = asyncio.get_running_loop().time() - self._last_answer
                if idle > CHECK_SECONDS and not self._link.open_answers:
                    await self._prove()
        finally:
            end.cancel()

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

    def _become(self, state: EngineState, reason: str) -> None:
        if (state, reason) == (self._state, self._reason):
            return
        if state != self._state:
            _log.info("engine_state", engine=self.kind, state=state, reason=reason)
        self._state, self._reason = state, reason
        self._listener()


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


def _wait(failures: int, draw: float) -> float:
    """Give the seconds before the next start: doubling, bounded, half of it by chance."""
    doublings = min(max(failures, 1) - 1, 10)
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**doublings) * (0.5 + draw / 2)


def _nothing() -> None:
    return None


__all__ = [
    "DEFAULT_SLOTS",
    "GatheredAnswer",
    "LlamaEngine",
    "LlamaOptions",
    "TalliedAnswer",
]
