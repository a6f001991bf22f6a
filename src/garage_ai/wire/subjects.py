"""The NATS subjects: who may say what to whom.

gateway → node   gai.v1.node.<node>.{job,credit,cancel,control}
node → gateway   gai.v1.reply.<gateway>.<node>.<request>
                 gai.v1.beat.<region or none>.<node>
                 gai.v1.renew.<node>

The node's token in a subject is vouched for by the server: a node's JWT allows no other.
"""

from typing import Final, Literal

from garage_ai.wire.errors import Malformed
from garage_ai.wire.ids import AttemptId, GatewayId, NodeId

NodeChannel = Literal["job", "credit", "cancel", "control"]

NO_REGION: Final = "none"
ALL_BEATS: Final = "gai.v1.beat.*.*"
ALL_RENEWALS: Final = "gai.v1.renew.*"
ALL_NODES: Final = "gai.v1.node.>"
_REPLY_TOKENS: Final = 6
_BEAT_TOKENS: Final = 5


def to_node(node: NodeId, channel: NodeChannel) -> str:
    """Name the subject a node hears on one channel."""
    return f"gai.v1.node.{node}.{channel}"


def all_to_node(node: NodeId) -> str:
    """Name what a node subscribes to: one subscription, so that its channels keep their order."""
    return f"gai.v1.node.{node}.>"


def reply(gateway: GatewayId, node: NodeId, attempt: AttemptId) -> str:
    """Name the subject on which a node answers one attempt."""
    return f"gai.v1.reply.{gateway}.{node}.{attempt}"


def replies_to(gateway: GatewayId) -> str:
    """Name all replies to one gateway."""
    return f"gai.v1.reply.{gateway}.>"


def replies_of(node: NodeId) -> str:
    """Name all replies a node may give, to any gateway."""
    return f"gai.v1.reply.*.{node}.>"


def beat(region: str | None, node: NodeId) -> str:
    """Name the subject of a node's heartbeat."""
    return f"gai.v1.beat.{region or NO_REGION}.{node}"


def renew(node: NodeId) -> str:
    """Name the subject on which a node asks for a new JWT."""
    return f"gai.v1.renew.{node}"


def parse_reply(subject: str) -> tuple[NodeId, AttemptId]:
    """Read node and attempt from a reply subject.

    Raises: Malformed.
    """
    parts = subject.split(".")
    if len(parts) != _REPLY_TOKENS or parts[2] != "reply":
        raise Malformed(f"not a reply subject: {subject[:200]}")
    return NodeId(parts[4]), AttemptId(parts[5])


def parse_beat(subject: str) -> tuple[str | None, NodeId]:
    """Read region (None if unset) and node from a beat's subject.

    Raises: Malformed.
    """
    parts = subject.split(".")
    if len(parts) != _BEAT_TOKENS or parts[2] != "beat":
        raise Malformed(f"not a beat subject: {subject[:200]}")
    return (None if parts[3] == NO_REGION else parts[3]), NodeId(parts[4])


def parse_renew(subject: str) -> NodeId:
    """Read the node from a renewal's subject.

    Raises: Malformed.
    """
    parts = subject.split(".")
    if len(parts) != 4 or parts[2] != "renew":
        raise Malformed(f"not a renewal subject: {subject[:200]}")
    return NodeId(parts[3])
