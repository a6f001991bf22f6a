"""When a node that serves is measured anew."""

import pytest
from tests.unit.node.bench.test_history import measured

from garage_ai.node.bench.idle import was_measured
from garage_ai.node.bench.measure import Footing
from garage_ai.node.engines.port import Offer
from garage_ai.wire.ids import Digest

OFFER = Offer("m", Digest("sha256:" + "a" * 64), "m", context=4096, slots=8)
RUN = measured(10.0, engine_version="llamacpp 1", driver="570")


@pytest.mark.parametrize(
    ("footing", "known"),
    [
        (Footing("llamacpp 1", "570"), True),
        (Footing("llamacpp 2", "570"), False),
        (Footing("llamacpp 1", "580"), False),
        (Footing("", "570"), True),
        (Footing("llamacpp 1", ""), True),
    ],
)
def test_an_update_is_measured_anew(footing: Footing, known: bool) -> None:
    """Of the engine or of the driver; what nobody tells now is no update."""
    assert was_measured([RUN], "llamacpp", OFFER, footing) is known


def test_another_size_or_engine_was_not_measured() -> None:
    """Nor what has no history."""
    footing = Footing("llamacpp 1", "570")
    assert not was_measured([], "llamacpp", OFFER, footing)
    assert not was_measured([RUN], "vllm", OFFER, footing)
    assert not was_measured([measured(10.0, slots=4)], "llamacpp", OFFER, footing)
