"""Where the gateway listens, and with which certificate.

StartError              code
├── TlsNeeded           tls_needed         beyond loopback, without TLS and without --insecure
├── TlsUnusable         tls_unusable       certificate and key cannot be read or do not fit
└── PortUnavailable     port_unavailable   somebody else listens there
"""

import socket
import ssl
from pathlib import Path

from garage_ai.settings import GatewaySettings
from garage_ai.wire.hosts import is_loopback


class StartError(Exception):
    """Anything that keeps the gateway from starting; the message says what to do."""

    code = "start_error"


class TlsNeeded(StartError):
    code = "tls_needed"


class TlsUnusable(StartError):
    code = "tls_unusable"


class PortUnavailable(StartError):
    code = "port_unavailable"


def server_tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Make the server's side of TLS, None without a certificate. Raises: StartError."""
    if settings.tls_cert is None or settings.tls_key is None:
        if settings.tls_cert is not None or settings.tls_key is not None:
            raise TlsUnusable("GAI_TLS_CERT and GAI_TLS_KEY belong together: set both")
        if not is_loopback(settings.host) and not settings.insecure:
            raise TlsNeeded(
                f"{settings.host} is reachable from outside: set GAI_TLS_CERT and GAI_TLS_KEY, "
                "or GAI_INSECURE=true to go without"
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise TlsUnusable(f"{settings.tls_cert}, {settings.tls_key}: {error}") from error
    return context


def nats_tls(urls: list[str], ca: Path | None) -> ssl.SSLContext | None:
    """Make the client's side of TLS towards NATS, None where none is spoken. Raises: StartError."""
    if not any(url.startswith(("tls://", "wss://")) for url in urls):
        return None
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:
        raise TlsUnusable(f"{ca}: {error}") from error


def bind(host: str, port: int) -> socket.socket:
    """Take the address; nobody is let in before the server listens. Raises: StartError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, proto, _, address = found[0]
        return _bound(family, proto, address)
    except OSError as error:
        raise PortUnavailable(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _bound(
    family: int, proto: int, address: tuple[str | int, ...] | tuple[int, bytes]
) -> socket.socket:
    # asyncio turns Nagle's delay off only where the protocol is said to be TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, proto)
    try:
        # Only connections in their last throes may be in the way; a listener still is.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


__all__ = [
    "PortUnavailable",
    "StartError",
    "TlsNeeded",
    "TlsUnusable",
    "bind",
    "nats_tls",
    "server_tls",
]
