"""A nats-server open to others: TLS and WSS with the network's own CA, seen from a node."""

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.integration.conftest import MakeNats
from tests.parts.credentials import NODE, OTHER, REGION, Told, node_credentials
from tests.parts.nats import NatsProcess
from tests.parts.waiting import eventually

from garage_ai.local.renewal import Renewal
from garage_ai.local.tls import Certificates, own_certificates, server_context
from garage_ai.network.authority import Authority, UserCredentials
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.wire import subjects
from garage_ai.wire.connection import Backoff, Connection, Message, connect
from garage_ai.wire.ids import GatewayId
from garage_ai.wire.link_errors import LinkError, Refused, TlsFailed
from garage_ai.wire.trust import (
    CA_PATH,
    CaUnavailable,
    WrongFingerprint,
    fetch_ca,
    pinned_context,
    public_context,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An own CA with a certificate for loopback and a public name."""
    return own_certificates(tmp_path / "tls", "garage.example")


def trusting(certificates: Certificates) -> ssl.SSLContext:
    """Give what a node makes of CA and fingerprint."""
    return pinned_context(certificates.ca_pem or "", certificates.fingerprint or "")


@pytest.fixture
async def secured(make_nats: MakeNats, certificates: Certificates) -> NatsProcess:
    """A running server with TLS on both listeners."""
    process = make_nats(certificates.files)
    await process.start()
    return process


@pytest.mark.parametrize("web", [False, True])
async def test_a_node_serves_over_tls_and_wss(
    secured: NatsProcess, certificates: Certificates, web: bool
) -> None:
    """Both listeners take a node that pins the CA."""
    gateway = await connect(
        [secured.tcp_url],
        credentials=secured.authority.gateway_credentials(GatewayId("gaaaaaaaaaa")),
        name="gateway",
        tls=trusting(certificates),
        give_up_after=20,
    )
    node = await connect(
        [secured.web_url if web else secured.tcp_url],
        credentials=node_credentials(secured.authority),
        name="node",
        tls=trusting(certificates),
        give_up_after=20,
    )
    got: asyncio.Queue[Message] = asyncio.Queue()
    await gateway.subscribe(subjects.ALL_BEATS, got.put_nowait)
    await gateway.flush()
    node.publish(subjects.beat(REGION, NODE), b"x" * 60_000)
    assert len((await asyncio.wait_for(got.get(), 20)).payload) == 60_000
    await node.close()
    await gateway.close()


@pytest.mark.parametrize("web", [False, True])
async def test_a_line_that_swallows_everything_is_given_up_as_fast_as_without_tls(
    secured: NatsProcess, certificates: Certificates, web: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the farewell of a TLS connection whose other end is gone."""
    monkeypatch.setattr("garage_ai.wire.session.PING_SECONDS", 0.1)
    told = Told()
    link = await connect(
        [secured.web_url if web else secured.tcp_url],
        credentials=node_credentials(secured.authority),
        name="node",
        tls=trusting(certificates),
        listeners=told.listeners(),
        backoff=Backoff(first=0.02),
        give_up_after=20,
    )
    secured.signal(signal.SIGSTOP)
    try:
        await told.until(lambda: bool(told.lost), 20)
    finally:
        secured.signal(signal.SIGCONT)
    await link.wait_connected(10)
    await link.close()


@pytest.mark.parametrize("web", [False, True])
@pytest.mark.parametrize("trust", ["another", "public"])
async def test_a_node_does_not_talk_to_a_server_it_cannot_trust(
    secured: NatsProcess, tmp_path: Path, web: bool, trust: str
) -> None:
    """Another CA, or the system's, ends the handshake before anything is said."""
    other = own_certificates(tmp_path / "other", "garage.example")
    error = await first_error(
        secured.web_url if web else secured.tcp_url,
        secured,
        trusting(other) if trust == "another" else public_context(),
    )
    assert isinstance(error, TlsFailed)


async def test_a_renewed_certificate_is_served_without_a_restart(
    make_nats: MakeNats, authority: Authority, tmp_path: Path
) -> None:
    """On both ports to whoever comes; who is connected stays, and who was cut off stays out."""
    last_year = datetime.now(UTC) - timedelta(days=369)
    certificates = own_certificates(tmp_path / "tls", "garage.example", now=last_year)
    nats, told = make_nats(certificates.files), Told()
    await nats.start()
    credentials, cut_off = node_credentials(authority), node_credentials(authority, OTHER)
    node = await connect(
        [nats.tcp_url],
        credentials=credentials,
        name="node",
        tls=trusting(certificates),
        listeners=told.listeners(),
        give_up_after=20,
    )
    pusher = ClaimsPusher(authority, [nats.tcp_url], trusting(certificates))
    assert await pusher.revoke(cut_off.pair.public, time.time() + 60)
    renewal = Renewal(
        certificates, tmp_path / "tls", "garage.example", lambda: nats.signal(signal.SIGHUP)
    )
    await renewal.look()
    leaf = x509.load_pem_x509_certificate(certificates.files.cert.read_bytes())
    new = leaf.public_bytes(Encoding.DER)
    for url in (nats.tcp_url, nats.web_url):
        await asyncio.to_thread(
            eventually, f"the new certificate at {url}", lambda url=url: served_at(url) == new
        )
    assert node.is_connected
    assert not told.lost
    error = await first_error(nats.tcp_url, nats, trusting(certificates), cut_off)
    assert isinstance(error, Refused)
    await node.close()


def served_at(url: str) -> bytes | None:
    """Give the certificate that a listener shows; the TCP one greets in plain text first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as line:
        if url.startswith("tls:"):
            while not line.recv(4096).endswith(b"\r\n"):
                pass
        with context.wrap_socket(line) as secured:
            return secured.getpeercert(binary_form=True)


async def first_error(
    url: str,
    nats: NatsProcess,
    tls: ssl.SSLContext,
    credentials: UserCredentials | None = None,
) -> LinkError:
    """Give the first thing that goes wrong on a link."""
    told = Told()
    link = Connection(
        [url],
        credentials=credentials or node_credentials(nats.authority),
        name="node",
        tls=tls,
        listeners=told.listeners(),
        backoff=Backoff(first=0.02),
    )
    link.start()
    await told.until(lambda: bool(told.errors))
    await link.close()
    return told.errors[0]


@pytest.fixture
async def ca_url(certificates: Certificates) -> AsyncIterator[str]:
    """A gateway that hands out its CA over HTTPS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found = request.startswith(f"GET {CA_PATH} ".encode())
        body = (certificates.ca_pem or "").encode() if found else b""
        status = b"200 OK" if found else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(
        answer, "127.0.0.1", 0, ssl=server_context(certificates.files)
    )
    port = server.sockets[0].getsockname()[1]
    yield f"https://127.0.0.1:{port}"
    server.close()
    await server.wait_closed()


async def test_a_nodes_first_contact_gets_the_ca_by_its_fingerprint(
    ca_url: str, certificates: Certificates
) -> None:
    """The fingerprint in the token is enough to tell the right CA from a wrong one."""
    pem = await asyncio.to_thread(fetch_ca, ca_url, certificates.fingerprint or "")
    assert pem == certificates.ca_pem
    with pytest.raises(WrongFingerprint):
        await asyncio.to_thread(fetch_ca, ca_url, "0" * 64)
    with pytest.raises(CaUnavailable):
        await asyncio.to_thread(fetch_ca, "https://127.0.0.1:1", "0" * 64)
    with pytest.raises(CaUnavailable, match="https"):
        await asyncio.to_thread(fetch_ca, ca_url.replace("https", "http"), "0" * 64)
