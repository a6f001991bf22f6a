"""Certificates for a network that is open beyond loopback: its own CA, or files given.

TlsError                 code
├── CertificateMissing   tls_certificate_missing    a file given is not there or not PEM
├── CertificateMismatch  tls_certificate_mismatch   the key is not the certificate's
├── CertificateExpired   tls_certificate_expired    not valid now
├── NotTrusted           tls_not_trusted            nobody would accept it without being told to
└── WrongHost            tls_wrong_host             the certificate does not name the host

An own CA lives ten years, its certificate 398 days; that one is made anew at a start when fewer
than 30 days are left or the host has changed. The CA stays: nodes pin its fingerprint.
"""

import contextlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from garage_ai.local.nats_server import TlsFiles
from garage_ai.wire.secret_files import (
    SecretFileError,
    SecretMissing,
    make_private_folder,
    read_secret,
    replace_secret,
)
from garage_ai.wire.trust import fingerprint_of

CA_LIFE: Final = timedelta(days=3652)
LEAF_LIFE: Final = timedelta(days=398)
RENEW_BEFORE: Final = timedelta(days=30)
_BACKDATED: Final = timedelta(hours=1)
_FLIGHTS: Final = 4
"""Of a handshake; two are enough for TLS 1.3, four for 1.2."""

_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


class TlsError(Exception):
    """Certificates that cannot be used; the message says what to do."""

    code = "tls_error"


class CertificateMissing(TlsError):
    code = "tls_certificate_missing"


class CertificateMismatch(TlsError):
    code = "tls_certificate_mismatch"


class CertificateExpired(TlsError):
    code = "tls_certificate_expired"


class NotTrusted(TlsError):
    code = "tls_not_trusted"


