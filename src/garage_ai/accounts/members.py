"""Members: who owns what, who may go on, and who is gone."""

from datetime import datetime

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.administrators import require_another_admin
from garage_ai.accounts.erasure import erase_member
from garage_ai.accounts.errors import (
    MemberErased,
    MemberNotFound,
    MemberSuspended,
    NotConfirmed,
    OperatorNeeded,
)
from garage_ai.accounts.fields import checked_name
from garage_ai.accounts.listing import read_page
from garage_ai.accounts.models import Member
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import OPERATOR, MemberId, Storage
from garage_ai.storage.ids import new_member_id
from garage_ai.storage.tables import keys, members


class Members:
    """The members of this network; the operator is there from the start."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def add(self, name: str, *, by: Actor = GATEWAY) -> Member:
        """Add a member. Raises: InvalidField, StorageError."""
        member = Member(new_member_id(), checked_name(name), self._clock())
        async with self._storage.write(in_turn=True) as connection:
            await insert_member(connection, member)
            await self._log.record(connection, Entry(Action.MEMBER_MADE, by, member.id, member.id))
        return member

    async def get(self, member: MemberId) -> Member:
        """Give one member. Raises: MemberNotFound, StorageError."""
        async with self._storage.read() as connection:
            return _member(await _row(connection, member))

    async def list(self, limit: int | None = None, after: MemberId | None = None) -> list[Member]:
        """Give all members, oldest first, or `limit` of them from behind one.

        Raises: MemberNotFound, StorageError.
        """
        async with self._storage.read() as connection:
            rows = await read_page(connection, select(members), limit, after, MemberNotFound)
        return [_member(row) for row in rows]

    async def suspend(self, member: MemberId, *, by: Actor = GATEWAY) -> Member:
        """Let a member's keys do nothing and its nodes get no work; once more changes nothing.

        Raises: MemberNotFound, OperatorNeeded, MemberErased, LastAdminKey, StorageError.
        """
        return await self._set(member, by, suspended=True)

    async def resume(self, member: MemberId, *, by: Actor = GATEWAY) -> Member:
        """Undo a suspension; once more changes nothing. Raises: as `suspend`."""
        return await self._set(member, by, suspended=False)

    async def erase(self, member: MemberId, name: str, *, by: Actor = GATEWAY) -> Member:
        """Forget who a member was, for good; once more changes nothing.

        Keys, tokens and nodes are ended, names are replaced; what was used and booked stays under
        an id that nobody can be found by. `name` confirms that this is meant. Its nodes were
        removed before, so that they are cut off.
        Raises: MemberNotFound, OperatorNeeded, NotConfirmed, LastAdminKey, StorageError.
        """
        now = self._clock()
        async with self._storage.write(in_turn=True) as connection:
            before = await _erasable(connection, member, name, by, now)
            if before.erased_at is not None:
                return before
            counts = await erase_member(connection, member, now)
            entry = Entry(Action.MEMBER_ERASED, by, member, member, counts)
            await self._log.record(connection, entry)
            return _member(await _row(connection, member))

    async def may_erase(self, member: MemberId, name: str, *, by: Actor = GATEWAY) -> None:
        """Refuse what `erase` would, before anything is done for it. Raises: as `erase`."""
        async with self._storage.read() as connection:
            await _erasable(connection, member, name, by, self._clock())

    async def _set(self, member: MemberId, by: Actor, *, suspended: bool) -> Member:
        action = Action.MEMBER_SUSPENDED if suspended else Action.MEMBER_RESUMED
        async with self._storage.write(in_turn=True) as connection:
            before = await _changeable(connection, member)
            if before.erased_at is not None:
                raise MemberErased(f"member {member!r} was erased")
            if (before.suspended_at is not None) != suspended:
                moment = self._clock() if suspended else None
                if moment is not None:
                    await require_another_admin(connection, by, keys.c.member_id == member, moment)
                this = update(members).where(members.c.id == member)
                await connection.execute(this.values(suspended_at=moment))
                await self._log.record(connection, Entry(action, by, member, member))
            return _member(await _row(connection, member))


async def insert_member(connection: AsyncConnection, member: Member) -> None:
    """Add a member in the caller's transaction."""
    await connection.execute(
        insert(members).values(id=member.id, name=member.name, created_at=member.created_at)
    )


async def get_member(connection: AsyncConnection, member: MemberId) -> Member:
    """Give one member in the caller's transaction. Raises: MemberNotFound."""
    return _member(await _row(connection, member))


async def require_member(
    connection: AsyncConnection, member: MemberId, *, active: bool = False
) -> None:
    """Make sure that a member is there before something is given to it; `active`: not suspended.

    Raises: MemberNotFound, MemberErased, MemberSuspended.
    """
    found = await get_member(connection, member)
    if found.erased_at is not None:
        raise MemberErased(f"member {member!r} was erased")
    if active and found.suspended_at is not None:
        raise MemberSuspended(f"member {member!r} is suspended")


async def _changeable(connection: AsyncConnection, member: MemberId) -> Member:
    if member == OPERATOR:
        raise OperatorNeeded("a network has an operator; that member stays as it is")
    return _member(await _row(connection, member))


async def _erasable(
    connection: AsyncConnection, member: MemberId, name: str, by: Actor, now: datetime
) -> Member:
    found = await _changeable(connection, member)
    if found.erased_at is None:
        if name.strip() != found.name:
            raise NotConfirmed("not this member's name; nothing was erased")
        await require_another_admin(connection, by, keys.c.member_id == member, now)
    return found


async def _row(connection: AsyncConnection, member: MemberId) -> Row[tuple[object, ...]]:
    row = (await connection.execute(select(members).where(members.c.id == member))).one_or_none()
    if row is None:
        raise MemberNotFound(f"no member {member!r}")
    return row


def _member(row: Row[tuple[object, ...]]) -> Member:
    return Member(**row._asdict())
