"""Which node is asked to make an engine for one job alone. Pure.

Chat comes first, by three rules: of a model's nodes at most as many are dedicated as are left to
everybody, so never the last one; none is asked while a chat waits for the model; and what is
dedicated goes back once a chat waits, or nobody else is left to it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from garage_ai.network.models import Node, Replica
from garage_ai.network.registry import Registry
from garage_ai.network.router import relative_load
from garage_ai.network.sharing import serves
from garage_ai.wire.ids import NodeId

Obstacle = Literal["no_node", "not_possible", "not_for_you", "chat_first", "refused"]

IN_WORDS: Final[dict[Obstacle, str]] = {
    "no_node": "No node serves the model just now.",
    "not_possible": "No node that serves the model makes engines for one batch alone: "
    "that takes a sandbox, a new agent and its owner's leave.",
    "not_for_you": "Nodes that could do it are in no region you may use, or not lent to you.",
    "chat_first": "Every node that could do it is needed for chats, or for other batches.",
    "refused": "A node was asked and did not do it; others are asked, or the same one later.",
}
"""Why no engine is made for a job, in the order in which it is found out."""


@dataclass(frozen=True, slots=True)
class Job:
    """Who wants an engine alone: for which model (its served name), and where it may be.

    `regions` None: anywhere.
    """

    id: str
    model: str
    member: str
    regions: frozenset[str] | None = None


def holders(registry: Registry, job: str) -> list[Node]:
    """Give the nodes that serve a job alone, or are about to."""
    return [node for node in registry.nodes.values() if node.job == job and node.state != "gone"]


def chat_needs(registry: Registry, model: str, *, chat_waits: bool) -> bool:
    """Tell whether a dedicated node of a model has to go back to everybody."""
    return chat_waits or registry.pool(model) is None


def candidate(
    registry: Registry,
    job: Job,
    *,
    chat_waits: bool,
    asked: int = 0,
    refused: Collection[NodeId] = (),
    now: float,
) -> Replica | Obstacle:
    """Choose the idlest node that can make an engine for a job, or say why there is none.

    `asked` nodes have not answered yet; `refused` are left alone.
    """
    replicas: list[Replica] = list(registry.pool(job.model) or ())
    if not replicas:
        return "no_node"
    able = [each for each in replicas if _is_able(each.node)]
    if not able:
        return "not_possible"
    able = [each for each in able if _is_for(each.node, job)]
    if not able:
        return "not_for_you"
    if chat_waits or len(replicas) - 1 < _dedicated(registry, job.model) + asked + 1:
        return "chat_first"
    able = [e for e in able if e.node.id not in refused and e.node.breaker.allows(now)]
    idlest: Replica | None = min(able, key=_idleness, default=None)
    return idlest if idlest is not None else "refused"


def _is_able(node: Node) -> bool:
    return node.beat is not None and node.beat.dedicates and node.sandbox != "none"


def _is_for(node: Node, job: Job) -> bool:
    allowed = job.regions is None or node.enrolled.region in job.regions
    return allowed and serves(node, job.member)


def _dedicated(registry: Registry, model: str) -> int:
    """Count the nodes of a model that are not everybody's."""
    return sum(
        bool(node.job) and any(each.name == model for each in node.replicas.values())
        for node in registry.nodes.values()
        if node.state != "gone"
    )


def _idleness(replica: Replica) -> tuple[float, str]:
    return relative_load(replica), replica.node.id


__all__ = ["IN_WORDS", "Job", "Obstacle", "candidate", "chat_needs", "holders"]
