"""The chain of hashes and the signed heads: how they are made, and what breaks them. Pure.

The hash of an entry is SHA-256 over the hash before it (32 bytes, zeros before the first) and the
entry's canonical JSON: keys sorted, no spaces, UTF-8, moments in UTC with six decimals.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from garage_ai.audit.models import Detail, Head, Noted, Recorded
from garage_ai.wire.nkey import NkeyError, PublicKey, Role, verify

NOTHING: Final = bytes(32)
"""What stands before the first entry."""

MOST_FINDINGS: Final = 100
"""Told of one log; a log in which more is wrong is wrong."""

UNSIGNED: Final = timedelta(minutes=5)
"""How old an entry may be without a head over it; clocks of two machines may differ."""

_HEAD_TEXT: Final = "gai-audit-head-v1"

# A field of another type than ours can only come from another hand than ours; so does a moment
# before the first year that there is.
_OF_ANOTHER_TYPE: Final = (
    msgspec.MsgspecError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
)


class Signer(Protocol):
    """The network's key for heads."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes: ...


def canonical(details: Mapping[str, Detail]) -> str:
    """Write details as they are kept and hashed."""
    return msgspec.json.encode(details, order="sorted").decode()


def hash_of(entry: Recorded, previous: bytes) -> bytes:
    """Give the hash that an entry must have behind another one."""
    content = {
        "action": entry.action,
        "actor": entry.actor,
        "actor_id": entry.actor_id,
        "actor_member": entry.actor_member,
        "at": written(entry.at),
        "details": entry.details,
        "member": entry.member,
        "seq": entry.seq,
        "subject": entry.subject,
    }
    return hashlib.sha256(previous + msgspec.json.encode(content, order="sorted")).digest()


def signed_head(size: int, root: bytes, at: datetime, signer: Signer) -> Head:
    """Sign the state of a log."""
    return Head(size, root, at, signer.public, signer.sign(_head_text(size, root, at)))


def is_signed(head: Head, public_key: str) -> bool:
    """Tell whether a head bears the signature of this key."""
    try:
        text = _head_text(head.size, head.root, head.at)
        verify(public_key, Role.OPERATOR, text, head.signature)
    except (NkeyError, *_OF_ANOTHER_TYPE):
        return False
    return head.public_key == public_key


def _head_text(size: int, root: bytes, at: datetime) -> bytes:
    return f"{_HEAD_TEXT}\n{size}\n{root.hex()}\n{written(at)}\n".encode()


def written(at: datetime) -> str:
    """Write a moment as it is hashed."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written; `seq` is the entry, or the size of a head."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: nothing, if the log is whole. `signed` entries stand below a head."""

    size: int
    root: bytes
    signed: int
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(slots=True)
class Check:
    """Reads a log from its first entry on and notes what does not fit.

    `heads` must have been read before the entries: a log grows, and a head that was signed
    meanwhile would name entries that the reader has not seen. A `noted` head needs no signature:
    by it alone is found that the end was cut off together with the heads over it.
    """

    heads: Iterable[Head]
    public_key: str
    noted: Noted | None = None
    size: int = 0
    root: bytes = NOTHING
    findings: list[Finding] = field(default_factory=list)
    _pending: dict[int, Head] = field(default_factory=dict)
    _signed: int = 0
    _unsigned: Recorded | None = None

    def __post_init__(self) -> None:
        for head in self.heads:
            if not is_signed(head, self.public_key):
                self._found(head.size, "a head that is not signed by the network's key")
            elif head.size < 1:
                self._found(head.size, "a head over nothing")
            elif self._pending.setdefault(head.size, head).root != head.root:
                self._found(head.size, "two signed heads that differ")

    def take(self, entry: Recorded) -> None:
        """Check the next entry; goes on behind a broken one with what stands there."""
        if entry.seq < 1:
            self.misplaced(entry.seq)
            return
        if entry.seq != self.size + 1:
            self._found(entry.seq, f"out of order: expected number {self.size + 1}")
        elif _refused(entry, self.root):
            self._found(entry.seq, "not as it was written")
        self.size, self.root = entry.seq, entry.hash
        noted = self.noted
        if noted is not None and noted.size == entry.seq and noted.root != entry.hash:
            self._found(entry.seq, "not what was noted: the log was rewritten up to here")
        head = self._pending.pop(entry.seq, None)
        if head is not None and head.root != entry.hash:
            self._found(entry.seq, "not what was signed: the log was rewritten up to here")
        elif head is not None:
            self._signed, self._unsigned = entry.seq, None
        if self._unsigned is None and entry.seq > self._signed:
            self._unsigned = entry

    def unreadable(self, seq: int, stored: bytes) -> None:
        """Note an entry that cannot even be read; the hash that stands there leads on."""
        self._found(seq, "not as it was written")
        self.size, self.root = seq, stored

    def misplaced(self, seq: int) -> None:
        """Note an entry under a number before the first."""
        self._found(seq, "out of order: numbers begin with 1")

    def unreadable_head(self, size: int) -> None:
        """Note a head that cannot even be read."""
        self._found(size, "a head that is not signed by the network's key")

    def unsigned_since(self, now: datetime) -> None:
        """Note entries that no head stands over though gateways had minutes to sign them.

        `now` is when the log was read. A gateway that runs signs within seconds, unless what is
        there is not what it signed before. Moments to come are of no honest hand either.
        """
        first = self._unsigned
        if first is not None and abs(_aware(now) - _aware(first.at)) > UNSIGNED:
            self._found(first.seq, "not signed, though it is minutes old")

    def finish(self) -> Verdict:
        """Say what was found, now that the last entry was taken."""
        for size in sorted(self._pending):
            self._found(size, "missing: a signed head names it")
        if self.noted is not None and self.noted.size > self.size:
            self._found(self.noted.size, "missing: the head that was noted names it")
        findings = sorted(self.findings, key=lambda found: found.seq)
        return Verdict(self.size, self.root, self._signed, tuple(findings))

    def _found(self, seq: int, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(seq, what))


def _aware(at: datetime) -> datetime:
    """Give a moment of another hand a zone, if it has none."""
    return at.replace(tzinfo=at.tzinfo or UTC)


def _refused(entry: Recorded, previous: bytes) -> bool:
    try:
        return hash_of(entry, previous) != entry.hash
    except _OF_ANOTHER_TYPE:
        return True


__all__ = [
    "NOTHING",
    "UNSIGNED",
    "Check",
    "Finding",
    "Signer",
    "Verdict",
    "canonical",
    "hash_of",
    "is_signed",
    "signed_head",
    "written",
]
