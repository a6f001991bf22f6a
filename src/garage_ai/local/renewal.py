"""The certificate of a network that runs: made anew when it is due, without a restart."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from garage_ai.local.tls import Certificates, TlsError, own_certificates
from garage_ai.wire.secret_files import SecretFileError

LOOK_SECONDS: Final = 86_400.0


class Renewal:
    """Looks after `certificates` for `host`, which are in `folder` where they are our own.

    `tell` is called when there are others: the gateway reads its files every day, NATS when told.
    """

    def __init__(
        self, certificates: Certificates, folder: Path, host: str, tell: Callable[[], None]
    ) -> None:
        self._certificates = certificates
        self._folder = folder
        self._host = host
        self._tell = tell
        self._served = self._found()

    async def look_daily(self) -> None:
        """Look every day; what goes wrong is tried again, and the gateway warns meanwhile."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(TlsError, SecretFileError, OSError):
                await self.look()

    async def look(self, now: datetime | None = None) -> None:
        """Make an own certificate anew if it is due. Raises: TlsError, SecretFileError, OSError."""
        if self._certificates.ca is not None:
            await asyncio.to_thread(own_certificates, self._folder, self._host, now=now)
        found = self._found()
        if found != self._served:
            self._tell()
            self._served = found

    def _found(self) -> tuple[bytes, bytes]:
        # Of both: who is told of a certificate whose key comes later refuses it, and keeps the old.
        files = self._certificates.files
        return files.cert.read_bytes(), files.key.read_bytes()


__all__ = ["LOOK_SECONDS", "Renewal"]
