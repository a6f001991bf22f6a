"""Which images nodes may make their engines' containers from: an administrator's word for each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import insert, select, update

from garage_ai.accounts.fields import checked_digest, checked_note
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import Storage
from garage_ai.storage.tables import images


@dataclass(frozen=True, slots=True)
class DecidedImage:
    """An image that an administrator has decided about; `note` says what it is."""

    digest: str
    note: str
    decided_at: datetime
    revoked: bool

    @property
    def state(self) -> Literal["approved", "revoked"]:
        """Say what was decided."""
        return "revoked" if self.revoked else "approved"


class Images:
    """The digests that were approved or revoked; of all others nothing is known."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def decide(
        self, digest: str, note: str | None = None, *, revoked: bool, by: Actor = GATEWAY
    ) -> DecidedImage:
        """Approve or revoke a digest; `note` None keeps what was written before.

        Raises: InvalidField, StorageError.
        """
        digest = checked_digest(digest)
        values: dict[str, object] = {"decided_at": self._clock(), "revoked": revoked}
        if note is not None:
            values["note"] = checked_note(note)
        this = images.c.digest == digest
        # In turn, since a row that is not there yet cannot be locked.
        async with self._storage.write(in_turn=True) as connection:
            changed = await connection.execute(update(images).where(this).values(**values))
            if not changed.rowcount:
                await connection.execute(
                    insert(images).values(**{"digest": digest, "note": "", **values})
                )
            row = (await connection.execute(select(images).where(this))).one()
            action = Action.IMAGE_REVOKED if revoked else Action.IMAGE_APPROVED
            await self._log.record(connection, Entry(action, by, digest))
        return DecidedImage(**row._asdict())

    async def list(self) -> list[DecidedImage]:
        """Give all, the newest decision first. Raises: StorageError."""
        newest_first = select(images).order_by(images.c.decided_at.desc(), images.c.digest)
        async with self._storage.read() as connection:
            rows = await connection.execute(newest_first)
            return [DecidedImage(**row._asdict()) for row in rows]
