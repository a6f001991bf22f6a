"""Trusting a CA by its fingerprint."""

import ssl
from datetime import UTC, datetime

import pytest

from garage_ai.local.tls import make_ca
from garage_ai.wire.trust import (
    BadCertificate,
    WrongFingerprint,
    check_fingerprint,
    fingerprint_of,
    pinned_context,
    public_context,
)

CA, _ = make_ca(datetime.now(UTC))
OTHER, _ = make_ca(datetime.now(UTC))


def test_the_fingerprint_is_that_of_the_certificate_itself() -> None:
    """Sha256 of the DER form, as openssl shows it; white space does not matter."""
    der = ssl.PEM_cert_to_DER_cert(CA)
    context = pinned_context(CA, fingerprint_of(CA).upper())
    assert context.get_ca_certs(binary_form=True) == [der]
    assert fingerprint_of("\n " + CA.replace("\n", "\r\n")) == fingerprint_of(CA)


def test_only_the_pinned_ca_is_trusted() -> None:
    """Names are checked, certificates required, and old TLS is off."""
    for context in (pinned_context(CA, fingerprint_of(CA)), public_context()):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("pem", ["", "x", CA + OTHER, CA[:200], CA.replace("MII", "!!!")])
def test_what_is_not_one_certificate_is_refused(pem: str) -> None:
    """None, two, half or damaged: one typed error."""
    with pytest.raises(BadCertificate):
        pinned_context(pem, fingerprint_of(CA))


@pytest.mark.parametrize("kind", ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
@pytest.mark.parametrize("first", [True, False])
def test_nothing_is_smuggled_in_beside_the_pinned_ca(kind: str, first: bool) -> None:
    """What OpenSSL takes for one more certificate under another name is refused with the rest."""
    foreign = OTHER.replace("CERTIFICATE", kind)
    both = foreign + CA if first else CA + foreign
    with pytest.raises(BadCertificate):
        pinned_context(both, fingerprint_of(CA))
    with pytest.raises(BadCertificate):
        check_fingerprint(both, fingerprint_of(CA))


@pytest.mark.parametrize("fingerprint", ["", "0" * 64, "å" * 64, "x"])
def test_another_fingerprint_is_refused(fingerprint: str) -> None:
    """The wrong CA is not trusted, whatever the fingerprint looks like."""
    with pytest.raises(WrongFingerprint):
        pinned_context(CA, fingerprint)
    with pytest.raises(WrongFingerprint):
        pinned_context(OTHER, fingerprint_of(CA))
