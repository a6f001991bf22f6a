"""What the log is made of: who acted, what was done, and to what."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

Clock = Callable[[], datetime]

ActorKind = Literal["key", "node", "invite", "command line", "gateway"]

Detail = str | int | bool | None
"""Ids, counts, states. Never a secret, a name of a person, an address or a prompt."""

_SECRET: Final = re.compile(r"gai[a-z]?_[0-9A-Za-z]{38}")


class Action(StrEnum):
    """What can be done that belongs into the log."""

    KEY_MADE = "key.made"
    KEY_REVOKED = "key.revoked"
    KEY_LIMITED = "key.limited"
    ADMIN_KEY_MADE = "admin_key.made"
    ADMIN_KEY_REPLACED = "admin_key.replaced"
    MEMBER_MADE = "member.made"
    MEMBER_LIMITED = "member.limited"
    MEMBER_SUSPENDED = "member.suspended"
    MEMBER_RESUMED = "member.resumed"
    MEMBER_ERASED = "member.erased"
    INVITE_MADE = "invite.made"
    INVITE_ACCEPTED = "invite.accepted"
    INVITE_REVOKED = "invite.revoked"
    TOKEN_MADE = "token.made"  # noqa: S105 - an act, not a secret
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    NODE_ENROLLED = "node.enrolled"
    NODE_ADMITTED = "node.admitted"
    NODE_DRAINED = "node.drained"
    NODE_UNDRAINED = "node.undrained"
    NODE_ROTATED = "node.rotated"
    NODE_REMOVED = "node.removed"
    NODE_FORFEITED = "node.forfeited"
    NODE_FLAGGED = "node.flagged"
    NODE_CLEARED = "node.cleared"
    IMAGE_APPROVED = "image.approved"
    IMAGE_REVOKED = "image.revoked"
    MANIFEST_ADDED = "manifest.added"
    MANIFEST_REMOVED = "manifest.removed"
    MODEL_CLAIMED = "model.claimed"
    MODEL_APPROVED = "model.approved"
    MODEL_WITHDRAWN = "model.withdrawn"
    PRICE_SET = "price.set"
    LEDGER_ADJUSTED = "ledger.adjusted"
    LEDGER_REBUILT = "ledger.rebuilt"
    PROXY_MAPPED = "proxy.mapped"
    FILE_ADDED = "file.added"
    FILE_DELETED = "file.deleted"
    BATCH_SUBMITTED = "batch.submitted"
    BATCH_CANCELLED = "batch.cancelled"
    SETTINGS_CHANGED = "settings.changed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a key, a node, an invited person, or this program itself.

    `id` names the key, node or invite; `member` is whose it is.
    """

    kind: ActorKind
    id: str | None = None
    member: str | None = None

    @classmethod
    def key(cls, key: str, member: str) -> "Actor":
        """Name whoever holds a key."""
        return cls("key", key, member)

    @classmethod
    def node(cls, node: str, member: str | None = None) -> "Actor":
        """Name a node that acts for itself."""
        return cls("node", node, member)


GATEWAY: Final = Actor("gateway")
"""The gateway itself, at its start or by a rule."""
COMMAND_LINE: Final = Actor("command line")
"""Somebody at the gateway's own machine, past its API."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An act that is to be recorded; `subject` is the id of what was acted on.

    `member` is whose that is, where it is somebody's.
    """

    action: Action
    by: Actor
    subject: str
    member: str | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.subject, *self.details.values()):
            if isinstance(text, str) and _SECRET.search(text):
                raise AssertionError(f"a secret on its way into the log, by {self.action}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry as it stands in the log; `details` is JSON as it was hashed.

    Counted from 1 without a gap. `hash` covers all the other fields and the hash before it.
    """

    seq: int
    at: datetime
    action: str
    actor: str
    actor_id: str | None
    actor_member: str | None
    subject: str
    member: str | None
    details: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The log's state, signed: how many entries it had, and the hash of the last one."""

    size: int
    root: bytes
    at: datetime
    public_key: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """A head that was noted elsewhere, which whoever checks trusts as it stands there."""

    size: int
    root: bytes
    public_key: str | None = None


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


__all__ = [
    "COMMAND_LINE",
    "GATEWAY",
    "Action",
    "Actor",
    "ActorKind",
    "Clock",
    "Detail",
    "Entry",
    "Head",
    "Noted",
    "Recorded",
    "utc_now",
]
