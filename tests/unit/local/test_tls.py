"""Certificates, made and given."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from garage_ai.local.nats_server import TlsFiles
from garage_ai.local.tls import (
    CertificateExpired,
    CertificateMismatch,
    CertificateMissing,
    Certificates,
    NotTrusted,
    TlsError,
    WrongHost,
    check_trusted,
    given_certificates,
    make_ca,
    make_leaf,
    names_host,
    own_certificates,
    server_context,
)
from garage_ai.wire.trust import pinned_context

NOW = datetime.now(UTC)
HOST = "garage.example"


def leaf_of(certificates: Certificates) -> x509.Certificate:
    """Read the certificate that is served."""
    return x509.load_pem_x509_certificates(certificates.files.cert.read_bytes())[0]


def test_an_own_ca_serves_host_and_loopback(tmp_path: Path) -> None:
    """Names, lives and modes as they should be; the chain holds under the pinned CA."""
    made = own_certificates(tmp_path / "tls", HOST, now=NOW)
    leaf = leaf_of(made)
    for name in (HOST, "localhost", "127.0.0.1", "::1"):
        assert names_host(leaf, name)
    assert not names_host(leaf, "other.example")
    assert leaf.not_valid_after_utc - NOW <= timedelta(days=398)
    ca = x509.load_pem_x509_certificate((made.ca_pem or "").encode())
    assert timedelta(days=3650) < ca.not_valid_after_utc - NOW < timedelta(days=3654)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for file in (tmp_path / "tls").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    handshake(made, HOST)


def handshake(certificates: Certificates, host: str) -> None:
    """Shake hands in memory, as a node with the pinned CA and the gateway do."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = pinned_context(certificates.ca_pem or "", certificates.fingerprint or "")
    client = context.wrap_bio(client_in, client_out, server_hostname=host)
    server = server_context(certificates.files).wrap_bio(client_out, client_in, server_side=True)
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"


def test_a_wrong_name_is_not_believed(tmp_path: Path) -> None:
    """The client checks the name."""
    made = own_certificates(tmp_path / "tls", HOST, now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made, "other.example")


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "garage.example"])
def test_addresses_are_named_as_addresses(tmp_path: Path, host: str) -> None:
    """An address gets an address entry, so that clients find it."""
    handshake(own_certificates(tmp_path / "tls", host, now=NOW), host)


def test_a_second_start_changes_nothing_until_thirty_days_before_the_end(tmp_path: Path) -> None:
    """Then the certificate is new, and the CA with its fingerprint the same."""
    first = own_certificates(tmp_path / "tls", HOST, now=NOW)
    before = first.files.cert.read_bytes()
    soon = own_certificates(tmp_path / "tls", HOST, now=NOW + timedelta(days=367))
    assert soon.files.cert.read_bytes() == before
    late = own_certificates(tmp_path / "tls", HOST, now=NOW + timedelta(days=369))
    assert late.files.cert.read_bytes() != before
    assert (late.fingerprint, late.ca_pem) == (first.fingerprint, first.ca_pem)


def test_another_host_gets_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    """So nodes need not enrol again."""
    first = own_certificates(tmp_path / "tls", HOST, now=NOW)
    second = own_certificates(tmp_path / "tls", "moved.example", now=NOW)
    assert second.fingerprint == first.fingerprint
    handshake(second, "moved.example")


@pytest.mark.parametrize("file", ["server.pem", "server.key"])
@pytest.mark.parametrize("how", ["gone", "damaged", "of another"])
def test_a_damaged_certificate_is_made_anew(tmp_path: Path, file: str, how: str) -> None:
    """It is only the CA's to keep."""
    first = own_certificates(tmp_path / "tls", HOST, now=NOW)
    path = tmp_path / "tls" / file
    if how == "gone":
        path.unlink()
    elif how == "damaged":
        path.write_text("x")
    else:
        own_certificates(tmp_path / "other", HOST, now=NOW)
        path.write_bytes((tmp_path / "other" / file).read_bytes())
    again = own_certificates(tmp_path / "tls", HOST, now=NOW)
    assert again.fingerprint == first.fingerprint
    handshake(again, HOST)


