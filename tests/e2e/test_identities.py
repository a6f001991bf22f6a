"""Nodes that are removed, doubled, asked to end, or whose clock is wrong."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeLent
from tests.parts.lent_engine import MODEL, Lent, Node
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow

# Exit statuses of an agent that may not, or need not, go on; owners' scripts know them.
ENROLMENT_FAILED, ALREADY_RUNNING, SUPERSEDED, REMOVED = 4, 6, 7, 8

CUT_OFF = 15.0  # it is 5, and a busy machine takes its time
"""Seconds after which a removed node must have ended."""

MakeNode = Callable[[str, Lent], Node]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """Make further nodes for an engine; whatever they do, they end with the test."""
    with ExitStack() as stack:

        def make(name: str, lent: Lent) -> Node:
            node = Node(tmp_path / name, lent.product, lent.engine)
            stack.callback(node.end)
            return node

        yield make


def test_a_removed_node_is_cut_off_for_good(own: Lent) -> None:
    """Within 5 s, in the middle of its work, and also after the NATS server was killed."""
    node, name = own.node, own.node.id
    own.engine.set(chunk_delay=0.02, chunks=10_000)
    with own.http.stream(MODEL) as stream:
        stream.content()
        removed = own.product.gai("node", "remove", name)
        assert removed == {"id": name, "cut_off": True}
        assert node.ends(CUT_OFF) == REMOVED
        assert stream.rest().error == "node_lost"
    eventually("an engine that was let go", own.engine.is_idle, 20)
    assert not node.seen
    assert own.http.chat(MODEL).code in {"no_node", "model_not_found"}

    before = own.product.kill("nats")
    own.product.again("nats", before)
    node.run()
    assert node.ends() == REMOVED
    assert not node.seen
    assert own.http.ask("DELETE", f"/api/v1/nodes/{name}").status == 200  # once more is no harm


def test_of_two_agents_with_one_identity_the_newer_serves(own: Lent, make_node: MakeNode) -> None:
    """A copied folder takes over; the older agent stops and says why."""
    copied = make_node("copied", own)
    shutil.copytree(own.node.data, copied.data, ignore=shutil.ignore_patterns("run"))
    copied.run()
    assert own.node.ends() == SUPERSEDED
    assert "identity" in own.node.program.output()
    copied.serving()
    assert copied.program.ended is None
    assert copied.id == own.node.id
    assert copied.stop() == 0


def test_two_agents_in_one_folder(own: Lent) -> None:
    """The second ends at once and names the first, which goes on."""
    second = Node(own.node.folder, own.product, own.engine, name="second")
    second.run()
    try:
        assert second.ends() == ALREADY_RUNNING
        assert str(own.node.program.pid) in second.program.output()
    finally:
        second.end()
    assert own.http.chat(MODEL).status == 200


def test_a_token_is_good_for_one_node(own: Lent, make_node: MakeNode) -> None:
    """A second node with the same token is told so and ends."""
    token = own.product.token()
    first, second = make_node("first", own), make_node("second", own)
    first.join(token)
    first.serving()
    second.join(token)
    assert second.ends() == ENROLMENT_FAILED
    assert not second.seen
    assert first.stop() == 0
    own.http.ask("DELETE", f"/api/v1/nodes/{first.id}")


@pytest.mark.parametrize("skew", [-86_400, 86_400])
def test_a_node_whose_clock_is_a_day_off(make_lent: MakeLent, tmp_path: Path, skew: int) -> None:
    """It enrols and serves all the same; the operator sees the skew, and its owner is told."""
    # The agent runs as installed, in a Python whose clock is wrong from its first moment.
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(
        f"import time\n_right = time.time\ntime.time = lambda: _right() + {skew}\n"
    )
    lent = make_lent("wrong", environment={"PYTHONPATH": str(clock)})
    assert abs(lent.node.seen["clock_skew"] - skew) < 30
    eventually("a word to the owner", lambda: "clock_wrong" in lent.node.program.output())
    with lent.http.stream(MODEL) as stream:
        assert stream.rest().done


def test_a_node_that_is_asked_to_end_finishes_its_work(own: Lent) -> None:
    """SIGTERM: what runs comes whole, nothing new is taken, and it ends with 0."""
    own.engine.set(chunk_delay=0.05, chunks=1000)
    with own.http.stream(MODEL) as stream:
        stream.content()
        own.node.program.signal(signal.SIGTERM)
        eventually("a draining node", lambda: own.node.seen["state"] == "draining", 20)
        assert own.http.chat(MODEL).code == "no_node"
        own.engine.set(chunk_delay=0.0)  # it goes on until all this was seen, and then ends
        ending = stream.rest()
    assert ending.done
    assert ending.error is None
    assert own.node.ends() == 0
