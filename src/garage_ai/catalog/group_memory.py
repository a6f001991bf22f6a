"""What each card of a stage holds, and how layers are dealt out to stages. Pure.

All cards of a tensor-parallel set hold as much; the one with least room decides for them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from garage_ai.catalog.planner import GIB, other_bytes
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.shapes import Shape

EXCHANGE: Final = GIB // 4
"""NCCL's buffers on a card with neighbours: 4 MiB for each neighbour and channel, of which there
are up to some dozens (NCCL user guide, NCCL_BUFFSIZE)."""


SPARE: Final = GIB // 2
"""What is left of each card by more context, or more sequences, than the least that is asked for.
vLLM takes what it measures, not what was computed, and with too little it does not start; its
graphs alone are logged with 0.2 to 0.6 GiB, of which half a GiB is planned (`planner.GRAPHS`)."""


class Load(NamedTuple):
    """Bytes on one card."""

    weights: int
    cache: int
    other: int


class Size(NamedTuple):
    """What is asked for."""

    context: int
    sequences: int


class Room(NamedTuple):
    """What a stage offers: bytes on each card, and how many ends (table, head) it has to hold."""

    each: int
    ends: int


class Memory:
    """A model in one form, cut into so many equal parts; what was computed once is kept.

    `alone`: the card has no neighbours.
    """

    def __init__(self, shape: Shape, form: Quantisation, tensor: int, *, alone: bool) -> None:
        self._shape = shape
        self._form = form
        self._part = shape.part(tensor)
        self._exchange = 0 if alone else EXCHANGE
        self.load = cache(self._load)
        self._most = cache(self._most_layers)

    def holds(self, size: Size, rooms: Sequence[Room]) -> bool:
        """Tell whether all layers go in, at least one in each stage."""
        most = [self._most(size, room) for room in rooms]
        return all(most) and sum(most) >= self._shape.layers

    def deal(self, size: Size, rooms: Sequence[Room]) -> tuple[int, ...]:
        """Deal layers out one by one, each to where most room is left with it.

        So the fullest card is as little full as any dealing can make it.
        """
        dealt = [1] * len(rooms)
        left = [self._left(size, room, 2) for room in rooms]
        for _ in range(self._shape.layers - len(rooms)):
            at = left.index(max(left))
            dealt[at] += 1
            left[at] = self._left(size, rooms[at], dealt[at] + 1)
        return tuple(dealt)

    def _left(self, size: Size, room: Room, layers: int) -> int:
        return room.each - sum(self.load(size, layers, room.ends))

    def _most_layers(self, size: Size, room: Room) -> int:
        layers = range(1, self._shape.layers + 1)
        return bisect_right(layers, room.each, key=lambda n: sum(self.load(size, n, room.ends)))

    def _load(self, size: Size, layers: int, ends: int) -> Load:
        """Give what a card holds of a run of layers: of the mixes it may be, the heavier."""
        other = other_bytes(self._shape, self._form, 1, size.sequences) + self._exchange
        loads = (
            Load(
                self._form.weights(run, ends), run.cache_bytes(size.context) * size.sequences, other
            )
            for run in self._part.runs(layers)
        )
        return max(loads, key=sum)


__all__ = ["EXCHANGE", "SPARE", "Load", "Memory", "Room", "Size"]
