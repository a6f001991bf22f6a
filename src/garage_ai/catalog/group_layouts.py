"""The ways in which a group of rigs can divide a model, by what its engine and its links allow.

vLLM's rules (0.32): a tensor-parallel set cuts every layer into equal parts, so its cards are of
one kind; sets follow each other as stages of a pipeline; each rig gives as many cards as the
others (world size / nnodes). A set lies within one rig, or over all rigs of the team at once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from garage_ai.catalog.groups import (
    ExpertsTooNarrow,
    HeadsIndivisible,
    Link,
    LinkTooNarrow,
    LinkUnmeasured,
    Obstacle,
    ProcessorsInARow,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)
from garage_ai.catalog.planner import Place, indivisible
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.shapes import Shape

TRIP_LIMIT_MS: Final = 2.0
"""Longest round trip within a group: a cable in a house takes well under one, a radio link more,
and each token waits for several."""

TENSOR_GBIT: Final = 8.0
"""Least bandwidth, as measured, for a tensor-parallel set over several rigs: between layers every
rig sends what the others have to wait for, and of a prompt that is megabytes each time.

It is what a cable of 10 Gbit/s delivers. Of the 1538 bytes that a full frame takes (IEEE 802.3)
1448 are payload of TCP, which is 9.4 Gbit/s; and of the 16 MiB that two rigs measure with, the
first go at the pace of TCP's slow start (RFC 6928), which leaves 8.7 at a round trip of 0.3 ms.
The next narrower cable, of 5 Gbit/s, delivers 4.7."""

MOST_RIGS: Final = 8
"""Rigs whose teams are looked at; of more, those with most room among such as have a link."""

Links = Mapping[frozenset[str], Link]


class Weighed(NamedTuple):
    """A model whose shape is known, in a form: what each part of it takes can be computed."""

    shape: Shape
    form: Quantisation

    @property
    def layers(self) -> int:
        """Layers, of which each stage has at least one."""
        return self.shape.layers

    def uncut(self, tensor: int) -> Obstacle | None:
        """Say why it cannot be cut into so many equal parts, if so."""
        if tensor == 1:
            return None
        found = indivisible(self.shape, tensor)
        if found is not None:
            return HeadsIndivisible(tensor=tensor, what=found[0], heads=found[1])
        width = self.shape.expert_intermediate or self.shape.intermediate
        block = self.form.block
        if width % (tensor * block):
            return ExpertsTooNarrow(form=self.form.name, tensor=tensor, width=width, block=block)
        return None


class Unweighed(NamedTuple):
    """A model of which no more is known than its heads: memory is left to the engine."""

    heads: int

    @property
    def layers(self) -> int | None:
        """Not known: the engine deals them out."""
        return None

    def uncut(self, tensor: int) -> Obstacle | None:
        """Say why it cannot be cut into so many equal parts, if so."""
        if self.heads % tensor == 0:
            return None
        return HeadsIndivisible(tensor=tensor, what="attention", heads=self.heads)


class Spot(NamedTuple):
    """A card of a rig, by its number there."""

    rig: str
    card: int
    place: Place

    @property
    def kind(self) -> tuple[str, tuple[int, int], bool]:
        """What must be the same of all cards in a tensor-parallel set."""
        return self.place.name, self.place.compute or (0, 0), self.place.processor


Set = tuple[Spot, ...]


class Lender(NamedTuple):
    """A rig with those of its cards that run a form."""

    name: str
    spots: tuple[Spot, ...]

    @property
    def room(self) -> int:
        """Bytes of all its cards."""
        return sum(spot.place.room for spot in self.spots)


class Layout(NamedTuple):
    """Rigs in the order of their node ranks, and a tensor-parallel set for each stage."""

    rigs: tuple[str, ...]
    stages: tuple[Set, ...]

    @property
    def tensor(self) -> int:
        """Cards in each set."""
        return len(self.stages[0])

    @property
    def pipeline(self) -> int:
        """Stages."""
        return len(self.stages)

    @property
    def alone(self) -> bool:
        """One card has nobody to exchange anything with."""
        return self.tensor * self.pipeline == 1


def layouts(
    model: Weighed | Unweighed, rigs: Sequence[Lender], links: Links, tensor: int = 0
) -> Iterator[Layout | Obstacle]:
    """Give every way that the engine allows, and what stands in the way of others.

    `rigs` hold only cards that run the model. Sets have `tensor` cards; 0: within a rig as many as
    can be. Whether memory suffices is not looked at.
    """
    for team in _teams(rigs, links):
        cut_off = list(_cut_off(team, links))
        yield from cut_off
        if cut_off:
            continue
        for cards in range(1, min(len(rig.spots) for rig in team) + 1):
            yield from _inside(model, team, cards, tensor)
            if len(team) > 1 and tensor in (0, cards * len(team)):
                yield from _across(model, team, cards, links)


def _teams(rigs: Sequence[Lender], links: Links) -> Iterator[tuple[Lender, ...]]:
    """Give each rig alone, and every team of the MOST_RIGS with most room.

    A rig that is linked to no other comes after those that are: it is of no team.
    """
    joined = {
        rig.name
        for one, other in combinations(rigs, 2)
        if not list(_cut_off((one, other), links))
        for rig in (one, other)
    }
    first = sorted(rigs, key=lambda rig: (rig.name not in joined, -rig.room, rig.name))
    chosen = sorted(first[:MOST_RIGS], key=lambda rig: rig.name)
    yield from ((rig,) for rig in rigs)
    for count in range(2, len(chosen) + 1):
        yield from combinations(chosen, count)


def _cut_off(team: Sequence[Lender], links: Links) -> Iterator[Obstacle]:
    for one, other in combinations((rig.name for rig in team), 2):
        link = links.get(frozenset((one, other)))
        if link is None:
            yield LinkUnmeasured(one=one, other=other)
        elif link.rtt_ms > TRIP_LIMIT_MS:
            yield TripTooLong(one=one, other=other, rtt_ms=link.rtt_ms, limit_ms=TRIP_LIMIT_MS)


def _inside(
    model: Weighed | Unweighed, team: Sequence[Lender], cards: int, wanted: int
) -> Iterator[Layout | Obstacle]:
    """Sets within a rig each, as large as is wanted, or as the model and the cards allow."""
    for tensor in (n for n in range(cards, 0, -1) if cards % n == 0 and wanted in (0, n)):
        uncut = model.uncut(tensor)
        if uncut is not None:
            yield uncut
            continue
        sets = [_sets(rig, tensor)[: cards // tensor] for rig in team]
        mixed = [rig for rig, found in zip(team, sets, strict=True) if len(found) < cards // tensor]
        if mixed:
            yield from (_unequal([rig]) for rig in mixed)
            continue
        yield _in_a_row(
            model, Layout(_names(team), tuple(each for found in sets for each in found))
        )
        return


def _in_a_row(model: Weighed | Unweighed, layout: Layout) -> Layout | Obstacle:
    if model.layers is not None and layout.pipeline > model.layers:
        return TooManyStages(pipeline=layout.pipeline, layers=model.layers)
    if layout.pipeline > 1 and any(spot.place.processor for one in layout.stages for spot in one):
        return ProcessorsInARow(pipeline=layout.pipeline)
    return layout


def _across(
    model: Weighed | Unweighed, team: Sequence[Lender], cards: int, links: Links
) -> Iterator[Layout | Obstacle]:
    """One set over all rigs."""
    uncut = model.uncut(cards * len(team))
    if uncut is not None:
        yield uncut
        return
    pairs = [links[frozenset(pair)] for pair in combinations(_names(team), 2)]
    narrow = [link for link in pairs if link.gbit < TENSOR_GBIT]
    if narrow:
        yield from (
            LinkTooNarrow(one=one, other=other, gbit=gbit, limit_gbit=TENSOR_GBIT)
            for one, other, gbit, _ in narrow
        )
        return
    # Of each kind the set with most room.
    best = [{found[0].kind: found for found in reversed(_sets(rig, cards))} for rig in team]
    common = [kind for kind in sorted(best[0]) if all(kind in found for found in best)]
    if not common:
        yield _unequal(team)
        return
    every = [tuple(spot for found in best for spot in found[kind]) for kind in common]
    yield Layout(_names(team), (max(every, key=room_of),))


def _sets(rig: Lender, size: int) -> list[Set]:
    """Put cards of one kind together, those with most room first."""
    kinds: defaultdict[object, list[Spot]] = defaultdict(list)
    for spot in rig.spots:
        kinds[spot.kind].append(spot)
    sets: list[Set] = []
    for alike in kinds.values():
        alike.sort(key=lambda spot: -spot.place.room)
        for at in range(0, len(alike) - size + 1, size):
            sets.append(tuple(sorted(alike[at : at + size], key=lambda spot: spot.card)))
    return sorted(sets, key=lambda each: (-room_of(each), each[0].card))


def room_of(one: Set) -> int:
    """Give the bytes that each card of a set has: the smallest decides."""
    return min(spot.place.room for spot in one)


def _unequal(team: Sequence[Lender]) -> UnequalCards:
    places = [spot.place for rig in team for spot in rig.spots]
    return UnequalCards(
        rigs=_names(team),
        cards=tuple(place.name for place in places),
        rooms=tuple(place.room for place in places),
    )


def _names(team: Sequence[Lender]) -> tuple[str, ...]:
    return tuple(rig.name for rig in team)


__all__ = [
    "MOST_RIGS",
    "TENSOR_GBIT",
    "TRIP_LIMIT_MS",
    "Layout",
    "Lender",
    "Links",
    "Set",
    "Spot",
    "Unweighed",
    "Weighed",
    "layouts",
    "room_of",
]