class WrongHost(TlsError):
    code = "tls_wrong_host"


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the listeners serve; `ca` and `fingerprint` only with an own CA."""

    files: TlsFiles
    ca: Path | None = None
    ca_pem: str | None = None
    fingerprint: str | None = None


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for each in dict.fromkeys((host, *_ALWAYS)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each)))
        except ValueError:
            names.append(x509.DNSName(each))
    return names


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def make_ca(now: datetime) -> tuple[str, str]:
    """Make a CA: certificate and key in PEM (EC P-256)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Garage AI network CA")
    certificate = (
        _builder(name, name, key.public_key(), now)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem_of(certificate), _pem_of_key(key)


def make_leaf(ca_pem: str, ca_key_pem: str, host: str, now: datetime) -> tuple[str, str]:
    """Make a certificate for a host and this machine's loopback: certificate and key in PEM.

    Raises: TlsError if the CA's files are damaged.
    """
    ca, ca_key = _certificate(ca_pem, "the CA"), _key(ca_key_pem, "the CA's key")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_subject(host), ca.subject, key.public_key(), now)
        .not_valid_after(min(now + LEAF_LIFE, ca.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return _pem_of(certificate), _pem_of_key(key)


def _certificate(pem: str, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise CertificateMissing(f"{what} is no certificate in PEM") from error


def _key(pem: str, what: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateMissing(f"{what} is no unencrypted key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateMissing(f"{what} is not of the kind made here")
    return key


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Tell whether a certificate is good for a host name or address."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    wanted = host.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    named = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return wanted in named or (bool(parent) and f"*.{parent}" in named)


def own_certificates(folder: Path, host: str, *, now: datetime | None = None) -> Certificates:
    """Give a certificate of the network's own CA, made or renewed as needed. Blocks.

    Raises: TlsError if the CA's files are there but damaged.
    """
    moment = now or datetime.now(UTC)
    make_private_folder(folder)
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    if not ca_key.exists() and not ca.exists():
        ca_text, key_text = make_ca(moment)
        # The key first: a certificate without its key would look like a CA and be none.
        replace_secret(ca_key, key_text)
        replace_secret(ca, ca_text)
    ca_pem = _ca_text(ca, ca_key, moment)
    files = TlsFiles(folder / "server.pem", folder / "server.key")
    if not _still_good(files, ca_pem, host, moment):
        leaf, leaf_key = make_leaf(ca_pem, _read(ca_key), host, moment)
        replace_secret(files.key, leaf_key)
        replace_secret(files.cert, leaf + ca_pem)
    return Certificates(files, ca, ca_pem, fingerprint_of(ca_pem))


def _ca_text(ca: Path, ca_key: Path, now: datetime) -> str:
    if not ca.exists():
        # Made halfway: nobody has seen this CA yet.
        ca_text, key_text = make_ca(now)
        replace_secret(ca_key, key_text)
        replace_secret(ca, ca_text)
    text = _read(ca) + "\n"
    certificate = _certificate(text, str(ca))
    if certificate.public_key() != _key(_read(ca_key), str(ca_key)).public_key():
        raise CertificateMismatch(f"{ca_key} is not the key of {ca}; restore both from a backup")
    if certificate.not_valid_after_utc <= now:
        raise CertificateExpired(f"{ca} has ended; remove {ca.parent} and enrol the nodes again")
    return text


def _read(path: Path) -> str:
    try:
        return read_secret(path)
    except SecretMissing as error:
        raise CertificateMissing(f"{path} is not there; restore it from a backup") from error
    except SecretFileError as error:
        raise TlsError(str(error)) from error


def _still_good(files: TlsFiles, ca_pem: str, host: str, now: datetime) -> bool:
    try:
        chain = x509.load_pem_x509_certificates(_read(files.cert).encode())
        key = _key(_read(files.key), str(files.key))
        chain[0].verify_directly_issued_by(_certificate(ca_pem, "the CA"))
    except Exception:
        # Whatever is wrong with the old one, a new one mends it.
        return False
    leaf = chain[0]
    return (
        leaf.public_key() == key.public_key()
        and leaf.not_valid_after_utc - now > RENEW_BEFORE
        and names_host(leaf, host)
    )


def given_certificates(
    cert: Path, key: Path, host: str, *, now: datetime | None = None
) -> Certificates:
    """Check a certificate chain and key that the operator gave. Blocks.

    Raises: CertificateMissing, CertificateMismatch, CertificateExpired, WrongHost.
    """
    moment = now or datetime.now(UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        leaf = _certificate(cert.read_text(), str(cert))
        _check_key(leaf, key)
        context.load_cert_chain(cert, key)
    except (OSError, UnicodeDecodeError) as error:
        raise CertificateMissing(f"{cert} or {key} cannot be read: {error}") from error
    if not leaf.not_valid_before_utc <= moment < leaf.not_valid_after_utc:
        raise CertificateExpired(
            f"{cert} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} "
            f"to {leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    if not names_host(leaf, host):
        raise WrongHost(f"{cert} does not name {host}; give the host it was made for")
    return Certificates(TlsFiles(cert, key))


def _check_key(leaf: x509.Certificate, key: Path) -> None:
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateMissing(f"{key} is no unencrypted key in PEM") from error
    if private.public_key() != leaf.public_key():
        raise CertificateMismatch(f"{key} is not the key of the certificate")


def check_trusted(files: TlsFiles, host: str) -> None:
    """Shake hands with ourselves in memory, as a client that trusts what this system trusts.

    Gateway and nodes on this machine are such clients: they would try in vain. Raises: NotTrusted.
    """
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(downwards, upwards, server_hostname=host)
    server = server_context(files).wrap_bio(upwards, downwards, server_side=True)
    try:
        for _ in range(_FLIGHTS):
            for side in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise NotTrusted(
            f"this machine does not trust {files.cert} ({error.verify_message}); add its CA to the "
            "system's or name it in SSL_CERT_FILE, or leave out --cert and --key: the network then "
            "makes a CA of its own, which nodes trust by their token"
        ) from error


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Make a server's context, TLS 1.2 and later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.cert, files.key)
    return context
