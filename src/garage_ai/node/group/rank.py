"""A rig's part of a gang: the same vLLM under the same supervision, started once."""

from dataclasses import replace
from typing import ClassVar

from garage_ai.node.engines.child import Child
from garage_ai.node.engines.vllm import VllmEngine
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_rank import Rank
from garage_ai.node.group.messages import GangPlan
from garage_ai.node.group.tunnel import Tunnel
from garage_ai.wire.ids import NodeId


class LeadingRank(VllmEngine):
    """The first rank, whose API answers for all; when it fails, its gang is over."""

    once: ClassVar[bool] = True


class HeadlessRank(LeadingRank):
    """Any other: it has no API, so all that can be known of it is that it runs."""

    async def _until_ready(self, child: Child) -> None:
        """Do not wait: it is up once it runs, and the first rank answers once all are."""

    async def _prove(self) -> None:
        """Ask nothing: nobody listens."""

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
