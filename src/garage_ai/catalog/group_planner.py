"""Can these rigs run the model together, how divided, with what context, and how fast? Pure.

The engine of groups is vLLM; its own multi-node needs the same number of cards from each rig. What
`planner` does for the cards of one PC this does for ranks: each has its own part of the layers,
and the fullest card decides. Computed, not measured; the same reserves apply.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Final

from msgspec.structs import replace

from garage_ai.catalog.group_layouts import (
    MOST_RIGS,
    Layout,
    Lender,
    Links,
    Spot,
    layouts,
    room_of,
)
from garage_ai.catalog.group_memory import Load, Memory, Room, Size
from garage_ai.catalog.group_pace import Clock
from garage_ai.catalog.groups import (
    CardTooOld,
    ExpertsTooNarrow,
    GroupFit,
    GroupRefusal,
    HeadsIndivisible,
    Link,
    LinkTooNarrow,
    LinkUnmeasured,
    MemoryShort,
    NoCard,
    NoForm,
    Obstacle,
    ProcessorsInARow,
    Rank,
    Rig,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)
from garage_ai.catalog.planner import USUAL, Place, Wish, sizes
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.shapes import Shape

_ORDER: Final[tuple[type, ...]] = (
    NoCard,
    NoForm,
    LinkUnmeasured,
    TripTooLong,
    UnequalCards,
    CardTooOld,
    MemoryShort,
    LinkTooNarrow,
    ProcessorsInARow,
    TooManyStages,
    HeadsIndivisible,
    ExpertsTooNarrow,
)
"""What is told first: what most of all kept the group from the model."""

_TOLD_OF_FITS: Final = LinkUnmeasured | TripTooLong | LinkTooNarrow | UnequalCards | CardTooOld
"""What the owner of a group that works could still change."""


def plan_group(
    shape: Shape,
    forms: Sequence[Quantisation],
    rigs: Iterable[Rig],
    links: Iterable[Link],
    wish: Wish = USUAL,
) -> GroupFit | GroupRefusal:
    """Find the best way to run a model on a group whose rigs have names of their own.

    Forms are tried in their order, those of other engines left out. With each, most sequences and
    then most context win, then fewest rigs, then speed. In which order rigs are told is nothing.
    """
    forms = [form for form in forms if form.engine == "vllm"]
    chosen = _roomiest([rig for rig in rigs if rig.cards])
    if not (forms and chosen):
        return GroupRefusal((NoForm() if chosen else NoCard(),))
    measured = _worst(links)
    obstacles: list[Obstacle] = []
    for form in forms:
        fits, passed = _Search(shape, form, measured, wish).over(chosen)
        if fits:
            told = [each for each in passed if isinstance(each, _TOLD_OF_FITS)]
            return replace(max(fits, key=_merit), obstacles=_told(told))
        obstacles += passed
    return GroupRefusal(_told(obstacles))


def _roomiest(rigs: Sequence[Rig]) -> list[Rig]:
    by_room = sorted(rigs, key=lambda rig: (-sum(card.room for card in rig.cards), rig.name))
    return sorted(by_room[:MOST_RIGS], key=lambda rig: rig.name)


def _worst(links: Iterable[Link]) -> Links:
    """Of what was measured more than once between two rigs, the worst counts."""
    found: dict[frozenset[str], Link] = {}
    for link in sorted(links):
        pair = frozenset((link.one, link.other))
        seen = found.get(pair, link)
        gbit, rtt_ms = min(seen.gbit, link.gbit), max(seen.rtt_ms, link.rtt_ms)
        found[pair] = Link(min(pair), max(pair), gbit, rtt_ms)
    return found


class _Search:
    """All ways of running a model in one form, and what stands in the way of others."""

    def __init__(self, shape: Shape, form: Quantisation, links: Links, wish: Wish) -> None:
        self._shape = shape
        self._form = form
        self._links = links
        self._sizes = [Size(*each) for each in sizes(shape, wish)]
        self._memory = cache(partial(Memory, shape, form))

    def over(self, rigs: Sequence[Rig]) -> tuple[list[GroupFit], list[Obstacle]]:
        """Look at every team of these rigs."""
        fits: list[GroupFit] = []
        obstacles: list[Obstacle] = [old for rig in rigs for old in self._too_old(rig)]
        able = [lender for rig in rigs if (lender := self._lender(rig)).spots]
        for way in layouts(self._shape, self._form, able, self._links):
            found = self._on(way) if isinstance(way, Layout) else way
            if isinstance(found, GroupFit):
                fits.append(found)
            else:
                obstacles.append(found)
        return fits, obstacles

    def _runs(self, card: Place) -> bool:
        return card.compute is None or card.compute >= self._form.compute

    def _lender(self, rig: Rig) -> Lender:
        spots = (Spot(rig.name, number, card) for number, card in enumerate(rig.cards))
        return Lender(rig.name, tuple(spot for spot in spots if self._runs(spot.place)))

    def _too_old(self, rig: Rig) -> Iterator[CardTooOld]:
        for card in rig.cards:
            if card.compute is not None and not self._runs(card):
                yield CardTooOld(
                    rig=rig.name,
                    card=card.name,
                    compute=card.compute,
                    form=self._form.name,
                    wanted=self._form.compute,
                )

    def _on(self, layout: Layout) -> GroupFit | MemoryShort:
        """Ask for less and less of these cards, until the fullest of them holds its part."""
        memory = self._memory(layout.tensor, alone=layout.alone)
        rooms = _rooms(layout)
        size = next((each for each in self._sizes if memory.holds(each, rooms)), None)
        if size is None:
            return self._short(layout, memory, rooms)
        layers = memory.deal(size, rooms)
        clock = Clock(self._shape, self._form, layout, layers, self._links)
        loads = [
            memory.load(size, count, room.ends) for count, room in zip(layers, rooms, strict=True)
        ]
        return GroupFit(
            form=self._form.name,
            tensor=layout.tensor,
            pipeline=layout.pipeline,
            layers=layers,
            context=size.context,
            sequences=size.sequences,
            rigs=layout.rigs,
            ranks=tuple(_ranks(layout, layers, loads)),
            pace=clock.pace(size.context, size.sequences),
        )

    def _short(self, layout: Layout, memory: Memory, rooms: Sequence[Room]) -> MemoryShort:
        least = self._sizes[-1]
        layers = memory.deal(least, rooms)
        pairs = [
            (sum(memory.load(least, count, room.ends)), room.each)
            for count, room in zip(layers, rooms, strict=True)
        ]
        needed, room = max(pairs, key=lambda pair: pair[0] - pair[1])
        return MemoryShort(
            form=self._form.name,
            rigs=len(layout.rigs),
            cards=layout.tensor * layout.pipeline,
            tensor=layout.tensor,
            pipeline=layout.pipeline,
            weights=self._form.weights(self._shape),
            needed=needed,
            room=room,
            short=needed - room,
        )


def _rooms(layout: Layout) -> list[Room]:
    last = layout.pipeline - 1
    return [
        Room(room_of(stage), (at == 0) + (at == last)) for at, stage in enumerate(layout.stages)
    ]


def _ranks(layout: Layout, layers: Sequence[int], loads: Sequence[Load]) -> Iterator[Rank]:
    for stage, (spots, load) in enumerate(zip(layout.stages, loads, strict=True)):
        for part, spot in enumerate(spots):
            yield Rank(
                rig=spot.rig,
                card=spot.card,
                stage=stage,
                part=part,
                layers=layers[stage],
                weights=load.weights,
                cache=load.cache,
                other=load.other,
                room=spot.place.room,
            )


def _merit(fit: GroupFit) -> tuple[float, ...]:
    speed = fit.pace.alone if fit.pace else 0.0
    return fit.sequences, fit.context, -len(fit.rigs), speed, -len(fit.ranks)


def _told(obstacles: Iterable[Obstacle]) -> tuple[Obstacle, ...]:
    """Tell each obstacle once, what matters most first, and of a form only the least shortage.

    Sets that more cards would not have held either are no news.
    """
    every = list(dict.fromkeys(obstacles))
    shortages = [each for each in every if isinstance(each, MemoryShort)]
    least: dict[str, MemoryShort] = {}
    for each in sorted(shortages, key=lambda shortage: shortage.short):
        least.setdefault(each.form, each)
    cards = max((each.cards for each in least.values()), default=0)
    others = [
        each
        for each in every
        if not isinstance(each, MemoryShort)
        and not (isinstance(each, HeadsIndivisible | ExpertsTooNarrow) and each.tensor < cards)
    ]
    return tuple(sorted([*least.values(), *others], key=lambda each: _ORDER.index(type(each))))


__all__ = ["plan_group"]
