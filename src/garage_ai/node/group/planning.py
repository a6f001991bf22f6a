"""From the rigs that are free to a gang, or why there is none. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from garage_ai.node.engines.vllm_plan import ON_PROCESSORS, dtype_of
from garage_ai.node.group.gang import Planner, Refusal
from garage_ai.node.group.messages import Dtype, GangPlan, Member, Place, Wished
from garage_ai.node.group.reasons import say
from garage_ai.wire.ids import NodeId
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
    """Plan gangs of rigs that hold this model and, if there are several, can reach each other.

    Where the best of them cannot, those that can are next, and then each that is for itself.
    """

    @around_failures
    def plan(free: tuple[Member, ...]) -> GangPlan | Refusal:
        alike = tuple(each for each in free if each.digest == digest)
        found = divide(alike)
        if isinstance(found, Refusal):
            return found
        unreached = _unreached(found, alike)
        if not unreached:
            return _placed(found, alike)
        reached = tuple(each for each in alike if each.tunnel is not None)
        for some in (reached, *((each,) for each in alike if each.tunnel is None)):
            instead = divide(some)
            if not isinstance(instead, Refusal):
                return _placed(instead, some)
        return Refusal(say("no_tunnel", words=", ".join(unreached)))

    return plan


def around_failures(plan: Planner) -> Planner:
    """Plan without a team that has failed time after time, as long as there is another way."""

    def instead(free: tuple[Member, ...]) -> GangPlan | Refusal:
        avoided = {frozenset(team): team for member in free for team in member.avoids}
        found = plan(free)
        if isinstance(found, Refusal):
            return found
        for node in avoided.get(frozenset(found.nodes), ()):
            other = plan(tuple(each for each in free if each.node != node))
            if isinstance(other, GangPlan) and frozenset(other.nodes) not in avoided:
                return other
        return found

    return instead


def _unreached(found: Division, members: Iterable[Member]) -> list[NodeId]:
    """Name the rigs that the others would not reach."""
    if len(found.rigs) == 1:
        return []
    return [each.node for each in members if each.node in found.rigs and each.tunnel is None]


def _placed(found: Division, members: Iterable[Member]) -> GangPlan:
    """Give the rigs their places."""
    chosen = [each for each in members if each.node in found.rigs]
    chosen.sort(key=lambda member: found.rigs.index(member.node))
    alone = len(chosen) == 1
    return GangPlan(
        tuple([Place(each.node, None if alone else each.tunnel) for each in chosen]),
        found.tensor,
        found.pipeline,
        found.context,
        found.slots,
        found.layers,
        dtype_for(chosen),
    )


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


__all__ = ["Divide", "Division", "around_failures", "dtype_for", "evenly", "gang_planner", "wished"]
