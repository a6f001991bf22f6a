"""llama.cpp (xllamacpp) in a process of its own, bare or in a container, behind a unix socket."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import structlog

from garage_ai.node.body import asked, streamed, with_model
from garage_ai.node.engines.child import Child
from garage_ai.node.engines.complaints import rejection
from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.launched import LaunchedEngine
from garage_ai.node.engines.link import HttpAnswer
from garage_ai.node.engines.llama_server import ServerOptions
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.engines.port import Answer, Device, Offer, offer_of
from garage_ai.node.engines.tally import OneUsage
from garage_ai.node.engines.told import Told, read_whole
from garage_ai.node.errors import EngineLost, NoRoom, NotPossible
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.sizes import Size
from garage_ai.node.speeds import Pace
from garage_ai.wire.frames import Priority, Route

_log = structlog.get_logger(__name__)

DEFAULT_SLOTS: Final = 8
LOAD_SECONDS: Final = 600.0
"""Longest start: tens of gigabytes from a slow disk."""

HEALTH_SECONDS: Final = 60.0
"""Longest answer of one token; the very first one may compile kernels."""

_PART: Final = 256
"""Tokens of a canary's prompt that are read before anybody else's turn: seconds of a processor."""

_OK: Final = 200
_FAILED: Final = 500
_CHAT_BODY: Final = b'{"prompt":"1","max_tokens":1,"cache_prompt":false}'
_EMBEDDING_BODY: Final = b'{"input":"1"}'


LesserForm = Callable[[], Awaitable[LlamaOptions | ServerOptions]]
"""Fetches a smaller form of a model and says how it is run, where the one before was.

Raises: NotPossible.
"""


class LlamaEngine(LaunchedEngine):
    """llama.cpp, started again with back-off whenever it dies or hangs.

    `lesser` are smaller forms of the model, taken one after the other where memory does not suffice
    for the one before at any size.
    """

    kind = "llamacpp"
    prove_seconds: ClassVar[float] = HEALTH_SECONDS

    def __init__(
        self,
        options: LlamaOptions | ServerOptions,
        *,
        run: Path,
        logs: Path,
        launcher: Launcher | None = None,
        fitting: Fitting | None = None,
        lesser: Sequence[LesserForm] = (),
    ) -> None:
        super().__init__(offer_of(options), run=run, logs=logs, launcher=launcher, fitting=fitting)
        self._options: LlamaOptions | ServerOptions = options
        self._lesser = list(lesser)

    @property
    def _startable(self) -> LlamaOptions | ServerOptions:
        return self._options

    @property
    def device(self) -> Device:
        """What it computes on: the processor."""
        return Device()

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,
        salt: str = "",  # noqa: ARG002 - llama.cpp knows no such field
        priority: Priority = "chat",  # noqa: ARG002 - nor this one
    ) -> Answer:
        """Put a request to llama.cpp. Raises: EngineError."""
        body = with_model(body, offer.engine_name)
        self._note_asked()
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

    def _take_on(self, size: Size) -> None:
        if isinstance(self._options, LlamaOptions):
            self._options = replace(self._options, context=size.context, slots=size.slots)

    async def _take_lesser_form(self) -> bool:
        while self._lesser:
            form = self._lesser.pop(0)
            try:
                options = await form()
            except NotPossible as error:
                if isinstance(error, NoRoom) and error.reason:
                    # Another holds the room just now: this form's turn comes.
                    self._lesser.insert(0, form)
                    raise EngineLost(error.reason) from error
                _log.warning("lesser_form_unavailable", detail=str(error)[:200])
                continue
            self._adopt(options)
            return True
        return False

    def _adopt(self, options: LlamaOptions | ServerOptions) -> None:
        """Take over what was planned anew."""
        self._options, self._offer = options, offer_of(options)
        self._planned = Size(options.context, options.slots)

    async def _fill(self, tokens: int) -> bool:
        if self._options.kind == "embedding":
            return False
        # Any tokens do; no tokenizer has fewer than these.
        prompt = [100 + number % 1000 for number in range(tokens)]
        # Each part is found in the slot's cache by the next; what is under way cannot be stopped.
        for end in [*range(_PART, tokens, _PART), tokens]:
            asked = msgspec.json.encode({"prompt": prompt[:end], "max_tokens": 1})
            status, _ = await self._link.probe("completions", asked, seconds=HEALTH_SECONDS)
            if status != _OK:
                return False
        return True

    async def _until_ready(self, child: Child) -> None:
        self._tell_loading()
        await child.ready(LOAD_SECONDS)

    async def _prove(self) -> None:
        """Have it make one token: a server that answers may still not work. Raises: EngineError."""
        if self._options.kind == "embedding":
            status, page = await self._link.probe(
                "embeddings", _EMBEDDING_BODY, seconds=self.prove_seconds
            )
        else:
            status, page = await self._link.probe(
                "completions", _CHAT_BODY, seconds=self.prove_seconds
            )
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
