"""Names of models that members serve with engines of their own."""

from typing import Final

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import ClaimNotFound, InvalidField
from garage_ai.accounts.fields import checked_name
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import ExternalModel
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import external_models as models
from garage_ai.wire.ids import Digest

MOST_NAMES: Final = 256
"""Names that a member may claim: nodes say what they serve, and one may say anything."""


class ExternalModels:
    """Who may serve which model name: the first who claims a free one, or whom an admin allows."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def claim(
        self, name: str, member: MemberId, digest: Digest, *, in_catalogue: bool
    ) -> ExternalModel:
        """Claim a name; approved at once when neither the catalogue nor another member has it.

        Claimed again it stays as it is, but a name that the catalogue took since waits for an
        admin. Raises: InvalidField, MemberNotFound, StorageError.
        """
        name = checked_name(name, 255)
        # In turn, since "nobody else has it" is a rule over rows that are not there yet.
        async with self._storage.write(in_turn=True) as connection:
            await require_member(connection, member)
            rows = (await connection.execute(select(models).where(models.c.name == name))).all()
            mine = next((row for row in rows if row.member_id == member), None)
            if mine is None:
                await _require_room(connection, member)
                free = not in_catalogue and not rows
                await self._insert(connection, name, member, digest, approved=free)
            else:
                by_rule = mine.approved_at is not None and not mine.by_admin
                lost = by_rule and in_catalogue
                values = {"digest": digest} | ({"approved_at": None} if lost else {})
                if lost or mine.digest != digest:
                    await connection.execute(update(models).where(_is(name, member)).values(values))
            claim = await _get(connection, name, member)
            # Not for a digest: two PCs with other files would leave an entry with each beat.
            if mine is None or mine.approved_at != claim.approved_at:
                await self._record(connection, Action.MODEL_CLAIMED, GATEWAY, claim)
            return claim

    async def approve(self, name: str, member: MemberId, *, by: Actor = GATEWAY) -> ExternalModel:
        """Let a member serve a name that it claimed. Raises: ClaimNotFound, StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            before = await _get(connection, name, member)
            approved_at = before.approved_at or self._clock()
            changed = await connection.execute(
                update(models)
                .where(_is(name, member), ~(models.c.by_admin & models.c.approved_at.is_not(None)))
                .values(approved_at=approved_at, by_admin=True)
            )
            claim = await _get(connection, name, member)
            if changed.rowcount:
                await self._record(connection, Action.MODEL_APPROVED, by, claim)
            return claim

    async def withdraw(self, name: str, member: MemberId, *, by: Actor = GATEWAY) -> ExternalModel:
        """Take a claim away and give it back one last time. Raises: ClaimNotFound, StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            claim = await _get(connection, name, member)
            await connection.execute(delete(models).where(_is(name, member)))
            await self._record(connection, Action.MODEL_WITHDRAWN, by, claim)
        return claim

    async def list(self) -> list[ExternalModel]:
        """Give all claims, oldest first. Raises: StorageError."""
        async with self._storage.read() as connection:
            rows = await connection.execute(
                select(models).order_by(models.c.created_at, models.c.name, models.c.member_id)
            )
            return [_model(row) for row in rows]

    async def _record(
        self, connection: AsyncConnection, action: Action, by: Actor, claim: ExternalModel
    ) -> None:
        details = {"digest": claim.digest, "state": claim.state}
        await self._log.record(connection, Entry(action, by, claim.name, claim.member, details))

    async def _insert(
        self,
        connection: AsyncConnection,
        name: str,
        member: MemberId,
        digest: Digest,
        *,
        approved: bool,
    ) -> None:
        now = self._clock()
        await connection.execute(
            insert(models).values(
                name=name,
                member_id=member,
                digest=digest,
                created_at=now,
                approved_at=now if approved else None,
                by_admin=False,
            )
        )


def _is(name: str, member: MemberId) -> ColumnElement[bool]:
    return (models.c.name == name) & (models.c.member_id == member)


async def _require_room(connection: AsyncConnection, member: MemberId) -> None:
    own = select(func.count()).select_from(models).where(models.c.member_id == member)
    if (await connection.execute(own)).scalar_one() >= MOST_NAMES:
        raise InvalidField("name", f"a member claims {MOST_NAMES} names at most")


async def _get(connection: AsyncConnection, name: str, member: MemberId) -> ExternalModel:
    row = (await connection.execute(select(models).where(_is(name, member)))).one_or_none()
    if row is None:
        raise ClaimNotFound(f"member {member!r} has not claimed {name!r}")
    return _model(row)


def _model(row: Row[tuple[object, ...]]) -> ExternalModel:
    fields = row._asdict()
    fields["member"] = fields.pop("member_id")
    return ExternalModel(**fields)
