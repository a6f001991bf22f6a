"""Names of models: which a volunteer may serve, and who decides."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parts.lent_engine import Engine, Lent, Node
from tests.parts.product import Product
from tests.parts.waiting import eventually

from garage_ai.catalog import DEFAULT_MODEL

pytestmark = pytest.mark.slow


@pytest.fixture
def pretender(yard: Product, tmp_path: Path) -> Iterator[Lent]:
    """A volunteer whose own engine bears the name of a model in the catalogue."""
    with ExitStack() as stack:
        engine = Engine(tmp_path / "engine", "--models", DEFAULT_MODEL)
        stack.callback(engine.stop)
        engine.start()
        node = Node(tmp_path / "volunteer", yard, engine, model=DEFAULT_MODEL)
        stack.callback(node.stop)
        node.join()
        yield Lent(yard, node, engine)
        yard.http.ask("DELETE", f"/api/v1/nodes/{node.id}")


def test_a_catalogue_models_name_waits_for_an_administrator(pretender: Lent) -> None:
    """Until it is approved nobody is served by it, and the volunteer is told why."""
    eventually("a claim", lambda: claims(pretender))
    [claim] = claims(pretender)
    assert (claim["name"], claim["state"]) == (DEFAULT_MODEL, "pending")
    node = pretender.node
    eventually("a word to the owner", lambda: "model_name_taken" in node.program.output())
    refused = pretender.http.chat(DEFAULT_MODEL)
    assert (refused.status, refused.code) == (503, "no_node")
    product = pretender.product
    told = product.gai("node", "names")
    [waits] = [each for each in told if each["name"] == claim["name"]]
    assert (waits["member"], waits["state"]) == (claim["member"], "pending")
    assert product.gai("node", "approve", claim["name"], claim["member"])["state"] == "approved"
    product.serves(DEFAULT_MODEL)


def test_of_two_members_the_first_has_a_name(yard: Product, tmp_path: Path) -> None:
    """The second serves under it when an administrator says so, and no sooner."""
    with ExitStack() as stack:
        members = [yard.gai("member", "create", "--name", name)["id"] for name in ("Anna", "Bo")]
        listed = [each["id"] for each in yard.gai("member", "list")]
        assert set(members) < set(listed)
        nodes = [_lent_by(member, yard, tmp_path / member, stack) for member in members]

        def states() -> list[tuple[str, str]]:
            found = yard.http.get("/api/v1/models").json()["claims"]
            return [(each["member"], each["state"]) for each in found if each["name"] == "shared"]

        first, second = [(members[0], "approved")], [(members[1], "pending")]
        eventually("both claims", lambda: states() == first + second)
        said = nodes[1].program.output
        eventually("a word to the second", lambda: "model_name_taken" in said())
        assert _nodes_of(yard, "shared") == 1
        key = yard.gai("key", "create", "--name", "test", "--member", members[1])
        assert yard.http.get("/api/v1/keys").json()["data"][-1]["member"] == members[1]
        with yard.client(key["key"]) as client:
            client.chat.completions.create(
                model="shared", messages=[{"role": "user", "content": "Hi"}]
            )
        eventually("her record", lambda: yard.records(key["id"]), 20)
        assert yard.records(key["id"])[0]["member"] == members[1]
        approved = {"name": "shared", "member": members[1]}
        assert yard.http.ask("POST", "/api/v1/models/approve", approved).status == 200
        eventually("both in one model", lambda: _nodes_of(yard, "shared") == 2)
        assert {each["member"] for each in yard.nodes()} >= set(members)


def _lent_by(member: str, yard: Product, folder: Path, stack: ExitStack) -> Node:
    engine = Engine(folder / "engine", "--models", "shared")
    stack.callback(engine.stop)
    engine.start()
    node = Node(folder / "volunteer", yard, engine, model="shared")
    stack.callback(lambda: yard.http.ask("DELETE", f"/api/v1/nodes/{node.id}"))
    stack.callback(node.stop)
    node.join(yard.gai("node", "token", "--member", member)["token"])
    eventually("its claim", lambda: _claimed(yard, member))
    return node


def _claimed(yard: Product, member: str) -> bool:
    return any(
        each["member"] == member for each in yard.http.get("/api/v1/models").json()["claims"]
    )


def _nodes_of(yard: Product, name: str) -> int:
    listed = yard.http.get("/v1/models").json()["data"]
    return sum(each["gai"]["nodes"] for each in listed if each["id"] == name)


def claims(lent: Lent) -> list[dict[str, str]]:
    """List who claims the name."""
    listed = lent.http.get("/api/v1/models").json()["claims"]
    return [claim for claim in listed if claim["name"] == DEFAULT_MODEL]


def test_the_alias_goes_to_what_is_served(own: Lent) -> None:
    """`garage-chat` is a volunteer's model where there is no better one; usage names that one."""
    answer = own.http.chat("garage-chat", max_tokens=2)
    assert answer.status == 200
    listed = {model["id"]: model for model in own.http.get("/v1/models").json()["data"]}
    assert listed["garage-chat"]["gai"]["alias_of"] == "mock"
    request = answer.headers["x-request-id"]

    def named() -> list[str]:
        records = own.product.records()
        return [each["model"] for each in records if each["request_id"] == request]

    assert eventually("the record", named, 20) == ["mock"]
