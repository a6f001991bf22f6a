"""What can be wrong with a link to NATS.

LinkError                     code
├── Unreachable               link_unreachable      no server answered; tried again for ever
├── TlsFailed                 link_tls_failed       the server did not show the certificate expected
├── Refused                   link_refused          the server does not know these credentials
│   ├── CredentialsExpired    credentials_expired   the JWT has ended; renew it
│   └── CredentialsRevoked    credentials_revoked   the network cut this identity off
├── LinkLost                  link_lost             the connection broke or fell silent
├── LinkDown                  link_down             nothing can be sent now
├── LinkCongested             link_congested        too much waits to be sent
├── PayloadTooLarge           payload_too_large     more bytes than the server takes at once
├── PermissionDenied          permission_denied     the JWT does not allow this subject
├── HandlerFailed             handler_failed        our own handler raised
└── BadCredentials            bad_credentials       key or JWT could not be read here

A link fails closed: while it is down nothing is kept for later, `publish` raises.
"""

import ssl
from typing import Final


class LinkError(Exception):
    """Anything that goes wrong between this process and NATS."""

    code = "link_error"


class Unreachable(LinkError):
    code = "link_unreachable"


class TlsFailed(LinkError):
    code = "link_tls_failed"


class Refused(LinkError):
    code = "link_refused"


class CredentialsExpired(Refused):
    code = "credentials_expired"


class CredentialsRevoked(Refused):
    code = "credentials_revoked"


class LinkLost(LinkError):
    code = "link_lost"


class LinkDown(LinkError):
    code = "link_down"


class LinkCongested(LinkError):
    code = "link_congested"


class PayloadTooLarge(LinkError):
    code = "payload_too_large"


class PermissionDenied(LinkError):
    code = "permission_denied"


class HandlerFailed(LinkError):
    code = "handler_failed"


class BadCredentials(LinkError):
    code = "bad_credentials"


# What nats-server writes after -ERR, in lower case; the order matters.
_SAID: Final[tuple[tuple[str, type[LinkError]], ...]] = (
    ("authentication expired", CredentialsExpired),
    ("authentication revoked", CredentialsRevoked),
    ("authorization violation", Refused),
    ("authentication timeout", Refused),
    ("permissions violation", PermissionDenied),
    ("maximum payload", PayloadTooLarge),
)


def from_words(text: str) -> LinkError | None:
    """Tell what the server meant by its words; None for words we do not know."""
    lowered = text.lower()
    for words, kind in _SAID:
        if words in lowered:
            return kind(text[:300])
    return None


def from_exception(error: BaseException, url: str) -> LinkError:
    """Tell what an exception from below means, and name the server."""
    if isinstance(error, LinkError):
        return error
    if isinstance(error, TimeoutError):
        return Unreachable(f"{url}: no answer in time")
    known = from_words(str(error))
    if known is not None:
        return type(known)(f"{url}: {error}"[:300])
    if _is_tls(error):
        return TlsFailed(f"{url}: {error}"[:300])
    return Unreachable(f"{url}: {str(error) or type(error).__name__}"[:300])


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError | ssl.CertificateError):
            return True
        error = error.__cause__
    return False
