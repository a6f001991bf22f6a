"""A rig's part of a gang: the same vLLM under the same supervision, started once.

A rank that hangs, or whose packets are lost while the rigs' own link lives, is not heard of: the
others wait for it in the middle of a step. So the first rank looks whether steps come to an end.
"""

import asyncio
from dataclasses import replace
from typing import ClassVar

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.vllm import VllmEngine
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_progress import Progress
from garage_ai.node.engines.vllm_rank import Rank
from garage_ai.node.errors import EngineLost
from garage_ai.node.group.messages import GangPlan
from garage_ai.node.group.tunnel import Tunnel
from garage_ai.wire.ids import NodeId


class LeadingRank(VllmEngine):
    """The first rank, whose API answers for all; when it fails, its gang is over."""

    once: ClassVar[bool] = True
    _progress: Progress | None = None

    @property
    def cause(self) -> str:
        """What vLLM said itself of its end; empty when it said nothing."""
        return self._story.cause

    @property
    def story(self) -> str:
        """Why it has failed."""
        if not self.cause or self.cause in self.reason:
            return self.reason
        return f"{self.reason}; it said: {self.cause}"

    async def _end(self, child: Child) -> None:
        if child.code is not None:
            await child.all_read()
        await super()._end(child)

    async def _heed(self, page: bytes) -> None:
        """End a gang that waits for one of its own, whoever waits for an answer meanwhile.

        A rig that computes alone takes the time it takes. Raises: EngineError.
        """
        if self._options.rank is None:
            return
        if self._progress is None:
            self._progress = Progress()
        still = self._progress.still(page, asyncio.get_running_loop().time())
        load, patience = self.load, self._patience
        if load is not None and (load.running or load.waiting):
            if still > patience.stall:
                raise EngineLost(
                    f"vLLM has computed nothing for {patience.stall:g} s, with requests at work"
                )
        elif still > patience.idle and self._link.open_answers:
            # It says that it has nothing to do, which a token costs little to try.
            # Behind a long prompt that token has to wait as long as any step may take.
            await self._complete("1", 1, patience.stall)
            self._progress = None


class HeadlessRank(LeadingRank):
    """Any other: it has no API, so all that can be known of it is that it runs."""

    async def _until_ready(self, child: Child) -> None:
        """Do not wait: it is up once it runs, and the first rank answers once all are."""

    async def _prove(self) -> None:
        """Ask nothing: nobody listens."""

    def _keep_load(self) -> None:
        """Keep nothing: nobody tells it when it has loaded."""

    async def _look(self) -> None:
        """Ask nothing; its end is heard of without."""


def seated(options: VllmOptions, plan: GangPlan, me: NodeId, tunnel: Tunnel) -> VllmOptions:
    """Say how a rig's part is run; `options` are what its owner has chosen. Pure."""
    first, rank = plan.places[0].tunnel, None
    if first is not None:
        number, nodes = plan.rank_of(me), len(plan.places)
        rank = Rank(number, nodes, first.address, tunnel.address, tunnel.interface)
    return replace(
        options,
        tensor_parallel=plan.tensor,
        pipeline_parallel=plan.pipeline,
        layers=plan.layers,
        dtype=plan.dtype,
        context=plan.context or options.context,
        slots=plan.slots or options.slots,
        rank=rank,
        network=tunnel.namespace_file if rank is not None else None,
    )


__all__ = ["HeadlessRank", "LeadingRank", "seated"]
