"""Nodes: which PCs belong to the network, whose they are, and by which key they are known."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import (
    NodeKeyStale,
    NodeKeyTaken,
    NodeNotFound,
    NodeRemoved,
    TooManyRotations,
)
from garage_ai.accounts.fields import checked_name, checked_public_key
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import EnrolmentToken, Node, RetiredKey, Trust
from garage_ai.accounts.tokens import find_token, redeem_token
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Detail, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import members, nodes, retired_node_keys
from garage_ai.wire.ids import NodeId, new_node_id

ROTATIONS: Final = 5
"""Of one node within a day: each is one more revocation that every server carries for a year."""

_DAY: Final = timedelta(days=1)


class Nodes:
    """The nodes of this network. A public key belongs to one node for ever, removed or not."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def enrol(
        self, token: str, public_key: str, name: str, trust: Trust = "unverified"
    ) -> Node:
        """Redeem a token for a node, both or neither.

        The caller has checked that the other side holds the public key's seed. The same call
        again, after a lost answer, gives the same node. A key that is a node of the token's
        member already stays that node, with the new name and trust and what the token says.
        Raises: InvalidToken and its leaves, MemberSuspended, NodeKeyTaken, NodeRemoved,
        InvalidField, StorageError.
        """
        name, public_key = checked_name(name), checked_public_key(public_key)
        now = self._clock()
        # Anybody may ask, and whoever has no token is not to keep others from their turn.
        async with self._storage.read() as connection:
            await find_token(connection, token)
        # In turn: that no node has or had the key is a rule over two tables.
        async with self._storage.write(in_turn=True) as connection:
            known = await _by_key(connection, public_key)
            if known is not None and known.removed_at is not None:
                raise NodeRemoved("the node of this public key was removed for good")
            asked = await find_token(connection, token)
            if known is not None and asked.redeemed_by == known.id:
                await require_member(connection, known.member, active=True)
                return known
            node = known.id if known is not None else new_node_id()
            redeemed = await redeem_token(connection, token, now, node)
            await require_member(connection, redeemed.member, active=True)
            if known is None:
                fresh = Node(
                    node,
                    redeemed.member,
                    name,
                    public_key,
                    redeemed.region,
                    trust,
                    now,
                    bare_allowed_at=redeemed.bare_allowed_at,
                )
                await _insert(connection, fresh)
                await self._enrolled(connection, fresh, redeemed)
                return fresh
            if known.member != redeemed.member:
                raise NodeKeyTaken("this public key is a node of another member")
            await _set(
                connection,
                node,
                name=name,
                trust=trust,
                region=redeemed.region,
                bare_allowed_at=redeemed.bare_allowed_at,
            )
            again = await _get(connection, node)
            await self._enrolled(connection, again, redeemed)
            return again

    async def get(self, node: NodeId) -> Node:
        """Give one node, removed or not. Raises: NodeNotFound, StorageError."""
        async with self._storage.read() as connection:
            return await _get(connection, node)

    async def list(self, *, removed: bool = False, of: MemberId | None = None) -> list[Node]:
        """Give the nodes, or the removed ones, of one member if that is named, oldest first.

        Raises: StorageError.
        """
        gone = nodes.c.removed_at.is_not(None)
        wanted: ColumnElement[bool] = gone if removed else ~gone
        if of is not None:
            wanted &= nodes.c.member_id == of
        async with self._storage.read() as connection:
            return await _find(connection, wanted)

    async def allow_bare(self, node: NodeId, *, by: Actor = GATEWAY) -> Node:
        """Let a node serve without a whole sandbox; once more changes nothing.

        Raises: NodeNotFound, StorageError.
        """
        async with self._storage.write(in_turn=True) as connection:
            current = await _get(connection, node)
            if current.bare_allowed_at is None:
                await _set(connection, node, bare_allowed_at=self._clock())
                await self._record(connection, Action.NODE_ADMITTED, by, current)
            return await _get(connection, node)

    async def rotate_key(self, node: NodeId, old: str, new: str) -> Node:
        """Give a node a new public key; the old one is retired for ever.

        The caller has checked that the old key signed for the new one. The same call again
        changes nothing. Raises: InvalidField, NodeNotFound, NodeKeyStale, NodeKeyTaken,
        TooManyRotations, StorageError.
        """
        checked_public_key(new)
        now = self._clock()
        # In turn: that no node has or had the key is a rule over two tables.
        async with self._storage.write(in_turn=True) as connection:
            current = await _get(connection, node)
            if current.removed_at is not None:
                raise NodeNotFound(f"node {node!r} was removed")
            retired = {key.public_key for key in current.retired_keys}
            if current.public_key == new and old in retired:
                return current
            if current.public_key != old:
                raise NodeKeyStale(f"node {node!r} has another public key by now")
            _require_calm(current, now)
            await _require_unused(connection, new)
            await _set(connection, node, public_key=new)
            await connection.execute(
                insert(retired_node_keys).values(public_key=old, node_id=node, retired_at=now)
            )
            by = Actor.node(node, current.member)
            await self._record(connection, Action.NODE_ROTATED, by, current, public_key=new)
            return await _get(connection, node)

    async def let_go(self, since: datetime) -> Sequence[RetiredKey]:
        """Give the keys that stopped being a node's since then: removed or replaced.

        Raises: StorageError.
        """
        removed = select(nodes.c.public_key, nodes.c.removed_at).where(nodes.c.removed_at >= since)
        replaced = select(retired_node_keys.c.public_key, retired_node_keys.c.retired_at).where(
            retired_node_keys.c.retired_at >= since
        )
        async with self._storage.read() as connection:
            return [
                RetiredKey(key, at)
                for each in (removed, replaced)
                for key, at in await connection.execute(each)
            ]

    async def remove(self, node: NodeId, *, by: Actor = GATEWAY) -> Node:
        """Remove a node for good; once more changes nothing. Raises: NodeNotFound, StorageError."""
        async with self._storage.write(in_turn=True) as connection:
            changed = await connection.execute(
                update(nodes)
                .where(nodes.c.id == node, nodes.c.removed_at.is_(None))
                .values(removed_at=self._clock())
            )
            removed = await _get(connection, node)
            if changed.rowcount:
                await self._record(connection, Action.NODE_REMOVED, by, removed)
            return removed

    async def _enrolled(
        self, connection: AsyncConnection, node: Node, token: EnrolmentToken
    ) -> None:
        by = Actor.node(node.id, node.member)
        await self._record(connection, Action.NODE_ENROLLED, by, node, token=token.id)

    async def _record(
        self, connection: AsyncConnection, action: Action, by: Actor, node: Node, **details: Detail
    ) -> None:
        await self._log.record(connection, Entry(action, by, node.id, node.member, details))


