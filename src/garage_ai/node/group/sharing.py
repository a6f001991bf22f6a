"""What each rig's part of a gang is: by layers and cards, as the plan that runs has them. Pure.

All ranks of a gang live equally long and take part in every token, so time has no say beside what
is held. A plan that promised a rig more than its cards take would not run, and one PC that came as
two rigs would hold no more: nothing here is a rig's own word.
"""

from math import gcd

from garage_ai.node.group.messages import Epoch, GangPlan
from garage_ai.wire.gangs import Rig, Terms
from garage_ai.wire.messages import DigestText


def parts_of(plan: GangPlan) -> tuple[int, ...]:
    """Give each rig's parts, in the order of ranks; none for a plan that no engine could run.

    A card counts the layers of its stage: those that share a stage hold equally much of each. So
    two cards with 30 layers each beside two with 18 have 5 parts to 3.
    """
    ranks, rigs = plan.tensor * plan.pipeline, len(plan.places)
    layers = plan.layers or (1,) * plan.pipeline
    if ranks % rigs or len(layers) != plan.pipeline:
        return ()
    cards = ranks // rigs
    held = [layers[rank // plan.tensor] for rank in range(ranks)]
    sums = [sum(held[first : first + cards]) for first in range(0, ranks, cards)]
    return tuple([each // gcd(*sums) for each in sums])


def terms_of(plan: GangPlan, epoch: Epoch, digest: DigestText) -> Terms | None:
    """Say how a gang shares; None where there is nobody to share with, or no sense in it."""
    parts = parts_of(plan)
    if len(plan.places) < 2 or not parts:
        return None
    rigs = tuple([Rig(node, each) for node, each in zip(plan.nodes, parts, strict=True)])
    return Terms(plan.leader, epoch.number, digest, rigs)


__all__ = ["parts_of", "terms_of"]
