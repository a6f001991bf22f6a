"""How the rigs of a group divide a model, by their cards and by what lies between them. Pure."""

from collections.abc import Sequence

from garage_ai import catalog
from garage_ai.catalog import (
    USUAL,
    GroupFit,
    GroupRefusal,
    Link,
    Obstacle,
    Rig,
    Unweighed,
    Weighed,
    Wish,
    find_card,
    plan_group,
    plan_unweighed,
)
from garage_ai.catalog.group_layouts import Layout
from garage_ai.catalog.groups import (
    CardTooOld,
    ExpertsTooNarrow,
    HeadsIndivisible,
    LinkTooNarrow,
    LinkUnmeasured,
    MemoryShort,
    NoCard,
    NoForm,
    NoSuchSet,
    ProcessorsInARow,
    TooManyStages,
    TripTooLong,
    UnequalCards,
)
from garage_ai.node.engines.vllm_options import Lent
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Card, Member, Wished
from garage_ai.node.group.planning import Divide, Division, wished
from garage_ai.node.group.reasons import say


def by_cards(model: Weighed | Unweighed) -> Divide:
    """Divide a model as the planner finds best, or say what stands in the way.

    Within what owners wish: of a context that is wished for nothing is given up, more requests at a
    time than fit at that length wait their turn, and sets have as many cards as are wished for.
    Whatever is wished for, the planner refuses as ever.
    """

    def divide(free: tuple[Member, ...]) -> Division | Refusal:
        wish = wished(free)
        rigs = [Rig(member.node, tuple(map(_place, member.cards))) for member in free]
        links = _links(free)
        found: GroupFit | Layout | GroupRefusal
        if isinstance(model, Weighed):
            shape, form = model
            found = plan_group(shape, [form], rigs, links, _hope(wish), tensor=wish.tensor)
        else:
            found = plan_unweighed(model.heads, rigs, links, wish.tensor)
        if isinstance(found, GroupRefusal):
            return Refusal(_reason(found.obstacles[0]))
        return _division(found, wish)

    return divide


def _division(found: GroupFit | Layout, wish: Wished) -> Division:
    if isinstance(found, Layout):
        return Division(found.rigs, found.tensor, found.pipeline, wish.context, wish.slots)
    layers = found.layers if found.pipeline > 1 else ()
    slots = wish.slots or found.sequences
    return Division(found.rigs, found.tensor, found.pipeline, found.context, slots, layers)


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


def _reason(told: Obstacle) -> str:  # noqa: PLR0911, PLR0912 - one for each
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
        case NoSuchSet(tensor=tensor, cards=cards, rigs=held):
            return say("no_such_set", k=tensor, n=cards, m=held)
        case LinkUnmeasured(one=one, other=other):
            return say("link_unmeasured", node=one, other=other)
        case TripTooLong(one=one, other=other, rtt_ms=rtt_ms, limit_ms=limit_ms):
            return say("trip_too_long", node=one, other=other, n=f"{rtt_ms:g}", m=f"{limit_ms:g}")
        case LinkTooNarrow(one=one, other=other, gbit=gbit, limit_gbit=limit):
            return say("link_too_narrow", node=one, other=other, n=f"{gbit:g}", m=f"{limit:g}")
        case MemoryShort(cards=cards):
            return say("memory_short", n=cards, m=told.short_in_gib)


__all__ = ["by_cards", "cards_of"]
