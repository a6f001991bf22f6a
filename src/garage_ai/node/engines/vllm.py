"""vLLM in processes of its own, out of an environment of its own, behind a unix socket."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.node.body import salted
from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import SOCKET, Launcher, OnLine
from garage_ai.node.engines.launched import LaunchedEngine
from garage_ai.node.engines.link import HttpAnswer
from garage_ai.node.engines.orphans import end_orphans
from garage_ai.node.engines.port import Device, EngineLoad, Offer, offer_of
from garage_ai.node.engines.supervised import CANARY_SECONDS
from garage_ai.node.engines.vllm_log import Story
from garage_ai.node.engines.vllm_metrics import read_load
from garage_ai.node.engines.vllm_options import MARK, VllmOptions
from garage_ai.node.errors import EngineError, EngineLost, EngineTimeout
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.signs import CARD_FULL
from garage_ai.node.fitting.sizes import Size
from garage_ai.wire.frames import Priority, Route

_OK: Final = 200
_POLL_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 5.0
_LONG_PROMPT: Final = "The quick brown fox jumps over the lazy dog. " * 8


_ROUNDED: Final = 64 * 1024 * 1024
"""Bytes by which what vLLM says of a card may be off: it tells hundredths of a GiB."""

_FULL: Final = 512 * 1024 * 1024
"""Bytes that stay free after a card ran full, with each time more."""

_MOST_LEFT: Final = 6 * 1024 * 1024 * 1024

PlanAgain = Callable[[int], Awaitable[tuple[VllmOptions, Fitting]]]
"""Plans once more, by what is free now, less so many bytes of each card. Raises: NotPossible."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long vLLM may take, in seconds.

    `load` from the start to the first answer, `silence` without a line in its log meanwhile;
    `warm_up` for the first words, which may compile kernels; `token` for one token of an idle
    engine, asked for after `idle`; its metrics are read every `look`, and `misses` failures in a
    row are taken for its end. A gang that computes nothing for `stall`, with requests at work, is
    over.
    """

    load: float = 3600.0
    silence: float = 900.0
    warm_up: float = 600.0
    token: float = 60.0
    idle: float = 60.0
    look: float = 5.0
    misses: int = 6
    stall: float = 120.0


class VllmEngine(LaunchedEngine):
    """vLLM, started again with back-off whenever it dies or hangs."""

    kind = "vllm"
    longest_wait = 300.0

    def __init__(
        self,
        options: VllmOptions,
        *,
        run: Path,
        logs: Path,
        launcher: Launcher | None = None,
        patience: Patience | None = None,
        fitting: Fitting | None = None,
        plan_again: PlanAgain | None = None,
    ) -> None:
        self._patience = patience or Patience()
        super().__init__(
            offer_of(options),
            run=run,
            logs=logs,
            launcher=launcher,
            look_seconds=self._patience.look,
            idle_seconds=self._patience.idle,
            fitting=fitting,
        )
        self._options = options
        self._plan_again = plan_again
        self._story = Story(0.0)
        self._heard_at = 0.0
        self._load: EngineLoad | None = None
        self._misses = 0
        self._beforehand = 0

    @property
    def _startable(self) -> VllmOptions:
        return self._options

    @property
    def device(self) -> Device | None:
        """The cards it is given, or the processor; bare it takes cards that nobody has named."""
        if self._options.on_cpu:
            return Device()
        return Device(self._options.gpus) if self._options.gpus else None

    @property
    def load(self) -> EngineLoad | None:
        """What vLLM says of its load; None while it is not ready."""
        return self._load if self.state == "ready" else None

    @property
    def seconds_left(self) -> float:
        """Guess how long it still loads, from the last time; 0 when there was none."""
        return self._story.left(_now()) if self.state == "loading" and self.pid else 0.0

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,  # noqa: ARG002 - vLLM stops either kind when its client leaves
        salt: str = "",
        priority: Priority = "chat",
    ) -> HttpAnswer:
        """Put a request to vLLM; without a salt its prompt is shared with nobody.

        Raises: EngineError.
        """
        self._note_asked()
        own = salt or secrets.token_urlsafe(16)
        own_body = salted(body, offer.engine_name, own, priority)
        return await self._link.post(route, own_body)

    def _kill(self, child: Child) -> None:
        # SIGKILL would end the warden and leave whom it watches over.
        child.interrupt()

    async def _launch(self) -> Child:
        await end_orphans(MARK, self._run_folder.absolute())
        # vLLM does not take the place of a socket that is there.
        (self._socket_folder / SOCKET).unlink(missing_ok=True)
        self._story = Story(_now(), self._load_seconds)
        self._heard_at = _now()
        self._load, self._misses = None, 0
        return await super()._launch()

    @property
    def _on_line(self) -> OnLine:
        return self._heard

    def _heard(self, line: str) -> None:
        self._heard_at = _now()
        self._story.hear(line)

    async def _until_ready(self, child: Child) -> None:
        end = asyncio.ensure_future(child.ended())
        try:
            while not await self._answers():
                self._become("loading", self._story.words(_now()))
                self._check_patience()
                await asyncio.wait({end}, timeout=_POLL_SECONDS)
                if end.done():
                    await child.all_read()
                    why = self._story.cause or child.last_words
                    raise EngineLost(f"vLLM ended with {describe(end.result())}: {why}")
        finally:
            end.cancel()
        self._become("loading", self._story.words(_now()))
        await self._complete(_LONG_PROMPT, 8, self._patience.warm_up)

    async def _answers(self) -> bool:
        try:
            status, _ = await self._link.get("/health", seconds=_ANSWER_SECONDS)
        except EngineError:
            return False
        return status == _OK

    def _check_patience(self) -> None:
        now, patience = _now(), self._patience
        if self._story.took(now) > patience.load:
            raise EngineTimeout(f"vLLM was not ready within {patience.load:g} s")
        if now - self._heard_at > patience.silence:
            raise EngineTimeout(f"vLLM has said nothing for {patience.silence:g} s while it loaded")

    async def _prove(self) -> None:
        await self._complete("1", 1, self._patience.token)

    async def _plan_anew(self) -> None:
        if self._plan_again is not None:
            await end_orphans(MARK, self._run_folder.absolute())
            self._options, self._fitting = await self._plan_again(self._beforehand)
            self._offer = offer_of(self._options)
            self._planned = Size(self._options.context, self._options.slots)

    async def _ran_out(self, child: Child | None) -> bool:
        less = self._less_to_ask_for()
        if less and self._fitting is not None and await self._fitting.nobody_took():
            self._beforehand = min(self._beforehand + less, _MOST_LEFT)
        return await super()._ran_out(child)

    def _less_to_ask_for(self) -> int:
        """Give the bytes of each card that the next start leaves free, beside those of this one.

        It fills what it is given at any size: of a card that ran full it must be given less.
        """
        if self._story.lacked:
            # What CUDA and the links between cards take is gone before vLLM looks.
            return self._story.lacked + _ROUNDED
        return _FULL if CARD_FULL.search(self._story.cause) else 0

    def _take_on(self, size: Size) -> None:
        self._options = replace(self._options, context=size.context, slots=size.slots)

    async def _fill(self, tokens: int) -> bool:
        if self._options.kind == "embedding":
            return False
        # Any tokens do; no tokenizer has fewer than these.
        prompt = [100 + number % 1000 for number in range(tokens)]
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
        asked = salted(msgspec.json.encode(body), self._offer.engine_name, "gai-agent")
        status, _ = await self._link.probe("completions", asked, seconds=CANARY_SECONDS)
        return status == _OK

    async def _complete(self, prompt: str, tokens: int, seconds: float) -> None:
        """Have it make a few tokens, or embed, if that is all it does. Raises: EngineError."""
        route: Route = "completions"
        body: dict[str, object] = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        if self._options.kind == "embedding":
            route, body = "embeddings", {"input": prompt}
        asked = salted(msgspec.json.encode(body), self._offer.engine_name, "gai-agent")
        status, page = await self._link.probe(route, asked, seconds=seconds)
        if status != _OK:
            words = page[:200].decode(errors="replace")
            raise EngineLost(f"vLLM answers {status} to one token: {words}")

    async def _look(self) -> None:
        try:
            status, page = await self._link.get("/metrics", seconds=_ANSWER_SECONDS)
        except EngineError as error:
            self._misses += 1
            if self._misses >= self._patience.misses:
                raise EngineLost(f"vLLM no longer answers: {error}") from error
        else:
            self._misses = 0
            self._load = read_load(page) if status == _OK else None
            self._listener()
            await self._heed(page)
        await super()._look()

    async def _heed(self, page: bytes) -> None:
        """See by its figures that it works on: one that runs here alone does, or has ended.

        Raises: EngineError.
        """


def _now() -> float:
    return asyncio.get_running_loop().time()


__all__ = ["Patience", "PlanAgain", "VllmEngine"]
