"""Parts that the tests of the network share."""

from collections.abc import Callable

import pytest

from garage_ai.network.models import EnrolledNode
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.registry import Registry
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed

SMALL = KnownModel("small", Digest("sha256:" + "a" * 64), "chat", 8192, rank=10)
LARGE = KnownModel("large", Digest("sha256:" + "b" * 64), "chat", 8192, rank=90)

BUILT = EngineImage("sha256:" + "1" * 64, "sha256:" + "2" * 64, "debian@sha256:" + "3" * 64)

BeatMaker = Callable[..., Beat]


@pytest.fixture
def names() -> Names:
    """A catalogue of two chat models."""
    return Names([SMALL, LARGE])


@pytest.fixture
def registry(names: Names) -> Registry:
    """Three enrolled nodes that have not been heard yet."""
    registry = Registry(names)
    for number, region in enumerate(["SE-AB", "SE-O", None]):
        registry.enrol(EnrolledNode(NodeId(f"n{number}"), f"mbr_{number}", f"pc{number}", region))
    return registry


@pytest.fixture
def beat() -> BeatMaker:
    """Make beats of a node that serves the small model."""

    def make(
        seq: int = 0,
        *,
        session: str = "s1",
        state: str = "ready",
        model: KnownModel = SMALL,
        slots: int = 2,
        running: int = 0,
        engine: str = "ready",
        sent_at: float = 1000.0,
        speed: float = 0.0,
        versions: tuple[int, ...] = (1,),
        sandbox: str = "podman",
        limits: bool = True,
        image: EngineImage | None = BUILT,
        agent: str = "0.1.0",
    ) -> Beat:
        served = ModelServed(
            model.name,
            model.digest,
            slots=slots,
            running=running,
            engine=engine,
            decode_speed=speed,
        )
        return Beat(
            SessionId(session),
            seq,
            sent_at,
            state,
            (served,),
            versions,
            sandbox=sandbox,
            limits=limits,
            image=image,
            agent=agent,
        )

    return make
