"""What nats-server's words and Python's exceptions mean for a link."""

import ssl

import pytest

from garage_ai.wire.link_errors import (
    CredentialsExpired,
    CredentialsRevoked,
    LinkDown,
    LinkError,
    PermissionDenied,
    Refused,
    TlsFailed,
    Unreachable,
    from_exception,
    from_words,
)
from garage_ai.wire.session import ordered_urls


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("'User Authentication Expired'", CredentialsExpired),
        ("'User Authentication Revoked'", CredentialsRevoked),
        ("nats: 'Authorization Violation'", Refused),
        ("'Authentication Timeout'", Refused),
        ('Permissions Violation for Publish to "x"', PermissionDenied),
    ],
)
def test_the_servers_words(words: str, kind: type[LinkError]) -> None:
    """Each refusal has its type."""
    assert type(from_words(words)) is kind


def test_unknown_words_mean_nothing() -> None:
    """What we do not know is left to the caller."""
    assert from_words("'Something New'") is None


def wrapped(inner: Exception) -> Exception:
    """Put an exception under another, as aiohttp does."""
    try:
        raise OSError("cannot connect") from inner
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), Unreachable),
        (ConnectionRefusedError("no"), Unreachable),
        (OSError(), Unreachable),
        (ssl.SSLCertVerificationError("bad"), TlsFailed),
        (wrapped(ssl.SSLError("bad")), TlsFailed),
        (Exception("nats: 'Authorization Violation'"), Refused),
        (LinkDown("down"), LinkDown),
    ],
)
def test_exceptions_from_below(error: Exception, kind: type[LinkError]) -> None:
    """Each has its type; all but our own name the server."""
    found = from_exception(error, "nats://host:1")
    assert type(found) is kind
    assert kind is LinkDown or "nats://host:1" in str(found)


def test_addresses_keep_their_order_once_each() -> None:
    """Blank and doubled ones are left out."""
    assert ordered_urls(["tls://b:1", " nats://a:2 ", "", "tls://b:1"]) == [
        "tls://b:1",
        "nats://a:2",
    ]


@pytest.mark.parametrize("urls", [[], [""], ["http://a"], ["a:4222"], ["nats://"], ["wss:///x"]])
def test_what_is_no_address_is_refused_before_dialling(urls: list[str]) -> None:
    """A wrong setting is told at once."""
    with pytest.raises(ValueError, match="NATS address"):
        ordered_urls(urls)
