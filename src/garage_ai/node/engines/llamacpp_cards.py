"""llama.cpp on cards: its own server, believed to be there only when its log shows it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from garage_ai.node.engines.child import Child, describe
from garage_ai.node.engines.launch import Launcher, OnLine
from garage_ai.node.engines.llama_server import AT_WORK, ServerOptions, Story
from garage_ai.node.engines.llamacpp import LOAD_SECONDS, LesserForm, LlamaEngine
from garage_ai.node.engines.port import Device
from garage_ai.node.errors import EngineError, EngineLost, EngineTimeout
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.sizes import Size

LOOK_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 5.0
_OK: Final = 200


PlanAgain = Callable[[str], Awaitable[tuple[ServerOptions, Fitting]]]
"""Plans the model of that name once more, by what is free now. Raises: NotPossible."""


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
        lesser: Sequence[LesserForm] = (),
        plan_again: PlanAgain | None = None,
    ) -> None:
        super().__init__(
            options, run=run, logs=logs, launcher=launcher, fitting=fitting, lesser=lesser
        )
        self._plan_again = plan_again
        self._story = Story()

    @property
    def device(self) -> Device:
        """The cards it computes on, and how much of the model is there."""
        plan = self._server.plan
        return Device(self._server.gpus, plan.layers, plan.of, plan.slowdown)

    @property
    def _server(self) -> ServerOptions:
        if not isinstance(self._options, ServerOptions):
            raise AssertionError("a smaller form was planned for the processor")
        return self._options

    def _take_on(self, size: Size) -> None:
        plan = replace(self._server.plan, context=size.context, slots=size.slots)
        self._options = replace(self._server, plan=plan)

    async def _plan_anew(self) -> None:
        if self._plan_again is not None:
            options, self._fitting = await self._plan_again(self._options.name)
            self._adopt(options)

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
        complaint = self._story.complaint(self._server.plan)
        if complaint:
            raise EngineLost(complaint)
        # From here on its lines may quote requests.
        child.keep_only(AT_WORK)

    async def _until_it_answers(self, child: Child) -> None:
        end = asyncio.ensure_future(child.ended())
        try:
            while not await self._answers():
                self._tell_loading()
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


__all__ = ["LlamaOnCards", "PlanAgain"]
