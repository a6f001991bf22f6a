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
    LinkTooNarrow,
    LinkUnmeasured,
    MemoryShort,
    TripTooLong,
    UnequalCards,
)
from garage_ai.node.engines.vllm_options import Lent
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Card, Member
from garage_ai.node.group.planning import Divide, Division

_GIB: Final = 1 << 30


def by_cards(shape: Shape, form: Quantisation, wish: Wish = USUAL) -> Divide:
    """Divide a model of this shape, whose files are in this form, as the planner finds best."""

    def divide(free: tuple[Member, ...]) -> Division | Refusal:
        rigs = [Rig(member.node, tuple(map(_place, member.cards))) for member in free]
        found = plan_group(shape, [form], rigs, _links(free), wish)
        if isinstance(found, GroupRefusal):
            return Refusal(_reason(found.obstacles[0]))
        return Division(
            found.rigs,
            found.tensor,
            found.pipeline,
            found.context,
            found.sequences,
            found.layers if found.pipeline > 1 else (),
        )

    return divide


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


def _reason(told: Obstacle) -> str:
    match told:
        case MemoryShort(cards=cards, short=short):
            return f"{cards} cards are {short / _GIB:.1f} GiB short each of what the model needs"
        case LinkUnmeasured(one=one, other=other):
            return f"{one} and {other} have not measured what lies between them"
        case TripTooLong(one=one, other=other, rtt_ms=rtt_ms, limit_ms=limit_ms):
            return f"{one} to {other} and back takes {rtt_ms:g} ms, more than {limit_ms:g}"
        case LinkTooNarrow(one=one, other=other, gbit=gbit, limit_gbit=limit_gbit):
            return f"{one} and {other} have {gbit:g} Gbit/s between them, less than {limit_gbit:g}"
        case UnequalCards(rigs=rigs):
            return f"the cards of {', '.join(rigs)} are not equal"
        case _:
            return f"the cards of the group cannot share the model: {told.__struct_config__.tag}"


__all__ = ["by_cards", "cards_of"]