def test_a_ca_made_halfway_is_made_anew(tmp_path: Path) -> None:
    """A key without its certificate is what a crash left, and nobody has seen it."""
    own_certificates(tmp_path / "tls", HOST, now=NOW)
    (tmp_path / "tls" / "ca.pem").unlink()
    handshake(own_certificates(tmp_path / "tls", HOST, now=NOW), HOST)


def test_a_damaged_ca_is_told_and_kept(tmp_path: Path) -> None:
    """Nodes pin it, so it is never replaced without a word."""
    own_certificates(tmp_path / "tls", HOST, now=NOW)
    key = tmp_path / "tls" / "ca.key"
    good = key.read_text()
    key.write_text(make_ca(NOW)[1])
    with pytest.raises(CertificateMismatch):
        own_certificates(tmp_path / "tls", HOST, now=NOW)
    for bad in ("x", ""):
        key.write_text(bad)
        with pytest.raises(CertificateMissing):
            own_certificates(tmp_path / "tls", HOST, now=NOW)
    key.unlink()
    with pytest.raises(CertificateMissing):
        own_certificates(tmp_path / "tls", HOST, now=NOW)
    key.write_text(good)
    key.chmod(0o644)
    with pytest.raises(TlsError, match="chmod 600"):
        own_certificates(tmp_path / "tls", HOST, now=NOW)


def test_a_ca_that_has_ended_is_told(tmp_path: Path) -> None:
    """After ten years the operator decides."""
    own_certificates(tmp_path / "tls", HOST, now=NOW - timedelta(days=3660))
    with pytest.raises(CertificateExpired):
        own_certificates(tmp_path / "tls", HOST, now=NOW)


def given_files(folder: Path, host: str, made: datetime) -> tuple[Path, Path]:
    """Write a certificate and key as an operator brings them."""
    cert, key = make_leaf(*make_ca(made), host, made)
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_text(cert)
    paths[1].write_text(key)
    return paths


def test_given_files_that_fit_are_taken(tmp_path: Path) -> None:
    """They come without a CA to pin."""
    cert, key = given_files(tmp_path, HOST, NOW)
    given = given_certificates(cert, key, HOST, now=NOW)
    assert (given.files.cert, given.files.key, given.fingerprint) == (cert, key, None)
    server_context(given.files)


def test_given_files_that_do_not_fit_are_told_apart(tmp_path: Path) -> None:
    """Each fault has its own error, naming the file or host."""
    cert, key = given_files(tmp_path, HOST, NOW)
    other = tmp_path / "other"
    other.mkdir()
    _, other_key = given_files(other, HOST, NOW)
    with pytest.raises(CertificateMismatch, match=r"key\.pem"):
        given_certificates(cert, other_key, HOST, now=NOW)
    with pytest.raises(WrongHost, match=r"other\.example"):
        given_certificates(cert, key, "other.example", now=NOW)
    for days in (400, -2):
        with pytest.raises(CertificateExpired, match="valid from"):
            given_certificates(cert, key, HOST, now=NOW + timedelta(days=days))
    with pytest.raises(CertificateMissing):
        given_certificates(tmp_path / "none.pem", key, HOST, now=NOW)
    with pytest.raises(CertificateMissing):
        given_certificates(key, key, HOST, now=NOW)
    with pytest.raises(CertificateMissing):
        given_certificates(cert, cert, HOST, now=NOW)


def test_a_certificate_that_this_machine_does_not_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said at once with its reason; once its CA is trusted here it is taken, for its host only."""
    now = datetime.now(UTC)
    ca, ca_key = make_ca(now)
    cert, key = make_leaf(ca, ca_key, HOST, now)
    files = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    files.cert.write_text(cert)
    files.key.write_text(key)
    with pytest.raises(NotTrusted, match=r"cert\.pem \(unable to get local issuer certificate\)"):
        check_trusted(files, HOST)
    (tmp_path / "ca.pem").write_text(ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    check_trusted(files, HOST)
    with pytest.raises(NotTrusted, match=r"other\.example"):
        check_trusted(files, "other.example")


def test_a_wildcard_covers_one_level(tmp_path: Path) -> None:
    """As browsers read it."""
    cert, _ = given_files(tmp_path, "*.garage.example", NOW)
    leaf = x509.load_pem_x509_certificate(cert.read_bytes())
    assert names_host(leaf, "A.garage.example.")
    assert not names_host(leaf, "garage.example")
    assert not names_host(leaf, "a.b.garage.example")
