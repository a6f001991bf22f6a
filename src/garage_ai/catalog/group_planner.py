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
    Layout,
    Lender,
    Links,
    Spot,
    Unweighed,
    Weighed,
    layouts,
    room_of,
)
from garage_ai.catalog.group_memory import SPARE, Load, Memory, Room, Size
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
    NoSuchSet,
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
    NoSuchSet,
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
    *,
    tensor: int = 0,
) -> GroupFit | GroupRefusal:
    """Find the best way to run a model on a group whose rigs have names of their own.

    Forms are tried in their order, those of other engines left out. With each, most sequences and
    then most context win, then fewest rigs, then speed. In which order rigs are told is nothing.
    Sets have `tensor` cards, where somebody wants so many (0: as is best).
    """
    forms = [form for form in forms if form.engine == "vllm"]
    lending = _with_cards(rigs)
    if not (forms and lending):
        return GroupRefusal((NoForm() if lending else NoCard(),))
    measured = _worst(links)
    obstacles: list[Obstacle] = []
    for form in forms:
        fits, passed = _Search(Weighed(shape, form), measured, wish).over(lending, tensor)
        if fits:
            told = [each for each in passed if isinstance(each, _TOLD_OF_FITS)]
            return replace(max(fits, key=_merit), obstacles=_told(told))
        obstacles += passed
    return _refuse(obstacles, lending, tensor)


def plan_unweighed(
    heads: int, rigs: Iterable[Rig], links: Iterable[Link], tensor: int = 0
) -> Layout | GroupRefusal:
    """Find a way to run a model whose memory cannot be computed: on most cards.

    Of ways that take as many, whole layers in each rig come before sets over several.
    """
    lending = _with_cards(rigs)
    if not lending:
        return GroupRefusal((NoCard(),))
    found = list(
        layouts(Unweighed(heads), [_lender(rig) for rig in lending], _worst(links), tensor)
    )
    ways = [each for each in found if isinstance(each, Layout)]
    if ways:
        return max(ways, key=lambda way: way.tensor * way.pipeline)
    return _refuse([each for each in found if not isinstance(each, Layout)], lending, tensor)


def _refuse(obstacles: Sequence[Obstacle], rigs: Sequence[Rig], tensor: int) -> GroupRefusal:
    cards = sum(len(rig.cards) for rig in rigs)
    # Where no way was looked at, there is none by which so many cards come together.
    return GroupRefusal(
        _told(obstacles) or (NoSuchSet(tensor=tensor, cards=cards, rigs=len(rigs)),)
    )


def _lender(rig: Rig) -> Lender:
    spots = (Spot(rig.name, number, card) for number, card in enumerate(rig.cards))
    return Lender(rig.name, tuple(spots))


def _with_cards(rigs: Iterable[Rig]) -> list[Rig]:
    return sorted((rig for rig in rigs if rig.cards), key=lambda rig: rig.name)


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

    def __init__(self, model: Weighed, links: Links, wish: Wish) -> None:
        self._model = model
        self._shape, self._form = model
        self._links = links
        self._sizes = [Size(*each) for each in sizes(self._shape, wish)]
        self._least = self._sizes[-1]
        self._memory = cache(partial(Memory, *model))

    def over(self, rigs: Sequence[Rig], tensor: int) -> tuple[list[GroupFit], list[Obstacle]]:
        """Look at every team of these rigs, with so many cards in a set, or any number."""
        fits: list[GroupFit] = []
        obstacles: list[Obstacle] = [old for rig in rigs for old in self._too_old(rig)]
        able = [lender for rig in rigs if (lender := self._able(rig)).spots]
        for way in layouts(self._model, able, self._links, tensor):
            found = self._on(way) if isinstance(way, Layout) else way
            if isinstance(found, GroupFit):
                fits.append(found)
            else:
                obstacles.append(found)
        return fits, obstacles

    def _runs(self, card: Place) -> bool:
        return card.compute is None or card.compute >= self._form.compute

    def _able(self, rig: Rig) -> Lender:
        every = _lender(rig).spots
        return Lender(rig.name, tuple(spot for spot in every if self._runs(spot.place)))

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
        """Ask for less and less of these cards, until the fullest of them holds its part.

        Whatever is more than the least also leaves SPARE.
        """
        memory = self._memory(layout.tensor, alone=layout.alone)
        rooms = _rooms(layout)
        spared = [room._replace(each=room.each - SPARE) for room in rooms]
        size = next((each for each in self._sizes[:-1] if memory.holds(each, spared)), self._least)
        if not memory.holds(size, rooms):
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
        least = self._least
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


__all__ = ["plan_group", "plan_unweighed"]
