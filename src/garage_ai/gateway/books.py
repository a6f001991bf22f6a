"""What the network asks of accounts, answered: where two rooms that do not know each other meet."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from garage_ai.accounts import (
    DecidedImage,
    ExternalModels,
    Images,
    MemberId,
    Node,
    NodeNotFound,
    Nodes,
)
from garage_ai.catalog.images import known_digests
from garage_ai.network import EnrolledNode, ImageList, KnownClaim
from garage_ai.network.enrolment import Enrolment
from garage_ai.network.models import NodeView
from garage_ai.storage import (
    Grouping,
    Storage,
    UsagePage,
    UsageTotal,
    usage_list,
    usage_summary,
)
from garage_ai.wire.ids import Digest, NodeId

SUMMED: Final = timedelta(days=31)
"""What is added up where nobody says since when: all that was ever used takes seconds to read."""


class AccountBooks:
    """The network's books, kept by accounts."""

    def __init__(
        self, nodes: Nodes, models: ExternalModels, images: Images, enrolment: Enrolment
    ) -> None:
        self._nodes = nodes
        self._models = models
        self._images = images
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

    async def claims(self) -> list[KnownClaim]:
        """Give all claims of members to names of models. Raises: StorageError."""
        return [
            KnownClaim(
                claim.name,
                claim.member,
                claim.digest,
                admitted=claim.state == "approved",
                by_admin=claim.by_admin,
            )
            for claim in await self._models.list()
        ]

    async def images(self) -> ImageList:
        """Give what administrators have decided about images. Raises: StorageError."""
        return image_list(await self._images.list())

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
        suspended=node.suspended,
        public_key=node.public_key,
    )


def as_enrolled(view: NodeView, *, suspended: bool) -> EnrolledNode:
    """Put a node that is shown as the network takes it, its member suspended or not."""
    return EnrolledNode(
        view.id,
        view.member,
        view.name,
        view.region,
        bare_allowed=view.bare_allowed,
        suspended=suspended,
        public_key=view.public_key,
    )


def image_list(decided: Sequence[DecidedImage]) -> ImageList:
    """Put decisions as the network asks for them; what came with this version is approved."""
    approved = {each.digest for each in decided if not each.revoked}
    return ImageList(
        approved=known_digests() | approved,
        revoked=frozenset(each.digest for each in decided if each.revoked),
    )


class StoredUsage:
    """Usage as the database has it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def page(
        self, limit: int, before: int | None, member: MemberId | None = None
    ) -> UsagePage:
        """List records, or one member's, newest first. Raises: StorageError."""
        return await usage_list(self._storage, limit, before, member=member)

    async def totals(
        self,
        since: datetime | None,
        until: datetime | None,
        by: Grouping,
        member: MemberId | None = None,
    ) -> Sequence[UsageTotal]:
        """Add records up, or one member's; of the last 31 days if not since when is given.

        Raises: StorageError.
        """
        if since is None:
            since = (until or datetime.now(UTC)) - SUMMED
        return await usage_summary(self._storage, since, until, by, member=member)


__all__ = ["SUMMED", "AccountBooks", "StoredUsage", "as_enrolled", "image_list"]
