"""The certificate that a gateway shows: read again every day, and spoken of before it ends."""

import asyncio
import math
import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from garage_ai.gateway.listening import StartError, server_tls
from garage_ai.gateway.metrics import Metrics
from garage_ai.settings import GatewaySettings

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 86_400.0
WARN_SECONDS: Final = 30 * 86_400.0
"""So long before its end a certificate should have been renewed."""


class ShownCertificate:
    """What a server's context shows to new connections, which may change while it serves."""

    def __init__(self, context: ssl.SSLContext, settings: GatewaySettings) -> None:
        self._context = context
        self._settings = settings
        self._ends: datetime | None = None

    @property
    def seconds_left(self) -> float:
        """How long it is good, below zero once it has ended; NaN where nobody can tell."""
        return math.nan if self._ends is None else (self._ends - datetime.now(UTC)).total_seconds()

    def look(self) -> None:
        """Take over what the files hold by now, and warn where that ends soon."""
        cert, key = self._settings.tls_cert, self._settings.tls_key
        if cert is None or key is None:
            return
        try:
            # First in a context of its own: files that do not fit would spoil the one that serves.
            server_tls(self._settings)
            ends = _end_of(cert)
            self._context.load_cert_chain(cert, key)
        except (StartError, OSError, ValueError) as error:
            _log.warning("certificate_unreadable", file=str(cert), detail=str(error)[:200])
        else:
            self._ends = ends
        if self._ends is not None and self.seconds_left < WARN_SECONDS:
            _log.warning("certificate_ends", file=str(cert), at=self._ends.isoformat())

    async def look_daily(self) -> None:
        """Look now and every day."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


def keep_certificate(
    context: ssl.SSLContext | None,
    settings: GatewaySettings,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> None:
    """Look after the certificate that is served, if any, until `stack` is closed."""
    if context is not None:
        shown = ShownCertificate(context, settings)
        watch_certificate(metrics, shown)
        stack.callback(asyncio.create_task(shown.look_daily(), name="certificate").cancel)


def watch_certificate(metrics: Metrics, shown: ShownCertificate) -> None:
    """Show how long the certificate is good."""
    left = "Seconds until the gateway's certificate ends; only with TLS."
    metrics.gauge("gai_certificate_expires_seconds", left, lambda: shown.seconds_left)


def _end_of(cert: Path) -> datetime:
    """Tell when a certificate ends. Raises: OSError, ValueError."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc


__all__ = ["LOOK_SECONDS", "ShownCertificate", "keep_certificate", "watch_certificate"]
