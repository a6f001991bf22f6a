"""What the network asks of accounts and authority."""

from collections.abc import Collection, Sequence
from typing import Protocol

from garage_ai.network.admission import ImageList
from garage_ai.network.models import EnrolledNode
from garage_ai.network.names import KnownClaim
from garage_ai.wire.ids import Digest, NodeId


class Books(Protocol):
    """Each call is one short transaction."""

    async def nodes(self) -> Sequence[EnrolledNode]:
        """Give all nodes that were not removed."""

    async def node(self, node_id: NodeId) -> EnrolledNode | None:
        """Give one node, or None if it was removed or never was."""

    async def claims(self) -> Collection[KnownClaim]:
        """Give all claims of members to names of models."""

    async def images(self) -> ImageList:
        """Give what administrators have decided about images."""

    async def claim(self, name: str, member: str, digest: Digest, *, reserved: bool) -> bool:
        """Claim a model name for a member; False while an administrator must approve it."""

    async def renew(self, node_id: NodeId) -> str:
        """Make a new JWT for a node."""


__all__ = ["Books"]
