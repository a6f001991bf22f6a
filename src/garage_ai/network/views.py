"""What is shown of a node or a model to whoever may see it. Pure."""

from collections import Counter
from collections.abc import Sequence

from garage_ai.network.admission import ImageList
from garage_ai.network.models import (
    Census,
    Measured,
    ModelView,
    Node,
    NodeState,
    NodeView,
    Replica,
)
from garage_ai.network.registry import Registry
from garage_ai.wire.ids import NodeId


def node_view(node: Node, images: ImageList, now: float) -> NodeView:
    """Show a node as it is at a moment."""
    beat = node.beat
    return NodeView(
        id=node.id,
        name=node.enrolled.name,
        member=node.enrolled.member,
        region=node.enrolled.region,
        trust=node.trust,
        sandbox=node.sandbox,
        limits=beat.limits if beat else False,
        bare_allowed=node.enrolled.bare_allowed,
        share=node.share,
        image=node.image,
        image_state=images.state(node.image),
        state=_state(node),
        reason=beat.reason if beat else "",
        refused=node.refused,
        models=beat.models if beat else (),
        inflight=_inflight(node),
        last_beat_age=now - node.last_beat if beat else None,
        clock_skew=node.clock_skew,
        agent=beat.agent if beat else "",
        free_memory=beat.free_memory if beat else 0,
        free_vram=beat.free_vram if beat else 0,
        energy=beat.energy if beat else None,
        public_key=node.enrolled.public_key,
        measured={
            each.digest: Measured(each.measured_speed, each.measured_ttft)
            for each in node.replicas.values()
        },
    )


def by_name(node: Node) -> tuple[str, NodeId]:
    """Give a node's place in a list."""
    return node.enrolled.name, node.id


def model_view(name: str, replicas: Sequence[Replica]) -> ModelView:
    """Show a model by those that serve it, at least one."""
    first = replicas[0]
    return ModelView(
        name,
        first.digest,
        first.served.kind,
        max(replica.served.context for replica in replicas),
        len(replicas),
        sum(replica.served.slots for replica in replicas),
    )


def census(registry: Registry) -> Census:
    """Count the nodes, without showing any."""
    states: Counter[NodeState] = Counter()
    inflight = 0
    for node in registry.nodes.values():
        states[_state(node)] += 1
        inflight += _inflight(node)
    return Census(states, inflight)


def _state(node: Node) -> NodeState:
    ready = [r for r in node.replicas.values() if r.served.engine == "ready"]
    full = node.state == "ready" and not any(replica.has_room for replica in ready)
    return "busy" if full else node.state


def _inflight(node: Node) -> int:
    return sum(replica.inflight for replica in node.replicas.values())


def warm_nodes(registry: Registry) -> set[NodeId]:
    """Name the nodes that others could be given now for a model of the catalogue."""
    return {
        replica.node.id
        for name, pool in registry.pools.items()
        for replica in pool
        if registry.names.digest(name) == replica.digest and replica.node.share != "own"
    }


__all__ = ["by_name", "census", "model_view", "node_view", "warm_nodes"]
