"""Whom an owner lends his PC to: two volunteers who are two members."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.parts.http_caller import Caller
from tests.parts.lent_engine import Node
from tests.parts.product import Product
from tests.parts.program import GAI
from tests.parts.waiting import eventually

from garage_ai.storage import OPERATOR

pytestmark = pytest.mark.slow

MODEL = "smollm2-135m-instruct"
"""One of the catalogue: a name of an owner's own server belongs to one member alone."""

MakeNode = Callable[[str], Node]
Two = tuple[tuple[Node, Caller], tuple[Node, Caller]]


def member(product: Product, name: str) -> str:
    """Make a member."""
    made = product.http.ask("POST", "/api/v1/members", {"name": name})
    assert made.status == 201, made.body
    return str(made.json()["id"])


def limits(node: Node, *options: str) -> dict[str, Any]:
    """Run `gai node limits` as the node's owner."""
    argv = [str(GAI), "node", "limits", *options, "--data-dir", str(node.data), "--json"]
    done = subprocess.run(argv, env=node.environment, capture_output=True, timeout=60, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def share(node: Node, whom: str) -> None:
    """Change whom it is lent to while it runs, and wait until the network has heard."""
    assert limits(node, "--share", whom)["share"] == whom
    eventually("the network to hear", lambda: node.seen["share"] == whom, 20)


@pytest.fixture
def make_node(yard: Product, tmp_path: Path) -> Iterator[MakeNode]:
    """Make nodes of a member that run the real small model; gone after the test."""
    with ExitStack() as stack:

        def make(who: str) -> Node:
            node = Node(tmp_path / who, yard, None, model=MODEL, slots=2)
            stack.callback(_leave, node)
            node.join(yard.token(member=who, bare_allowed=True))
            node.serving(60)
            return node

        yield make


def _leave(node: Node) -> None:
    node.stop()
    node.product.http.ask("DELETE", f"/api/v1/nodes/{node.id}")


@pytest.fixture
def two(yard: Product, make_node: MakeNode) -> Two:
    """Two members, each with a node and a key."""

    def with_key(who: str) -> tuple[Node, Caller]:
        return make_node(who), yard.http.with_key(yard.new_key(member=who)["key"])

    return with_key(member(yard, "Anna")), with_key(member(yard, "Bo"))


def by(http: Caller, times: int = 6) -> set[str]:
    """Ask some times and tell which nodes answered."""
    answers = [http.chat(MODEL, max_tokens=2) for _ in range(times)]
    assert [answer.status for answer in answers] == [200] * times
    return {answer.headers["x-gai-node"] for answer in answers}


def nobody(http: Caller) -> bool:
    """Tell whether there is no node for who asks."""
    answer = http.chat(MODEL, max_tokens=2)
    return (answer.status, answer.json().get("error", {}).get("code")) == (503, "no_node")


def test_members_get_their_own_nodes_first(two: Two, yard: Product) -> None:
    """Each is served by his own while both are free; the operator's keys by either."""
    for node, http in two:
        assert by(http) == {node.id}
    everybody = {node.id for node, _ in two}
    eventually("an answer of both", lambda: by(yard.http) == everybody, 20)


def test_a_node_can_be_lent_to_fewer(two: Two, yard: Product) -> None:
    """To members only, or to nobody else, and while it runs; who is left with none is told so."""
    (annas, anna), (bos, bo) = two
    share(annas, "members")
    assert by(yard.http) == {bos.id}
    assert by(anna) == {annas.id}
    share(bos, "own")
    assert nobody(yard.http)
    assert by(bo) == {bos.id}
    bos.stop()
    eventually("Anna's node for Bo", lambda: by(bo, 1) == {annas.id})
    share(annas, "own")
    assert nobody(bo)
    share(annas, "all")
    assert by(yard.http) == {annas.id}


def test_it_is_kept_over_a_restart(yard: Product, make_node: MakeNode) -> None:
    """`--share` at the start is what `gai node limits` shows, until the owner says otherwise."""
    node = make_node(OPERATOR)
    node.stop()
    node.run("--share", "own")
    eventually("the network to hear", lambda: node.seen.get("share") == "own", 30)
    node.stop()
    node.run()
    node.serving(60)
    assert node.seen["share"] == "own"
    assert limits(node)["share"] == "own"
    assert by(yard.http) == {node.id}
