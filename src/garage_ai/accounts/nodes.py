"""Nodes: which PCs belong to the network, whose they are, and by which key they are known."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import NodeKeyStale, NodeKeyTaken, NodeNotFound, NodeRemoved
from garage_ai.accounts.fields import checked_name, checked_public_key, checked_region
from garage_ai.accounts.members import require_member
from garage_ai.accounts.models import Clock, Node, RetiredKey, Trust, utc_now
from garage_ai.accounts.tokens import find_token, redeem_token
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import nodes, retired_node_keys
from garage_ai.wire.ids import NodeId, new_node_id


class Nodes:
    """The nodes of this network. A public key belongs to one node for ever, removed or not."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock

    async def enrol(
        self, token: str, public_key: str, name: str, trust: Trust = "unverified"
    ) -> Node:
        """Redeem a token for a node, both or neither.

        The caller has checked that the other side holds the public key's seed. The same call
        again, after a lost answer, gives the same node. A key that is a node of the token's
        member already stays that node, with the new name and trust and what the token says.
        Raises: InvalidToken and its leaves, NodeKeyTaken, NodeRemoved, InvalidField, StorageError.
        """
        name, public_key = checked_name(name), checked_public_key(public_key)
        now = self._clock()
        async with self._storage.write() as connection:
            known = await _by_key(connection, public_key)
            if known is not None and known.removed_at is not None:
                raise NodeRemoved("the node of this public key was removed for good")
            asked = await find_token(connection, token)
            if known is not None and asked.redeemed_by == known.id:
                return known
            node = known.id if known is not None else new_node_id()
            redeemed = await redeem_token(connection, token, now, node)
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
            return await _get(connection, node)

    async def add(
        self,
        member: MemberId,
        name: str,
        public_key: str,
        region: str | None = None,
        trust: Trust = "unverified",
    ) -> Node:
        """Add a node without a token.

        Raises: InvalidField, MemberNotFound, NodeKeyTaken, StorageError.
        """
        node = Node(
            new_node_id(),
            member,
            checked_name(name),
            checked_public_key(public_key),
            checked_region(region),
            trust,
            self._clock(),
        )
        async with self._storage.write() as connection:
            await require_member(connection, member)
            await _insert(connection, node)
        return node

    async def get(self, node: NodeId) -> Node:
        """Give one node, removed or not. Raises: NodeNotFound, StorageError."""
        async with self._storage.read() as connection:
            return await _get(connection, node)

    async def by_public_key(self, public_key: str) -> Node | None:
        """Give the node that has this public key now, removed or not. Raises: StorageError."""
        async with self._storage.read() as connection:
            return await _by_key(connection, public_key)

    async def list(self, *, removed: bool = False) -> list[Node]:
        """Give the nodes, or the removed ones, oldest first. Raises: StorageError."""
        gone = nodes.c.removed_at.is_not(None)
        async with self._storage.read() as connection:
            return await _find(connection, gone if removed else ~gone)

    async def set_region(self, node: NodeId, region: str | None) -> Node:
        """Say where a node stands. Raises: InvalidField, NodeNotFound, StorageError."""
        async with self._storage.write() as connection:
            await _set(connection, node, region=checked_region(region))
            return await _get(connection, node)

    async def set_trust(self, node: NodeId, trust: Trust) -> Node:
        """Say how far a node is trusted. Raises: NodeNotFound, StorageError."""
        async with self._storage.write() as connection:
            await _set(connection, node, trust=trust)
            return await _get(connection, node)

    async def allow_bare(self, node: NodeId) -> Node:
        """Let a node serve without a whole sandbox; once more changes nothing.

        Raises: NodeNotFound, StorageError.
        """
        async with self._storage.write() as connection:
            current = await _get(connection, node)
            if current.bare_allowed_at is None:
                await _set(connection, node, bare_allowed_at=self._clock())
            return await _get(connection, node)

    async def rotate_key(self, node: NodeId, old: str, new: str) -> Node:
        """Give a node a new public key; the old one is retired for ever.

        The caller has checked that the old key signed for the new one. The same call again
        changes nothing. Raises: InvalidField, NodeNotFound, NodeKeyStale, NodeKeyTaken,
        StorageError.
        """
        checked_public_key(new)
        now = self._clock()
        async with self._storage.write() as connection:
            current = await _get(connection, node)
            if current.removed_at is not None:
                raise NodeNotFound(f"node {node!r} was removed")
            retired = {key.public_key for key in current.retired_keys}
            if current.public_key == new and old in retired:
                return current
            if current.public_key != old:
                raise NodeKeyStale(f"node {node!r} has another public key by now")
            await _require_unused(connection, new)
            await _set(connection, node, public_key=new)
            await connection.execute(
                insert(retired_node_keys).values(public_key=old, node_id=node, retired_at=now)
            )
            return await _get(connection, node)

    async def remove(self, node: NodeId) -> Node:
        """Remove a node for good; once more changes nothing. Raises: NodeNotFound, StorageError."""
        async with self._storage.write() as connection:
            await connection.execute(
                update(nodes)
                .where(nodes.c.id == node, nodes.c.removed_at.is_(None))
                .values(removed_at=self._clock())
            )
            return await _get(connection, node)


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
    rows = await connection.execute(select(nodes).where(which).order_by(nodes.c.created_at))
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
    return Node(**fields, retired_keys=tuple(retired))
