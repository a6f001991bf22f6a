"""A node's line to the network, through a relay: late, cut, lost, blocked, or by WebSocket only."""

from collections.abc import Callable

import pytest
from tests.e2e.conftest import MakeRelay
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.relay import Relay
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow

LOST = 15.0  # it is 8, and a busy machine takes its time
BACK = 60.0
"""Seconds to find a dead line out by two missed pings, 5 s apart, and to come back."""


def through(relay: Relay, lent: Lent) -> None:
    """Let the node reach NATS through the relay only."""
    assert lent.node.stop() == 0
    lent.node.dials(f"nats://127.0.0.1:{relay.port}")
    lent.node.run()
    lent.node.serving()
    # One that was tried and given up may still be on its way out.
    eventually("one connection", lambda: relay.connections == 1)


def test_a_slow_line(own: Lent, make_relay: MakeRelay) -> None:
    """With 100 ms each way everything works, only later."""
    relay = make_relay(own.product.nats_port)
    through(relay, own)
    relay.delay(0.1)
    with own.http.stream(MODEL) as stream:
        first = stream.content()
        ending = stream.rest()
    assert first
    assert ending.done
    assert ending.took < 20
    assert own.http.chat(MODEL, "x" * 1_000_000).status == 200


@pytest.mark.parametrize(
    "how",
    [
        Relay.cut,
        pytest.param(Relay.lose, marks=pytest.mark.slow),
        pytest.param(Relay.swallow, marks=pytest.mark.slow),
    ],
)
def test_a_line_that_breaks_in_the_middle_of_a_stream(
    own: Lent, make_relay: MakeRelay, how: Callable[[Relay], None]
) -> None:
    """Cut, half-open or blocked: a typed error within 8 s; the node comes back by itself."""
    relay = make_relay(own.product.nats_port)
    through(relay, own)
    own.engine.set(chunk_delay=0.05, chunks=10_000)
    with own.http.stream(MODEL) as stream:
        stream.content()
        how(relay)
        ending = stream.rest()
    assert ending.took < LOST
    assert (ending.error, ending.done, ending.broken) == ("node_lost", False, False)
    refused = own.http.chat(MODEL)
    assert (refused.status, refused.code) == (503, "no_node")
    own.engine.reset()
    relay.mend()
    own.node.serving(BACK)
    assert own.node.program.ended is None
    eventually("an engine that was let go", own.engine.is_idle, BACK)


def test_a_node_that_reaches_only_the_websocket(own: Lent) -> None:
    """Where TCP to NATS is closed the node falls back to WebSocket, and serves as well."""
    assert own.node.stop() == 0
    own.node.dials("nats://127.0.0.1:9", f"ws://127.0.0.1:{own.product.nats_port + 1}")
    own.node.run()
    own.node.serving()
    with own.http.stream(MODEL) as stream:
        assert stream.rest().done
    assert own.http.chat(MODEL, "x" * 1_000_000).status == 200
