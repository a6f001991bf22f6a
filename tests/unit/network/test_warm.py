"""Which nodes are warm: those that others could be given now, for a model that is known."""

from dataclasses import replace

import msgspec
from tests.unit.network.conftest import SMALL, BeatMaker

from garage_ai.network.registry import Registry
from garage_ai.network.views import warm_nodes
from garage_ai.wire.ids import NodeId

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")


def test_a_node_that_is_ready_is_warm(registry: Registry, beat: BeatMaker) -> None:
    """Not one whose engine loads, nor one that has not been heard."""
    registry.heard(N0, beat(), 1.0, 1000.0)
    registry.heard(N1, beat(engine="loading"), 1.0, 1000.0)
    assert warm_nodes(registry) == {N0}


def test_who_keeps_the_node_for_himself_is_not_warm(registry: Registry, beat: BeatMaker) -> None:
    """A stipend is for being there for others."""
    registry.heard(N0, msgspec.structs.replace(beat(), share="own"), 1.0, 1000.0)
    registry.heard(N1, msgspec.structs.replace(beat(), share="members"), 1.0, 1000.0)
    assert warm_nodes(registry) == {N1}


def test_a_model_that_only_its_owner_knows_is_not_warm(registry: Registry, beat: BeatMaker) -> None:
    """Nobody can say what it should reach, so nothing is paid for waiting with it."""
    own = replace(SMALL, name="mine")
    registry.heard(N0, beat(model=own), 1.0, 1000.0)
    registry.heard(N2, beat(), 1.0, 1000.0)
    assert warm_nodes(registry) == {N2}
