"""A node's group in `gai node status`: where its gang stands, and the other rigs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from garage_ai.cli.group_words import say
from garage_ai.cli.reason_words import reason_in_words
from garage_ai.node.group.sharing import parts_of

if TYPE_CHECKING:
    from garage_ai.node.group.messages import Measured, Member
    from garage_ai.node.group.view import GroupView


def group_rows(group: "GroupView", me: str) -> Iterator[tuple[str, str]]:
    """Give a row for the gang, one for each other rig, and one for who was turned away."""
    phase = say(f"status.phase.{group.phase}")
    if group.plan is not None:
        phase = say("status.led", phase=phase, leader=group.plan.leader)
    yield say("status.group"), f"{group.name}: {phase}"
    part = _part(group, me)
    if part:
        yield say("status.part"), part
    measured = {link.node: link for link in group.links}
    for rig in group.members:
        if rig.node != me:
            yield say("status.rig"), _rig(rig, measured.get(rig.node))
    for team in sorted({tuple(sorted(team)) for rig in group.members for team in rig.avoids}):
        yield say("status.failed"), say("status.failed.team", rigs=", ".join(team))
    if group.refused:
        yield say("status.turned_away"), reason_in_words(group.refused)


def _part(group: "GroupView", me: str) -> str:
    """Say how much of what the gang earns is this rig's; empty where there is nobody to share."""
    plan = group.plan
    parts = parts_of(plan) if plan is not None else ()
    if plan is None or me not in plan.nodes or len(parts) < 2:
        return ""
    own = next(rig for rig in group.members if rig.node == me)
    said = "status.earns" if own.agreed else "status.unsigned"
    return say(said, parts=parts[plan.nodes.index(own.node)], whole=sum(parts))


def _rig(rig: "Member", link: "Measured | None") -> str:
    way = say("status.unmeasured")
    if link is not None:
        way = say("status.way", rtt_ms=link.rtt_ms, gbit=link.gbit)
    return f"{rig.node}: {say('status.lends' if rig.willing else 'status.keeps')}, {way}"


__all__ = ["group_rows"]
