"""`gai group plan`: how given rigs would run a published model, without any of them being there."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from garage_ai.catalog import (
    KNOWN,
    QUANTISATIONS,
    RESERVE,
    GroupFit,
    Known,
    Link,
    Obstacle,
    Place,
    Quantisation,
    Rig,
    Wish,
    find_card,
    known_cards,
    plan_group,
)
from garage_ai.catalog.cards import CARDS, Card
from garage_ai.catalog.groups import MemoryShort, UnequalCards
from garage_ai.catalog.planner import GIB
from garage_ai.cli import output
from garage_ai.cli.errors import Misused
from garage_ai.cli.group_plan_words import say


class Asked(NamedTuple):
    """What the command line says of a group: cards of each rig, and what is between any two."""

    rigs: Sequence[str]
    gbit: float | None
    rtt_ms: float | None
    form: str | None


class PlanShown(msgspec.Struct, frozen=True, kw_only=True):
    """What `gai group plan --json` prints. Bytes; speeds in tokens per second are estimates.

    `parameters` in billions, as published by `source`; `left_out` are cards that a rig does not
    lend, which are of another kind than most of its room.
    """

    model: str
    parameters: float
    source: str
    estimate: bool
    fits: bool
    form_source: str = ""
    plan: GroupFit | None = None
    obstacles: tuple[Obstacle, ...] = ()
    left_out: dict[str, tuple[str, ...]] = {}


def show_plan(model: str, asked: Asked, wish: Wish, *, as_json: bool) -> bool:
    """Plan and show it; tells whether the model fits. Raises: Misused."""
    known = _known(model)
    pcs = [_rig(number, words) for number, words in enumerate(asked.rigs, start=1)]
    lent = {pc.name: _lent(pc.cards) for pc in pcs}
    rigs = [Rig(pc.name, tuple(pc.cards[number] for number in lent[pc.name])) for pc in pcs]
    found = plan_group(known.shape, _forms(known, asked.form), rigs, _links(rigs, asked), wish)
    fit = _numbered(found, lent) if isinstance(found, GroupFit) else None
    left_out = {
        pc.name: tuple(card.name for at, card in enumerate(pc.cards) if at not in lent[pc.name])
        for pc in pcs
        if len(pc.cards) > len(lent[pc.name])
    }
    if as_json:
        output.write_json(_shown(known, fit, found.obstacles, left_out))
        return fit is not None
    if fit is None:
        output.write(say("refused", model=known.shape.name))
    else:
        _table(known, fit)
    _tell(found.obstacles)
    for rig in rigs:
        if rig.name in left_out:
            kind, cards = rig.cards[0].name, ", ".join(left_out[rig.name])
            output.write(f"- {say('left_out', rig=rig.name, kind=kind, cards=cards)}")
    output.remark(say("estimate"))
    return fit is not None


def _lent(cards: Sequence[Place]) -> list[int]:
    """Number the cards that the agent of a PC would lend: of one kind, that with most room."""
    kinds: dict[str, list[int]] = {}
    for number, card in enumerate(cards):
        kinds.setdefault(card.name, []).append(number)
    return max(kinds.values(), key=lambda numbers: sum(cards[number].room for number in numbers))


def _numbered(fit: GroupFit, lent: Mapping[str, Sequence[int]]) -> GroupFit:
    """Name each card by its number in its PC."""
    ranks = [replace(rank, card=lent[rank.rig][rank.card]) for rank in fit.ranks]
    return replace(fit, ranks=tuple(ranks))


def _shown(
    known: Known,
    fit: GroupFit | None,
    obstacles: tuple[Obstacle, ...],
    left_out: dict[str, tuple[str, ...]],
) -> PlanShown:
    return PlanShown(
        model=known.shape.name,
        parameters=known.published,
        source=known.source,
        estimate=True,
        fits=fit is not None,
        form_source=QUANTISATIONS[fit.form].source if fit else "",
        plan=replace(fit, obstacles=()) if fit else None,
        obstacles=obstacles,
        left_out=left_out,
    )


def _known(model: str) -> Known:
    """Find a model by its name, or by how it begins where that is enough."""
    exact = [each for name, each in KNOWN.items() if name.casefold() == model.casefold()]
    begun = [each for name, each in KNOWN.items() if name.casefold().startswith(model.casefold())]
    found = exact or begun
    if len(found) != 1:
        names = ", ".join(each.shape.name for each in found or KNOWN.values())
        raise Misused(say("no_such_model", model=model), say("no_such_model.next", names=names))
    return found[0]


def _forms(known: Known, name: str | None) -> list[Quantisation]:
    if name is not None and name not in QUANTISATIONS:
        names = ", ".join(QUANTISATIONS)
        raise Misused(say("no_such_form", form=name), say("no_such_form.next", names=names))
    wanted = known.quantisations if name is None else (name,)
    return [form for each, form in QUANTISATIONS.items() if each in wanted]


def _rig(number: int, words: str) -> Rig:
    places = tuple(_place(each.strip()) for each in words.split(",") if each.strip())
    if not places:
        raise Misused(say("empty_rig"), say("empty_rig.next"))
    return Rig(f"rig-{number}", places)


def _place(words: str) -> Place:
    """Read a card by name, or by its GiB; then as fast as the slowest known of that size."""
    try:
        size = float(words)
    except ValueError:
        card = find_card(words)
        if card is None:
            known = ", ".join(known_cards())
            raise Misused(
                say("no_such_card", card=words, known=known), say("no_such_card.next")
            ) from None
        return Place(card.name, card.memory * GIB - RESERVE, card.bandwidth, card.compute)
    if not 1 <= size <= 1024:
        raise Misused(say("no_such_size", size=words), say("empty_rig.next"))
    slowest = _slowest(size)
    speed = slowest.bandwidth if slowest else None
    return Place(f"{size:g} GiB", int(size * GIB) - RESERVE, speed)


def _slowest(size: float) -> Card | None:
    return min(
        (card for card in CARDS if card.memory == size),
        key=lambda card: card.bandwidth,
        default=None,
    )


def _links(rigs: Sequence[Rig], asked: Asked) -> list[Link]:
    if (asked.gbit is None) != (asked.rtt_ms is None):
        raise Misused(say("half_a_link"), say("half_a_link.next"))
    if asked.gbit is None or asked.rtt_ms is None:
        return []
    pairs = combinations((rig.name for rig in rigs), 2)
    return [Link(one, other, asked.gbit, asked.rtt_ms) for one, other in pairs]


def _table(known: Known, fit: GroupFit) -> None:
    output.write(
        say(
            "fits",
            model=known.shape.name,
            form=fit.form,
            tensor=fit.tensor,
            pipeline=fit.pipeline,
            rigs=", ".join(fit.rigs),
        )
    )
    output.write(say("size", context=fit.context, sequences=fit.sequences))
    if fit.pace is not None:
        output.write(say("pace", **asdict(fit.pace)))
    columns = ("rig", "card", "stage", "part", "layers", "weights", "cache", "other", "room")
    rows = [
        (
            rank.rig,
            str(rank.card),
            str(rank.stage),
            str(rank.part),
            str(rank.layers),
            *map(_gib, (rank.weights, rank.cache, rank.other, rank.room)),
        )
        for rank in fit.ranks
    ]
    output.write_table([say(f"column.{column}") for column in columns], rows)


def _tell(obstacles: Sequence[Obstacle]) -> None:
    for each in obstacles:
        output.write(f"- {in_words(each)}")


def in_words(told: Obstacle) -> str:
    """Say an obstacle with its numbers, and what could be done."""
    code = str(told.__struct_config__.tag)
    match told:
        case MemoryShort():
            sizes = {name: _gib(getattr(told, name)) for name in ("weights", "needed", "room")}
            return say(code, **(asdict(told) | sizes | {"short": told.short_in_gib}))
        case UnequalCards():
            pairs = zip(told.cards, told.rooms, strict=True)
            cards = ", ".join(f"{card} ({_gib(room)} GiB)" for card, room in pairs)
            return say(code, rigs=", ".join(told.rigs), cards=cards)
        case _:
            values = {name: _plain(value) for name, value in asdict(told).items()}
            return say(code, **values)


def _plain(value: object) -> str:
    """Say a number as short as it is, a generation with its dot, and the kind of heads."""
    if isinstance(value, tuple):
        return ".".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return say(f"heads.{value}") if value in ("attention", "key", "linear") else str(value)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"


__all__ = ["Asked", "PlanShown", "in_words", "show_plan"]
