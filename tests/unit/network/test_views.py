"""What is counted of nodes says the same as what is shown of each."""

from collections import Counter

from tests.unit.network.conftest import BeatMaker

from garage_ai.network.admission import ImageList
from garage_ai.network.registry import Registry
from garage_ai.network.views import census, node_view
from garage_ai.wire.ids import NodeId


def test_the_census_agrees_with_the_views(registry: Registry, beat: BeatMaker) -> None:
    """A node without room is busy, one not heard is as it is shown."""
    registry.heard(NodeId("n0"), beat(slots=2), 1.0, 1000.0)
    registry.heard(NodeId("n1"), beat(slots=1), 1.0, 1000.0)
    for node in ("n0", "n1"):
        for replica in registry.nodes[NodeId(node)].replicas.values():
            replica.inflight = 1
    views = [node_view(node, ImageList(), 1.0) for node in registry.nodes.values()]
    states, inflight = census(registry)
    assert states == Counter(view.state for view in views)
    assert (inflight, states["ready"], states["busy"]) == (2, 1, 1)
