"""Trusting a network's own CA by its fingerprint, which travels in the enrolment token.

TrustError               code
├── WrongFingerprint     wrong_fingerprint   the CA shown is not the one the token names
├── BadCertificate       bad_certificate     not a certificate
└── CaUnavailable        ca_unavailable      the gateway did not hand out its CA
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

CA_PATH: Final = "/api/v1/ca.pem"
"""Where a gateway hands out its CA, to anyone."""

_MAX_PEM: Final = 64 * 1024
_ANY_BEGIN: Final = "-----BEGIN"
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


class TrustError(Exception):
    """A certificate that is not to be trusted."""

    code = "trust_error"


class WrongFingerprint(TrustError):
    code = "wrong_fingerprint"


class BadCertificate(TrustError):
    code = "bad_certificate"


class CaUnavailable(TrustError):
    code = "ca_unavailable"


def fingerprint_of(ca_pem: str) -> str:
    """Give the sha256 (64 hex digits) of a certificate in PEM. Raises: BadCertificate."""
    return hashlib.sha256(_only_certificate(ca_pem)).hexdigest()


def _only_certificate(ca_pem: str) -> bytes:
    """Give the one certificate in a text, and refuse a text with anything else that is armoured.

    OpenSSL trusts what is called X509 CERTIFICATE or TRUSTED CERTIFICATE just as well
    (PEM_read_bio_X509(3)), and the fingerprint would say nothing of it.
    """
    if any(ca_pem.count(each) != 1 for each in (_ANY_BEGIN, _BEGIN, _END)):
        raise BadCertificate("expected one certificate in PEM")
    middle = ca_pem.partition(_BEGIN)[2].partition(_END)[0]
    try:
        return base64.b64decode("".join(middle.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCertificate("not a certificate in PEM") from error


def check_fingerprint(ca_pem: str, fingerprint: str) -> None:
    """Check that a CA is the one expected. Raises: WrongFingerprint, BadCertificate."""
    if not hmac.compare_digest(fingerprint_of(ca_pem).encode(), fingerprint.lower().encode()):
        raise WrongFingerprint(
            "the gateway shows another CA than the one in the token: someone may be in between"
        )


def pinned_context(ca_pem: str, fingerprint: str) -> ssl.SSLContext:
    """Make a client context that trusts this CA alone.

    Raises: WrongFingerprint, BadCertificate.
    """
    check_fingerprint(ca_pem, fingerprint)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The very bytes that the fingerprint is of, and nothing beside them.
        context.load_verify_locations(cadata=_only_certificate(ca_pem))
    except ssl.SSLError as error:
        raise BadCertificate(str(error)) from error
    return context


def public_context() -> ssl.SSLContext:
    """Make a client context that trusts what the system trusts."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fetch_ca(base_url: str, fingerprint: str, *, seconds: float = 10.0) -> str:
    """Get a gateway's CA over a connection not yet trusted, and check it. Blocks.

    Nothing secret is sent; what comes back is believed by its fingerprint alone.
    Raises: CaUnavailable, WrongFingerprint, BadCertificate.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname:
        raise CaUnavailable("a token with a fingerprint needs an https:// address")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port, timeout=seconds, context=context
    )
    try:
        connection.request("GET", CA_PATH)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise CaUnavailable(f"{base_url} answered {response.status} for its CA")
        pem = response.read(_MAX_PEM).decode("ascii")
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise CaUnavailable(f"{base_url}: {error}") from error
    finally:
        connection.close()
    check_fingerprint(pem, fingerprint)
    return pem
