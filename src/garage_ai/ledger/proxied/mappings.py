"""Which member pays for the calls of which LiteLLM key, user or team."""

import hashlib

from sqlalchemy import delete, select

from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.ledger.proxied.errors import InvalidMapping, MappingNotFound, UnknownMember
from garage_ai.ledger.proxied.models import Mapping, MappingKind
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import litellm_mappings, members


class Mappings:
    """The mappings of this network; they hold for every proxy in front of it."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def put(
        self, kind: MappingKind, value: str, member: MemberId, *, by: Actor = GATEWAY
    ) -> Mapping:
        """Map to a member, in place of an earlier mapping of the same.

        Calls that were passed on already stay where they are.
        Raises: InvalidMapping, UnknownMember, StorageError.
        """
        value = value.strip()
        if not 1 <= len(value) <= 255 or not value.isprintable():
            raise InvalidMapping("value: 1 to 255 printable characters")
        mapping = Mapping(kind, value, member, self._clock())
        table = litellm_mappings
        async with self._storage.write(in_turn=True) as connection:
            # Of one who was erased nothing is kept any more that names somebody.
            known = select(members.c.id).where(
                members.c.id == member, members.c.erased_at.is_(None)
            )
            if (await connection.execute(known)).one_or_none() is None:
                raise UnknownMember(f"no member {member!r}")
            await connection.execute(
                delete(table).where(table.c.kind == kind, table.c.value == value)
            )
            await connection.execute(
                table.insert().values(
                    kind=kind, value=value, member_id=member, created_at=mapping.created_at
                )
            )
            await self._log.record(connection, _act(mapping, by, mapped=True))
        return mapping

    async def remove(self, kind: MappingKind, value: str, *, by: Actor = GATEWAY) -> Mapping:
        """Take a mapping away; what comes now stays with the proxy.

        Raises: MappingNotFound, StorageError.
        """
        table = litellm_mappings
        this = (table.c.kind == kind) & (table.c.value == value.strip())
        async with self._storage.write(in_turn=True) as connection:
            row = (await connection.execute(select(table).where(this))).one_or_none()
            if row is None:
                raise MappingNotFound(f"no mapping of {kind} {value!r}")
            await connection.execute(delete(table).where(this))
            mapping = Mapping(row.kind, row.value, row.member_id, row.created_at)
            await self._log.record(connection, _act(mapping, by, mapped=False))
        return mapping

    async def list(self) -> list[Mapping]:
        """Give all mappings. Raises: StorageError."""
        table = litellm_mappings
        async with self._storage.read() as connection:
            rows = await connection.execute(select(table).order_by(table.c.kind, table.c.value))
            return [Mapping(row.kind, row.value, row.member_id, row.created_at) for row in rows]


def _act(mapping: Mapping, by: Actor, *, mapped: bool) -> Entry:
    # What LiteLLM calls somebody may be a name of a person: the log has its digest.
    digest = hashlib.sha256(mapping.value.encode()).hexdigest()[:16]
    subject = f"{mapping.kind}:{digest}"
    return Entry(Action.PROXY_MAPPED, by, subject, mapping.member, {"mapped": mapped})


__all__ = ["Mappings"]
