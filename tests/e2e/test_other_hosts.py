"""A volunteer's PC in another network, behind a home router, joins over TLS with a token alone."""

import http.client
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.hosts import Host, home_network
from tests.parts.http_caller import Caller
from tests.parts.lent_engine import MODEL, Engine, Node
from tests.parts.product import Product

pytestmark = pytest.mark.system

ENROLMENT_FAILED = 4


@dataclass(frozen=True)
class Far:
    """A network that is open to others, a home elsewhere, and an engine on a PC in it."""

    product: Product
    host: Host
    engine: Engine

    @property
    def http(self) -> Caller:
        """A client on this machine that trusts the network's CA."""
        return self.product.http


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """Start all of it; no node has joined yet."""
    folder = tmp_path_factory.mktemp("public")
    with ExitStack() as stack:
        host = stack.enter_context(home_network())
        product = Product(folder, "--no-node", "--public", host.public)
        stack.callback(product.stop)
        product.start()
        engine = Engine(folder / "engine", "--chunk-delay", "0.02", before=host.inside)
        stack.callback(engine.stop)
        engine.start()
        yield Far(product, host, engine)


@pytest.fixture
def node(far: Far, tmp_path: Path) -> Iterator[Node]:
    """A node on that PC that has not joined yet; it is gone from the network after the test."""
    node = Node(tmp_path / "volunteer", far.product, far.engine, before=far.host.inside)
    yield node
    node.stop()
    far.http.ask("DELETE", f"/api/v1/nodes/{node.id}")


def test_the_network_is_open_over_tls_only(far: Far) -> None:
    """HTTPS with the network's own CA; who does not know the CA is warned, plain HTTP is no use."""
    assert far.product.url == f"https://{far.host.public}:{far.product.port}"
    assert far.http.get("/health/live").status == 200
    stranger = Caller(far.product.url, "")
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.get("/health/live")
    plain = Caller(far.product.url.replace("https", "http"), "")
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.get("/health/live")


def test_a_token_is_all_that_a_node_needs(far: Far, node: Node) -> None:
    """The CA's fingerprint is in it; the node enrols and serves over TLS through its router."""
    token = far.product.token()
    assert len(token.partition(".")[2]) == 64
    node.join(token)
    node.serving()
    with far.http.stream(MODEL) as stream:
        assert stream.rest().done
    assert far.http.chat(MODEL, "x" * 300_000).status == 200
    assert is_connected(far, far.product.nats_port)


def test_a_network_that_is_not_the_tokens_is_not_trusted(far: Far, tmp_path: Path) -> None:
    """With another fingerprint the node ends and keeps its token's secret to itself."""
    secret = far.product.token().partition(".")[0]
    stranger = Node(tmp_path / "stranger", far.product, far.engine, before=far.host.inside)
    stranger.join(f"{secret}.{'0' * 64}")
    try:
        assert stranger.ends() == ENROLMENT_FAILED
    finally:
        stranger.end()
    tokens = far.http.get("/api/v1/tokens").json()["data"]
    assert [each["redeemed_by"] for each in tokens].count(None) == 1


@pytest.mark.parametrize("how", ["REJECT", "DROP"])
@pytest.mark.timeout(120)
def test_where_the_nats_port_is_blocked_a_node_uses_wss(far: Far, node: Node, how: str) -> None:
    """A router that lets only HTTPS through, refusing or swallowing the rest: WSS does it too."""
    with far.host.blocked(far.product.nats_port, how):
        node.join()
        node.serving(45)
        assert is_connected(far, far.product.nats_port + 1)
        with far.http.stream(MODEL) as stream:
            assert stream.rest().done
        assert far.http.chat(MODEL, "x" * 300_000).status == 200


@pytest.mark.timeout(120)
def test_a_router_that_forgets_a_connection(far: Far, node: Node) -> None:
    """In the middle of a stream: a typed error within 8 s; the node comes back by itself."""
    node.join()
    node.serving()
    with far.http.stream(MODEL, max_tokens=5000) as stream:
        stream.content()
        with far.host.blocked(far.product.nats_port, "DROP"):
            ending = stream.rest()
            assert ending.took < 15
            assert ending.error == "node_lost"
            # Everything on the port is swallowed: what is left to the node is the WebSocket.
            node.serving(60)
    assert node.program.ended is None


def is_connected(far: Far, port: int) -> bool:
    """Tell whether the host holds a connection to a port of this machine."""
    listed = subprocess.run(
        [*far.host.inside, "ss", "-Htn", "state", "established", f"dport = :{port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return far.host.public in listed.stdout
