"""The certificate of a gateway, from one day to the next."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from garage_ai.gateway.certificate import ShownCertificate, keep_certificate
from garage_ai.gateway.listening import server_tls
from garage_ai.gateway.metrics import Metrics
from garage_ai.local.tls import own_certificates
from garage_ai.settings import GatewaySettings

DAY = 86_400.0


def made(folder: Path, days: int) -> bytes:
    """Make certificate and key, good for so many days from now; give the certificate."""
    before = datetime.now(UTC) + timedelta(days=days - 398)
    for old in folder.glob("server.*"):
        old.unlink()
    files = own_certificates(folder, "garage.example", now=before).files
    return x509.load_pem_x509_certificate(files.cert.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    """A gateway with a certificate that is good for ten days."""
    made(tmp_path, 10)
    return GatewaySettings(tls_cert=tmp_path / "server.pem", tls_key=tmp_path / "server.key")


@pytest.fixture
def context(settings: GatewaySettings) -> ssl.SSLContext:
    """What the server has from its start."""
    found = server_tls(settings)
    assert found is not None
    return found


def shown_to_a_client(context: ssl.SSLContext) -> bytes | None:
    """Shake hands in memory and give the certificate that came."""
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    client = trusting.wrap_bio(downwards, upwards)
    server = context.wrap_bio(upwards, downwards, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(binary_form=True)


def test_a_new_certificate_is_shown_without_a_restart(
    settings: GatewaySettings, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """The next client after a look gets it, and its end is what is told."""
    shown = ShownCertificate(context, settings)
    shown.look()
    assert 9 * DAY < shown.seconds_left < 11 * DAY
    new = made(tmp_path, 90)
    assert shown_to_a_client(context) != new
    with capture_logs() as said:
        shown.look()
    assert shown_to_a_client(context) == new
    assert shown.seconds_left > 80 * DAY
    assert not said


def test_files_that_do_not_fit_change_nothing(
    settings: GatewaySettings, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """A key of another certificate is told; the old pair serves on."""
    shown = ShownCertificate(context, settings)
    shown.look()
    before = shown_to_a_client(context)
    (tmp_path / "other").mkdir()
    made(tmp_path / "other", 90)
    (tmp_path / "other" / "server.pem").replace(tmp_path / "server.pem")
    with capture_logs() as said:
        shown.look()
    assert [each["event"] for each in said] == ["certificate_unreadable", "certificate_ends"]
    assert before is not None
    assert shown_to_a_client(context) == before
    assert shown.seconds_left < 11 * DAY


@pytest.mark.anyio
async def test_an_end_that_is_near_is_told(
    settings: GatewaySettings, context: ssl.SSLContext
) -> None:
    """In the log at the start already, and in the metrics."""
    metrics = Metrics()
    with capture_logs() as said:
        async with AsyncExitStack() as stack:
            keep_certificate(context, settings, metrics, stack)
            await asyncio.sleep(0)  # the task's first step
            shown = metrics.render().decode()
    assert [each["event"] for each in said] == ["certificate_ends"]
    [line] = [each for each in shown.splitlines() if each.startswith("gai_certificate_expires")]
    assert 9 * DAY < float(line.split()[1]) < 11 * DAY
