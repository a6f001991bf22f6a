"""kill -9 of every process, idle and in the middle of a stream: the documented end, and healing."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.http_caller import Ending
from tests.parts.product import REAL, Part, Product
from tests.parts.waiting import eventually

from garage_ai.node.control import ask_agent
from garage_ai.node.folder import NodeFolder

pytestmark = pytest.mark.slow

HEALED = 60.0
"""Seconds after which everything must be as before; the agent starts and loads its model anew."""

LOST = 15.0  # it is 8, and a busy machine takes its time
"""Seconds after which a client must have heard of a loss."""

BACK = 20.0  # it is 10, likewise
"""Seconds after which a node must be back at a gateway that has come back."""

ENDLESS: dict[str, Any] = {"max_tokens": 2000, "logit_bias": {"2": -100}}
"""A stream that does not end by itself: the model may not say that it has finished."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A network with its real small model, to be hurt."""
    product = Product(tmp_path_factory.mktemp("rig"))
    product.start()
    yield product
    assert product.stop() == 0


def in_the_middle(product: Product, part: Part, what: signal.Signals) -> Ending:
    """Hurt a part while a stream runs, and give what became of the stream."""
    with product.http.stream(REAL, "Write a very long story.", **ENDLESS) as stream:
        for _ in range(3):
            stream.content()
        product.send(part, what)
        return stream.rest(20)


@pytest.mark.parametrize(
    ("part", "codes"),
    [
        ("engine", {"engine_error"}),
        ("agent", {"node_lost"}),
    ],
)
def test_killed_in_the_middle_of_a_stream(rig: Product, part: Part, codes: set[str]) -> None:
    """The stream ends in a typed error within 8 s, without [DONE]; then all heals by itself."""
    rig.serves()
    before = rig.pid(part)
    assert before is not None
    ending = in_the_middle(rig, part, signal.SIGKILL)
    assert ending.took < LOST
    assert ending.error in codes
    assert (ending.done, ending.broken) == (False, False)
    rig.serves(seconds=HEALED)
    assert rig.again(part, before)


def test_nats_killed_in_the_middle_of_a_stream(rig: Product) -> None:
    """Back in time, the stream goes on to its end; if not, it ends in a typed error within 8 s."""
    rig.serves()
    before = rig.pid("nats")
    assert before is not None
    asked = ENDLESS | {"max_tokens": 200}
    with rig.http.stream(REAL, "Write a very long story.", **asked) as stream:
        first = [stream.content() for _ in range(3)]
        rig.send("nats", signal.SIGKILL)
        ending = stream.rest(20)
    assert not ending.broken
    if ending.done:
        assert len(first) + len(ending.events) >= 200
    else:
        assert ending.error in {"node_lost", "nats_unavailable"}
        assert ending.took < LOST
    rig.serves(seconds=HEALED)
    assert rig.again("nats", before)


def test_the_gateway_killed_in_the_middle_of_a_stream(rig: Product) -> None:
    """The connection breaks off; the node is back within 10 s, as the node that it was."""
    rig.serves()
    [node] = rig.nodes()
    others: tuple[Part, ...] = ("agent", "engine", "nats")
    before = [rig.pid(part) for part in others]
    ending = in_the_middle(rig, "gateway", signal.SIGKILL)
    assert (ending.done, ending.error, ending.broken) == (False, None, True)
    eventually("a gateway", lambda: is_live(rig), 30)
    rig.serves(seconds=BACK)
    [again] = rig.nodes()
    assert again["id"] == node["id"]
    assert [rig.pid(part) for part in others] == before


@pytest.mark.slow
def test_what_a_dead_gateway_asked_for_is_given_up(rig: Product) -> None:
    """No slot is held for an answer that nobody waits for any more."""
    rig.serves()
    assert in_the_middle(rig, "gateway", signal.SIGKILL).broken
    # Asked of the agent at once: it may be given up before a slow gateway is back.
    assert ask_agent(NodeFolder(rig.data / "local-node").run, "status").running >= 1
    eventually("a gateway", lambda: is_live(rig), 30)
    rig.serves()
    eventually("an idle node", lambda: _running(rig) == 0, 30)


def is_live(product: Product) -> bool:
    """Tell whether the gateway answers at all."""
    try:
        return product.http.get("/health/live").status == 200
    except OSError:
        return False


def _running(product: Product) -> int:
    [node] = product.nodes()
    return sum(model["running"] for model in node["models"])


@pytest.mark.parametrize("part", ["engine", "agent", "nats", "gateway"])
def test_killed_while_idle(rig: Product, part: Part) -> None:
    """Requests work again by themselves, and the identity is the same."""
    rig.serves()
    [node] = rig.nodes()
    before = rig.kill(part)
    assert rig.again(part, before)
    rig.serves(seconds=HEALED)
    assert [each["id"] for each in rig.nodes()] == [node["id"]]


def test_a_node_that_is_stopped_in_the_middle_of_a_stream(rig: Product) -> None:
    """A frozen agent is found out within 8 s; thawed, it serves again as the same session."""
    rig.serves()
    before = rig.pid("agent")
    try:
        ending = in_the_middle(rig, "agent", signal.SIGSTOP)
        assert ending.took < LOST
        assert ending.error == "node_lost"
        assert (ending.done, ending.broken) == (False, False)
        refused = rig.http.chat(REAL)
        assert refused.status == 503
        assert refused.code in {"no_node", "model_not_found"}
    finally:
        rig.send("agent", signal.SIGCONT)
    rig.serves(seconds=HEALED)
    assert rig.pid("agent") == before
    eventually("an idle node", lambda: _running(rig) == 0)


def test_kill_9_of_gai_up_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    """Every process goes with it; the next start in the same folder has the same key and node."""
    product = Product(tmp_path)
    product.start()
    key, [node] = product.key, product.nodes()
    assert len(product.program.family()) >= 5
    with product.http.stream(REAL, "Write a very long story.", **ENDLESS) as stream:
        stream.content()
        product.kill("supervisor")
        assert stream.rest().broken
    eventually("the end of all", lambda: not product.program.family())
    product.stop()
    product.start()
    assert product.key == key
    assert [each["id"] for each in product.nodes()] == [node["id"]]
    product.serves()
    assert product.stop() == 0


def test_kill_9_of_gai_up_while_idle(tmp_path: Path) -> None:
    """Nothing stays behind."""
    product = Product(tmp_path, "--no-node")
    product.start()
    product.kill("supervisor")
    eventually("the end of all", lambda: not product.program.family())
    product.stop()
