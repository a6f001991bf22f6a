"""Members: who owns what."""

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import MemberNotFound
from garage_ai.accounts.fields import checked_name
from garage_ai.accounts.models import Clock, Member, utc_now
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.ids import new_member_id
from garage_ai.storage.tables import members


class Members:
    """The members of this network; the operator is there from the start."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock

    async def add(self, name: str) -> Member:
        """Add a member. Raises: InvalidField, StorageError."""
        member = Member(new_member_id(), checked_name(name), self._clock())
        async with self._storage.write() as connection:
            await connection.execute(
                insert(members).values(id=member.id, name=member.name, created_at=member.created_at)
            )
        return member

    async def get(self, member: MemberId) -> Member:
        """Give one member. Raises: MemberNotFound, StorageError."""
        async with self._storage.read() as connection:
            return _member(await _row(connection, member))

    async def list(self) -> list[Member]:
        """Give all members, oldest first. Raises: StorageError."""
        async with self._storage.read() as connection:
            rows = await connection.execute(select(members).order_by(members.c.created_at))
            return [_member(row) for row in rows]


async def require_member(connection: AsyncConnection, member: MemberId) -> None:
    """Make sure that a member exists before something is given to it. Raises: MemberNotFound."""
    await _row(connection, member)


async def _row(connection: AsyncConnection, member: MemberId) -> Row[tuple[object, ...]]:
    row = (await connection.execute(select(members).where(members.c.id == member))).one_or_none()
    if row is None:
        raise MemberNotFound(f"no member {member!r}")
    return row


def _member(row: Row[tuple[object, ...]]) -> Member:
    return Member(**row._asdict())
