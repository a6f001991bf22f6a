"""From the rigs that are free to a gang, or why there is none. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from garage_ai.node.group.gang import Planner, Refusal
from garage_ai.node.group.messages import GangPlan, Member, Place
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
                return Refusal(
                    f"the group's own network is not set up on {', '.join(without)}: there, as "
                    "root, after each restart: gai node doctor --fix --data-dir FOLDER"
                )
            places = tuple(Place(each.node, each.tunnel) for each in chosen)
        return GangPlan(
            places, found.tensor, found.pipeline, found.context, found.slots, found.layers
        )

    return plan


def by_wish(tensor: int | None) -> Divide:
    """Divide as the owners wish, or one part to each rig: for rigs that compute on processors."""

    def divide(free: tuple[Member, ...]) -> Division | Refusal:
        wanted = tensor or max(len(free), 1)
        each = max(1, min((len(member.cards) for member in free), default=1))
        rigs = -(-wanted // each)
        if len(free) < rigs:
            return Refusal(f"{rigs} rigs are needed, and {len(free)} are there")
        return Division(tuple(str(member.node) for member in free[:rigs]), wanted)

    return divide


__all__ = ["Divide", "Division", "by_wish", "gang_planner"]
