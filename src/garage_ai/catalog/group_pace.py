"""How fast a group of rigs makes tokens, estimated from bandwidths and round trips. Pure.

A token of one stream goes through the stages one after the other. In a stage all ranks read their
part of the weights at once; between layers, and between stages, they wait for each other:

    reading    bytes of weights and cache / (EFFICIENCY · bandwidth), stage by stage
    starting   EXPERT_LAYER for each layer of a model of experts
    exchange   two all-reduces a layer in a tensor-parallel set, a hop between stages, and over
               several rigs one round trip, to say what is next and what came out

With several sequences in a pipeline every stage works on others of them.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final

from garage_ai.catalog.group_layouts import Layout, Links
from garage_ai.catalog.groups import Pace
from garage_ai.catalog.planner import EFFICIENCY
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.shapes import Shape

EXPERT_LAYER: Final = 50e-6
"""Seconds to start the many small kernels of a layer of experts, which no division makes fewer. A
30B with 3B active in Q4_K_M, 48 layers, made 166.9 tokens/s on an RTX 3090 Ti (smeltcore.com) and
196 on an RTX 4090 (runaihome.com): less the reading, 61 and 42 microseconds a layer are left."""

ALL_REDUCE: Final = 20e-6
"""Seconds of an all-reduce of one token among cards of a PC: NCCL took 19.4 microseconds for 4 KiB
on four cards behind a PCIe switch (haohervchb/sglang-V100, pull request 2)."""

NETWORK: Final = 80e-6
"""Seconds that NCCL and vLLM add to what a network takes: a 235B with 22B active, 94 layers, over
two DGX Sparks made 17.0 tokens/s (conselara.dev, DGX Spark benchmarks); less reading and starting,
each of its 188 all-reduces is left 82 microseconds."""

_BF16: Final = 2
_BITS_OF_A_GBIT: Final = 1e9
_MS: Final = 1e3


class Clock:
    """The parts of a step of a group, in seconds, for steps of any number of sequences."""

    def __init__(
        self,
        shape: Shape,
        form: Quantisation,
        layout: Layout,
        layers: Sequence[int],
        links: Links,
    ) -> None:
        self._hidden = shape.hidden
        self._form = form
        self._layout = layout
        self._links = links
        part = shape.part(layout.tensor)
        self._runs = [next(part.runs(count)) for count in layers]
        self._slowest = [
            min(spot.place.bandwidth or 0.0 for spot in stage) for stage in layout.stages
        ]

    def pace(self, context: int, sequences: int) -> Pace | None:
        """Estimate tokens per second of answers that are half their context long.

        None where the bandwidth of a card is not known.
        """
        if not all(self._slowest):
            return None
        reading = self._reading(context, 1)
        starting = [EXPERT_LAYER * run.layers if run.experts else 0.0 for run in self._runs]
        exchange = self._exchange(1)
        # In a pipeline so many of the sequences are in a stage at a time.
        some = math.ceil(sequences / len(self._runs))
        busy = map(sum, zip(self._reading(context, some), starting, strict=True))
        turn = max(busy) * min(len(self._runs), sequences) + self._exchange(some)
        return Pace(
            alone=round(1 / (sum(reading) + sum(starting) + exchange), 1),
            together=round(sequences / turn, 1),
            reading_ms=round(sum(reading) * _MS, 2),
            starting_ms=round(sum(starting) * _MS, 2),
            exchange_ms=round(exchange * _MS, 2),
        )

    def _reading(self, context: int, sequences: int) -> list[float]:
        last = len(self._runs) - 1
        found = []
        for at, (run, gigabytes) in enumerate(zip(self._runs, self._slowest, strict=True)):
            weights = self._form.read_for_a_step(run, sequences, head=at == last)
            read = weights + run.cache_bytes(context // 2) * sequences
            found.append(read / (EFFICIENCY * gigabytes * 1e9))
        return found

    def _exchange(self, sequences: int) -> float:
        rigs = self._layout.rigs
        pairs = [self._links[frozenset(pair)] for pair in combinations(rigs, 2)]
        trip = max((link.rtt_ms for link in pairs), default=0.0) / _MS
        sent = sequences * self._hidden * _BF16
        seconds = trip
        if self._layout.tensor > 1:
            reduce = ALL_REDUCE
            if self._layout.pipeline == 1 and len(rigs) > 1:
                # Around a ring, there and back.
                gbit = min(link.gbit for link in pairs)
                reduce += NETWORK
                reduce += (len(rigs) - 1) * (trip + 2 * _sending(sent, gbit) / len(rigs))
            seconds += 2 * reduce * sum(run.layers for run in self._runs)
        for one, other in pairwise(stage[0].rig for stage in self._layout.stages):
            # What goes on is two vectors: the hidden state and the residual.
            seconds += ALL_REDUCE if one == other else self._hop(one, other, 2 * sent)
        return seconds

    def _hop(self, one: str, other: str, sent: int) -> float:
        link = self._links[frozenset((one, other))]
        return NETWORK + link.rtt_ms / _MS / 2 + _sending(sent, link.gbit)


def _sending(sent: float, gbit: float) -> float:
    return 8 * sent / (gbit * _BITS_OF_A_GBIT)


__all__ = ["ALL_REDUCE", "EXPERT_LAYER", "NETWORK", "Clock"]
