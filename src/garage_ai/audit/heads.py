"""Signs the log's head whenever something came: about once a minute, and at the end."""

import asyncio
from typing import Final, Self

import structlog

from garage_ai.audit.chain import Signer
from garage_ai.audit.errors import LogBroken
from garage_ai.audit.service import AuditLog
from garage_ai.storage import StorageError

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 60.0
"""The longest that an entry stands without a signature over it; the same is lost to a thief of the
last entries. A head costs one row, so a busy network makes half a million of them a year."""

_CLOSE_SECONDS: Final = 5.0


class HeadKeeper:
    """Keeps the log signed; a database that is away is tried again a minute later.

    The head goes to the gateway's own log as well, so that it stands in a second place.
    """

    def __init__(self, log: AuditLog, signer: Signer, every: float = EVERY_SECONDS) -> None:
        self.failures = 0
        self._log = log
        self._signer = signer
        self._every = every
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, log: AuditLog, signer: Signer, every: float = EVERY_SECONDS) -> Self:
        """Start to sign on the running loop; `close` ends it."""
        keeper = cls(log, signer, every)
        keeper._task = asyncio.create_task(keeper._run(), name="audit-heads")
        return keeper

    @property
    def public_key(self) -> str:
        """The key that heads are signed with."""
        return self._signer.public

    async def close(self) -> None:
        """Sign once more and stop."""
        self._closing.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            if unfinished:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await self._closing.wait()
            except TimeoutError:
                pass
            await self._sign()

    async def _sign(self) -> None:
        try:
            head = await self._log.sign(self._signer)
        except StorageError as error:
            self.failures += 1
            _log.warning("audit_head_not_signed", code=error.code)
            return
        except LogBroken as error:
            self.failures += 1
            _log.error("audit_log_broken", found=str(error))
            return
        if head is not None:
            _log.info("audit_head", size=head.size, root=head.root.hex())


__all__ = ["EVERY_SECONDS", "HeadKeeper"]
