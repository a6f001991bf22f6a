"""llama.cpp on cards: its own server, believed to be there only when its log shows it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import Launcher, OnLine
from garage_ai.node.engines.llama_server import AT_WORK, ServerOptions, Story
from garage_ai.node.engines.llamacpp import LOAD_SECONDS, LlamaEngine
from garage_ai.node.engines.port import Device
from garage_ai.node.errors import EngineError, EngineLost, EngineTimeout
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.sizes import Size

LOOK_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 5.0
_OK: Final = 200


class LlamaOnCards(LlamaEngine):
    """llama-server in a container with the cards; what is not on them as planned is not served."""

    prove_seconds = 300.0
    """Longest first token: a driver may compile kernels for the card before it."""

    def __init__(
        self,
        options: ServerOptions,
        *,
        run: Path,
        logs: Path,
        launcher: Launcher,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__(options, run=run, logs=logs, launcher=launcher, fitting=fitting)
        self._server = options
        self._plan = options.plan
        self._gpus = options.gpus
        self._story = Story()

    @property
    def device(self) -> Device:
        """The cards it computes on, and how much of the model is there."""
        return Device(self._gpus, self._plan.layers, self._plan.of, self._plan.slowdown)

    @property
    def _startable(self) -> ServerOptions:
        return self._server

    def _take_on(self, size: Size) -> None:
        self._plan = replace(self._plan, context=size.context, slots=size.slots)
        self._server = replace(self._server, plan=self._plan)

    async def _launch(self) -> Child:
        self._story = Story()
        return await super()._launch()

    @property
    def _on_line(self) -> OnLine:
        return self._story.hear

    async def _until_ready(self, child: Child) -> None:
        """Wait until it answers, then see that it is where it was meant to be.

        Raises: EngineLost, EngineTimeout.
        """
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await self._until_it_answers(child)
        except TimeoutError as error:
            raise EngineTimeout(f"the engine was not ready within {LOAD_SECONDS:g} s") from error
        complaint = self._story.complaint(self._plan)
        if complaint:
            raise EngineLost(complaint)
        # From here on its lines may quote requests.
        child.keep_only(AT_WORK)

    async def _until_it_answers(self, child: Child) -> None:
        end = asyncio.ensure_future(child.ended())
        try:
            while not await self._answers():
                await asyncio.wait({end}, timeout=LOOK_SECONDS)
                if end.done():
                    await child.all_read()
                    raise EngineLost(self._why_it_ended(end.result(), child))
        finally:
            end.cancel()

    async def _answers(self) -> bool:
        try:
            status, _ = await self._link.get("/health", seconds=_ANSWER_SECONDS)
        except EngineError:
            return False
        return status == _OK

    def _why_it_ended(self, status: int, child: Child) -> str:
        """Say why it ended, so that the owner can do something about it."""
        if self._story.out_of_memory:
            return (
                f"a card's memory does not suffice ({self._story.cause}); close what uses it, or "
                "lower --context or --slots"
            )
        cause = self._story.cause or child.last_words
        return f"the engine ended with {describe(status)}" + (
            f"; it said: {cause}" if cause else ""
        )


__all__ = ["LlamaOnCards"]
