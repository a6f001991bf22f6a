"""From the rigs that are free to a gang, or why there is none. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from garage_ai.node.engines.vllm_plan import ON_PROCESSORS, dtype_of
from garage_ai.node.group.gang import Planner, Refusal
from garage_ai.node.group.messages import Dtype, GangPlan, Member, Place, Wished
from garage_ai.node.group.reasons import say
from garage_ai.wire.messages import DigestText


@dataclass(frozen=True, slots=True)
class Division:
    """How the work is divided, before the rigs have their places; `rigs` in the order of ranks."""

    rigs: tuple[str, ...]
    tensor: int
    pipeline: int = 1
    context: int = 0
    slots: int = 0
    layers: tuple[int, ...] = ()


Divide = Callable[[tuple[Member, ...]], Division | Refusal]


def gang_planner(digest: DigestText, divide: Divide) -> Planner:
    """Plan gangs of rigs that hold this model and, if there are several, can reach each other."""

    def plan(free: tuple[Member, ...]) -> GangPlan | Refusal:
        alike = tuple(each for each in free if each.digest == digest)
        found = divide(alike)
        if isinstance(found, Refusal):
            return found
        members = {each.node: each for each in alike}
        chosen = [members[name] for name in members if name in found.rigs]
        chosen.sort(key=lambda member: found.rigs.index(member.node))
        if len(chosen) == 1:
            places: tuple[Place, ...] = (Place(chosen[0].node),)
        else:
            without = [each.node for each in chosen if each.tunnel is None]
            if without:
                return Refusal(say("no_tunnel", words=", ".join(without)))
            places = tuple(Place(each.node, each.tunnel) for each in chosen)
        return GangPlan(
            places,
            found.tensor,
            found.pipeline,
            found.context,
            found.slots,
            found.layers,
            dtype_for(chosen),
        )

    return plan


def wished(free: Iterable[Member]) -> Wished:
    """Take the owners' wishes as one: of each the least that any of them asks for."""
    wishes = [member.wish for member in free]
    return Wished(
        _least(wish.context for wish in wishes),
        _least(wish.slots for wish in wishes),
        _least(wish.tensor for wish in wishes),
    )


def dtype_for(chosen: Iterable[Member]) -> Dtype:
    """Say how all ranks keep numbers, which have to be the same: as the oldest card can.

    How weights are quantised is no choice of anybody's: a gang has one digest, and its files say.
    """
    cards = [card for member in chosen for card in member.cards]
    if not cards:
        return ON_PROCESSORS
    return dtype_of(min(card.compute for card in cards))


def evenly(free: tuple[Member, ...]) -> Division | Refusal:
    """Divide as the owners wish, or one part to each rig: for rigs that compute on processors.

    Nothing is known of what a processor holds, nor is any slow for it: their owners' word decides.
    Rigs with cards are no part of it, whose division is the planner's (`by_cards`).
    """
    rigs = tuple(each for each in free if not each.cards)
    wish = wished(rigs)
    wanted = wish.tensor or max(len(rigs), 1)
    if len(rigs) < wanted:
        return Refusal(say("rigs_missing", n=wanted, m=len(rigs)))
    chosen = tuple(str(member.node) for member in rigs[:wanted])
    return Division(chosen, wanted, context=wish.context, slots=wish.slots)


def _least(wishes: Iterable[int]) -> int:
    return min((each for each in wishes if each), default=0)


__all__ = ["Divide", "Division", "dtype_for", "evenly", "gang_planner", "wished"]