async def _insert(connection: AsyncConnection, node: Node) -> None:
    await _require_unused(connection, node.public_key)
    await connection.execute(
        insert(nodes).values(
            id=node.id,
            member_id=node.member,
            name=node.name,
            public_key=node.public_key,
            region=node.region,
            trust=node.trust,
            created_at=node.created_at,
            bare_allowed_at=node.bare_allowed_at,
        )
    )


def _require_calm(node: Node, now: datetime) -> None:
    """Refuse a rotation where there were as many within a day. Raises: TooManyRotations."""
    lately = [key.retired_at for key in node.retired_keys if key.retired_at > now - _DAY]
    if len(lately) >= ROTATIONS:
        wait = (lately[-ROTATIONS] + _DAY - now).total_seconds()
        raise TooManyRotations(
            f"a node changes its key {ROTATIONS} times a day at most", retry_after=wait
        )


async def _require_unused(connection: AsyncConnection, public_key: str) -> None:
    retired = select(retired_node_keys.c.node_id).where(
        retired_node_keys.c.public_key == public_key
    )
    current = select(nodes.c.id).where(nodes.c.public_key == public_key)
    if (await connection.execute(retired.union(current))).first() is not None:
        raise NodeKeyTaken("a node has or had this public key")


async def _set(connection: AsyncConnection, node: NodeId, **values: str | datetime | None) -> None:
    """Change columns of a node that is not removed. Raises: NodeNotFound."""
    result = await connection.execute(
        update(nodes).where(nodes.c.id == node, nodes.c.removed_at.is_(None)).values(**values)
    )
    if result.rowcount != 1:
        raise NodeNotFound(f"no node {node!r}")


async def _get(connection: AsyncConnection, node: NodeId) -> Node:
    found = await _find(connection, nodes.c.id == node)
    if not found:
        raise NodeNotFound(f"no node {node!r}")
    return found[0]


async def _by_key(connection: AsyncConnection, public_key: str) -> Node | None:
    found = await _find(connection, nodes.c.public_key == public_key)
    return found[0] if found else None


async def _find(connection: AsyncConnection, which: ColumnElement[bool]) -> list[Node]:
    owned = select(nodes, members.c.suspended_at).join(members)
    rows = await connection.execute(owned.where(which).order_by(nodes.c.created_at))
    before = await connection.execute(
        select(retired_node_keys)
        .join(nodes, nodes.c.id == retired_node_keys.c.node_id)
        .where(which)
        .order_by(retired_node_keys.c.retired_at)
    )
    retired: defaultdict[str, list[RetiredKey]] = defaultdict(list)
    for key in before:
        retired[key.node_id].append(RetiredKey(key.public_key, key.retired_at))
    return [_node(row, retired[row.id]) for row in rows]


def _node(row: Row[tuple[object, ...]], retired: Sequence[RetiredKey]) -> Node:
    fields = row._asdict()
    fields["member"] = fields.pop("member_id")
    fields["suspended"] = fields.pop("suspended_at") is not None
    return Node(**fields, retired_keys=tuple(retired))
