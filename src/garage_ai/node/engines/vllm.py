"""vLLM in processes of its own, out of an environment of its own, behind a unix socket."""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil

from garage_ai.node.body import salted
from garage_ai.node.engines import vllm_plan
from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import SOCKET
from garage_ai.node.engines.link import HttpAnswer
from garage_ai.node.engines.orphans import end_orphans
from garage_ai.node.engines.port import ROUTES, EngineLoad, Offer
from garage_ai.node.engines.supervised import SupervisedEngine
from garage_ai.node.engines.vllm_log import Story
from garage_ai.node.engines.vllm_metrics import read_load
from garage_ai.node.engines.vllm_plan import VllmOptions
from garage_ai.node.errors import EngineError, EngineLost, EngineTimeout
from garage_ai.wire.frames import Route

_OK: Final = 200
_POLL_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 5.0
_TOOK: Final = "vllm-load-seconds"
_LONG_PROMPT: Final = "The quick brown fox jumps over the lazy dog. " * 8


@dataclass(frozen=True, slots=True)
class Patience:
    """How long vLLM may take, in seconds.

    `load` from the start to the first answer, `silence` without a line in its log meanwhile;
    `warm_up` for the first words, which may compile kernels; `token` for one token of an idle
    engine, asked for after `idle`; its metrics are read every `look`, and `misses` failures in a
    row are taken for its end.
    """

    load: float = 3600.0
    silence: float = 900.0
    warm_up: float = 600.0
    token: float = 60.0
    idle: float = 60.0
    look: float = 5.0
    misses: int = 6


class VllmEngine(SupervisedEngine):
    """vLLM, started again with back-off whenever it dies or hangs."""

    kind = "vllm"
    longest_wait = 300.0

    def __init__(
        self,
        options: VllmOptions,
        *,
        run: Path,
        logs: Path,
        patience: Patience | None = None,
        environment: Mapping[str, str] = os.environ,
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
        self._patience = patience or Patience()
        super().__init__(
            offer,
            run=run,
            logs=logs,
            look_seconds=self._patience.look,
            idle_seconds=self._patience.idle,
        )
        self._options = options
        self._around = environment
        self._story = Story(0.0)
        self._heard_at = 0.0
        self._load: EngineLoad | None = None
        self._misses = 0

    @property
    def load(self) -> EngineLoad | None:
        """What vLLM says of its load; None while it is not ready."""
        return self._load if self.state == "ready" else None

    @property
    def seconds_left(self) -> float:
        """Guess how long it still loads, from the last time; 0 when there was none."""
        return self._story.left(_now()) if self.state == "loading" and self.pid else 0.0

    @property
    def pids(self) -> frozenset[int]:
        """The warden and all that came of it: the workers are those that hold the card."""
        if self.pid is None:
            return frozenset()
        try:
            family = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return frozenset()
        return frozenset({self.pid, *(each.pid for each in family)})

    async def ask(
        self,
        route: Route,
        body: bytes,
        *,
        offer: Offer,
        stream: bool,  # noqa: ARG002 - vLLM stops either kind when its client leaves
        salt: str = "",
    ) -> HttpAnswer:
        """Put a request to vLLM; without a salt its prompt is shared with nobody.

        Raises: EngineError.
        """
        self._last_answer = _now()
        own = salt or secrets.token_urlsafe(16)
        return await self._link.post(route, salted(body, offer.engine_name, own))

    def _kill(self, child: Child) -> None:
        # SIGKILL would end the warden and leave whom it watches over.
        child.interrupt()

    async def _launch(self) -> Child:
        run = self._run_folder.absolute()
        await end_orphans(vllm_plan.MARK, run)
        # vLLM does not take the place of a socket that is there.
        (run / SOCKET).unlink(missing_ok=True)
        self._story = Story(_now(), self._took_before())
        self._heard_at = _now()
        self._load, self._misses = None, 0
        warden = [sys.executable, "-I", "-S", str(Path(__file__).with_name("warden.py"))]
        return await Child.start(
            [*warden, str(os.getpid()), *vllm_plan.argv(self._options, f"./{SOCKET}")],
            self._log,
            run,
            environment=vllm_plan.environment(self._options, run, self._around),
            on_line=self._heard,
        )

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
        self._keep_took(self._story.took(_now()))

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

    async def _complete(self, prompt: str, tokens: int, seconds: float) -> None:
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        asked = salted(msgspec.json.encode(body), self._offer.engine_name, "gai-agent")
        status, page = await self._link.probe("completions", asked, seconds=seconds)
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
        await super()._look()

    def _took_before(self) -> float:
        """Read how long the last good start took; 0 where none is known."""
        with contextlib.suppress(OSError, ValueError):
            return max(0.0, min(float((self._run_folder / _TOOK).read_text("ascii")), 86_400.0))
        return 0.0

    def _keep_took(self, seconds: float) -> None:
        with contextlib.suppress(OSError):
            (self._run_folder / _TOOK).write_text(f"{seconds:.1f}\n", "ascii")


def _now() -> float:
    return asyncio.get_running_loop().time()


__all__ = ["Patience", "VllmEngine"]
