"""Off loopback means TLS."""

from contextlib import closing
from pathlib import Path

import pytest

from garage_ai.gateway.listening import (
    PortUnavailable,
    TlsNeeded,
    TlsUnusable,
    bind,
    nats_tls,
    server_tls,
)
from garage_ai.settings import GatewaySettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    """On loopback plain HTTP is fine."""
    assert server_tls(GatewaySettings(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])  # noqa: S104
def test_elsewhere_needs_tls(host: str) -> None:
    """Beyond loopback the gateway refuses to go without TLS, unless told so."""
    with pytest.raises(TlsNeeded, match="GAI_TLS_CERT"):
        server_tls(GatewaySettings(host=host))
    assert server_tls(GatewaySettings(host=host, insecure=True)) is None


def test_half_a_pair(tmp_path: Path) -> None:
    """A certificate without its key, or files that hold neither, stop the start."""
    nothing = tmp_path / "empty.pem"
    nothing.touch()
    with pytest.raises(TlsUnusable):
        server_tls(GatewaySettings(tls_cert=nothing))
    with pytest.raises(TlsUnusable):
        server_tls(GatewaySettings(tls_cert=nothing, tls_key=nothing))
    with pytest.raises(TlsUnusable):
        nats_tls(["tls://127.0.0.1:1"], tmp_path / "missing.pem")


def test_nats_without_tls() -> None:
    """Plain addresses need no certificates."""
    assert nats_tls(["nats://127.0.0.1:4222", "ws://127.0.0.1:4223"], None) is None
    assert nats_tls(["nats://127.0.0.1:4222", "wss://127.0.0.1:4223"], None) is not None


def test_a_port_in_use() -> None:
    """Somebody else's port is named."""
    with closing(bind("127.0.0.1", 0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=str(port)):
            bind("127.0.0.1", port)
