"""How the rigs of a group divide a model, by their cards and by what lies between them. Pure."""

from collections.abc import Sequence
from typing import Final

from garage_ai import catalog
from garage_ai.catalog import (
    USUAL,
    GroupRefusal,
    Link,
    Obstacle,
    Quantisation,
    Rig,
    Shape,
    Wish,
    find_card,
    plan_group,
)
from garage_ai.catalog.groups import (
    CardTooOld,
    ExpertsTooNarrow,
    HeadsIndivisible,
    LinkTooNarrow,
    LinkUnmeasured,
    MemoryShort,
    NoCard,
    NoForm,
    ProcessorsInARow,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)
from garage_ai.node.engines.vllm_options import Lent
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Card, Member, Wished
from garage_ai.node.group.planning import Divide, Division, evenly, wished
from garage_ai.node.group.reasons import say

_GIB: Final = 1 << 30


def by_cards(shape: Shape, form: Quantisation) -> Divide:
    """Divide a model of this shape, whose files are in this form, as the planner finds best.

    Within what owners wish: of a context that is wished for nothing is given up, and more requests
    at a time than fit at that length wait their turn.
    """

    def divide(free: tuple[Member, ...]) -> Division | Refusal:
        wish = wished(free)
        if wish.tensor:
            return evenly(free)
        rigs = [Rig(member.node, tuple(map(_place, member.cards))) for member in free]
        found = plan_group(shape, [form], rigs, _links(free), _hope(wish))
        if isinstance(found, GroupRefusal):
            return Refusal(_reason(found.obstacles[0]))
        return Division(
            found.rigs,
            found.tensor,
            found.pipeline,
            found.context,
            wish.slots or found.sequences,
            found.layers if found.pipeline > 1 else (),
        )

    return divide


def _hope(wish: Wished) -> Wish:
    return Wish(
        wish.context or USUAL.context,
        wish.slots or USUAL.sequences,
        wish.context or USUAL.least,
    )


def cards_of(lent: Lent) -> tuple[Card, ...]:
    """Say what a PC lends, as the others are told of it."""
    return tuple(Card(card.name, card.room, card.compute or (0, 0)) for card in lent.cards)


def _place(card: Card) -> catalog.Place:
    known = find_card(card.name)
    return catalog.Place(card.name, card.room, known.bandwidth if known else None, card.compute)


def _links(free: Sequence[Member]) -> list[Link]:
    return [
        Link(member.node, link.node, link.gbit, link.rtt_ms)
        for member in free
        for link in member.links
    ]


def _reason(told: Obstacle) -> str:  # noqa: PLR0911 - one for each obstacle
    match told:
        case NoCard():
            return say("no_card")
        case NoForm():
            return say("no_form")
        case CardTooOld(rig=rig, form=form):
            return say("card_too_old", node=rig, words=form)
        case UnequalCards(rigs=rigs):
            return say("unequal_cards", words=", ".join(rigs))
        case HeadsIndivisible(heads=heads, tensor=tensor):
            return say("heads_indivisible", n=heads, m=tensor)
        case ExpertsTooNarrow(width=width, tensor=tensor, block=block):
            return say("experts_too_narrow", n=width, m=tensor, k=block)
        case TooManyStages(pipeline=pipeline, layers=layers):
            return say("too_many_stages", n=pipeline, m=layers)
        case ProcessorsInARow(pipeline=pipeline):
            return say("processors_in_a_row", n=pipeline)
        case LinkUnmeasured(one=one, other=other):
            return say("link_unmeasured", node=one, other=other)
        case TripTooLong(one=one, other=other, rtt_ms=rtt_ms, limit_ms=limit_ms):
            return say("trip_too_long", node=one, other=other, n=f"{rtt_ms:g}", m=f"{limit_ms:g}")
        case LinkTooNarrow(one=one, other=other, gbit=gbit, limit_gbit=limit):
            return say("link_too_narrow", node=one, other=other, n=f"{gbit:g}", m=f"{limit:g}")
        case MemoryShort(cards=cards, short=short):
            return say("memory_short", n=cards, m=f"{short / _GIB:.1f}")


__all__ = ["by_cards", "cards_of"]
