"""What the network asks of accounts, answered: where two rooms that do not know each other meet."""

from collections.abc import Sequence
from datetime import datetime

from garage_ai.accounts import ExternalModels, MemberId, Node, NodeNotFound, Nodes
from garage_ai.network import EnrolledNode
from garage_ai.network.enrolment import Enrolment
from garage_ai.storage import (
    Grouping,
    Storage,
    UsagePage,
    UsageTotal,
    usage_list,
    usage_summary,
)
from garage_ai.wire.ids import Digest, NodeId


class AccountBooks:
    """The network's books, kept by accounts."""

    def __init__(self, nodes: Nodes, models: ExternalModels, enrolment: Enrolment) -> None:
        self._nodes = nodes
        self._models = models
        self._enrolment = enrolment

    async def nodes(self) -> Sequence[EnrolledNode]:
        """Give all nodes that were not removed. Raises: StorageError."""
        return [_enrolled(node) for node in await self._nodes.list()]

    async def node(self, node_id: NodeId) -> EnrolledNode | None:
        """Give one node, or None if it was removed or never was. Raises: StorageError."""
        try:
            node = await self._nodes.get(node_id)
        except NodeNotFound:
            return None
        return _enrolled(node) if node.removed_at is None else None

    async def claim(self, name: str, member: str, digest: Digest, *, reserved: bool) -> bool:
        """Claim a model name for a member. Raises: AccountError, StorageError."""
        claim = await self._models.claim(name, MemberId(member), digest, in_catalogue=reserved)
        return claim.state == "approved"

    async def renew(self, node_id: NodeId) -> str:
        """Make a new JWT for a node. Raises: EnrolmentError, AccountError, StorageError."""
        return (await self._enrolment.renew(node_id)).jwt


def _enrolled(node: Node) -> EnrolledNode:
    return EnrolledNode(
        node.id,
        node.member,
        node.name,
        node.region,
        bare_allowed=node.bare_allowed_at is not None,
    )


class StoredUsage:
    """Usage as the database has it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def page(self, limit: int, before: int | None) -> UsagePage:
        """List records, newest first. Raises: StorageError."""
        return await usage_list(self._storage, limit, before)

    async def totals(
        self, since: datetime | None, until: datetime | None, by: Grouping
    ) -> Sequence[UsageTotal]:
        """Add records up. Raises: StorageError."""
        return await usage_summary(self._storage, since, until, by)


__all__ = ["AccountBooks", "StoredUsage"]
