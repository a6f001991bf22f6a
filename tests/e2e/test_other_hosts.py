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
from tests.parts.waiting import eventually

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Far:
    """A public network here, and a home elsewhere with an engine in it."""

    product: Product
    host: Host
    node: Node
    engine: Engine


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """Start both; the node has not joined yet."""
    folder = tmp_path_factory.mktemp("public")
    with ExitStack() as stack:
        host = stack.enter_context(home_network())
        product = Product(folder, "--no-node", "--public", host.public)
        stack.callback(product.stop)
        product.start()
        engine = Engine(folder / "engine", before=host.inside)
        stack.callback(engine.stop)
        engine.start()
        node = Node(folder / "volunteer", product, engine, before=host.inside)
        stack.callback(node.stop)
        yield Far(product, host, node, engine)


def test_the_network_is_open_over_tls_only(far: Far) -> None:
    """HTTPS with the network's own CA; who does not know the CA is warned, plain HTTP is no use."""
    assert far.product.url == f"https://{far.host.public}:{far.product.port}"
    assert far.product.http.get("/health/live").status == 200
    stranger = Caller(far.product.url, "")
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.get("/health/live")
    plain = Caller(far.product.url.replace("https", "http"), "")
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.get("/health/live")


def test_a_token_is_all_that_a_node_needs(far: Far) -> None:
    """The CA's fingerprint is in it; the node enrols and serves over TLS through its router."""
    token = far.product.token()
    assert len(token.partition(".")[2]) == 64
    far.node.join(token)
    far.node.serving(20)
    with far.product.http.stream(MODEL) as stream:
        assert stream.rest().done
    assert _connected_to(far, far.product.nats_port)


def test_a_token_of_another_network_is_not_trusted(far: Far, tmp_path: Path) -> None:
    """With a wrong fingerprint the node says nothing secret and ends."""
    secret = far.product.token().partition(".")[0]
    stranger = Node(tmp_path / "stranger", far.product, far.engine, before=far.host.inside)
    stranger.join(f"{secret}.{'0' * 64}")
    try:
        eventually("its end", lambda: stranger.program.ended is not None, 15)
        assert stranger.program.ended == 4
        assert secret not in far.product.log("gateway")
    finally:
        stranger.program.end_all()


@pytest.mark.parametrize("how", ["REJECT", "DROP"])
@pytest.mark.timeout(120)
def test_where_the_nats_port_is_blocked_a_node_uses_wss(far: Far, how: str) -> None:
    """The router lets only the WebSocket's port through; the node falls back to it and serves."""
    far.node.stop()
    with far.host.blocked(far.product.nats_port, how):
        far.node.run()
        far.node.serving(45)
        assert _connected_to(far, far.product.nats_port + 1)
        with far.product.http.stream(MODEL) as stream:
            assert stream.rest().done
        assert far.product.http.chat(MODEL, "x" * 300_000).status == 200


def _connected_to(far: Far, port: int) -> bool:
    """Tell whether the host holds a connection to a port of this machine."""
    listed = subprocess.run(
        [*far.host.inside, "ss", "-Htn", "state", "established", f"dport = :{port}"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return far.host.public in listed.stdout
