"""Signs the log's head about a second after something came, and at the end."""

import asyncio
from pathlib import Path
from typing import Final, Self

import structlog

from garage_ai.audit.chain import Signer
from garage_ai.audit.errors import LogBroken
from garage_ai.audit.models import Head
from garage_ai.audit.remembered import RememberedHead
from garage_ai.audit.service import AuditLog
from garage_ai.storage import StorageError

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0
"""Between two looks, of which an idle one reads one row: the longest that an entry stands without a
signature, and what a thief of the last entries may take. All acts of a second share one head, so
there are never more heads than entries."""

AGAIN_SECONDS: Final = 60.0
"""After a look that failed: a broken log is read anew from the last head on."""

_CLOSE_SECONDS: Final = 5.0


class HeadKeeper:
    """Keeps the log signed; a database that is away is tried again a minute later.

    The last head is remembered outside of the database, and a log that does not hold it is not
    signed. The head goes to the gateway's own log as well, so that it stands in a third place.
    """

    def __init__(
        self, log: AuditLog, signer: Signer, file: Path, every: float = EVERY_SECONDS
    ) -> None:
        self.failures = 0
        self.last: Head | None = None
        self._log = log
        self._signer = signer
        self._remembered = RememberedHead(file)
        self._every = every
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, log: AuditLog, signer: Signer, file: Path, every: float = EVERY_SECONDS) -> Self:
        """Start to sign on the running loop; `close` ends it. `file` remembers the last head."""
        keeper = cls(log, signer, file, every)
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
        signed, closing = True, False
        while not closing:
            try:
                async with asyncio.timeout(self._every if signed else AGAIN_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                pass
            closing = self._closing.is_set()
            signed = await self._try()

    async def _try(self) -> bool:
        try:
            await self._sign()
        except StorageError as error:
            _log.warning("audit_head_not_signed", code=error.code)
        except LogBroken as error:
            _log.error("audit_log_broken", found=str(error))
        except OSError as error:
            _log.error("audit_head_not_remembered", reason=str(error))
        except Exception:  # without this task nothing would be signed any more
            _log.exception("audit_head_not_signed")
        else:
            return True
        self.failures += 1
        return False

    async def _sign(self) -> None:
        if self.last is None:
            self.last = await asyncio.to_thread(self._remembered.read, self._signer.public)
        head = await self._log.sign(self._signer, self.last)
        if head is None or head == self.last:
            return
        await asyncio.to_thread(self._remembered.write, head)
        self.last = head
        _log.info("audit_head", size=head.size, root=head.root.hex())


__all__ = ["AGAIN_SECONDS", "EVERY_SECONDS", "HeadKeeper"]
