"""Letting nodes in, keeping them in, and cutting them off."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import structlog

from garage_ai.audit.models import GATEWAY, Actor
from garage_ai.network.admission import agent_too_old
from garage_ai.network.authority import LONGEST_LIFE, Authority
from garage_ai.network.enrolment_errors import (
    AgentTooOld,
    BadBenchmark,
    NodeGone,
    ProofRefused,
)
from garage_ai.network.nonces import Nonces
from garage_ai.storage.ids import MemberId
from garage_ai.wire.benchmarks import SignedBenchmark, open_benchmark
from garage_ai.wire.enrolment import Enrolled, EnrolRequest, FreshJwt, Proof
from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import VERSIONS
from garage_ai.wire.identity import (
    KeyRotation,
    Purpose,
    RotationRefused,
    check_rotation,
    enrolment_text,
    proof_text,
    token_digest,
    verify_text,
)
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import NkeyError, PublicKey
from garage_ai.wire.versions import AgentVersion, agent_version

_log = structlog.get_logger(__name__)

AHEAD_SECONDS: Final = 300.0
"""By how much another gateway's clock may be ahead: a JWT that it gave a moment ago is void too.

A key that is cut off never comes back, so nothing else is refused by that.
"""


class OldKey(Protocol):
    """A public key that a node had before."""

    @property
    def public_key(self) -> str: ...
    @property
    def retired_at(self) -> datetime: ...


class NodeRecord(Protocol):
    """A node as it stands in the books."""

    @property
    def id(self) -> NodeId: ...
    @property
    def member(self) -> str: ...
    @property
    def public_key(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def removed_at(self) -> datetime | None: ...
    @property
    def retired_keys(self) -> Sequence[OldKey]: ...


class NodeBooks(Protocol):
    """Where nodes and tokens are kept; each call is one transaction."""

    async def enrol(
        self,
        token: str,
        public_key: str,
        name: str,
        trust: Literal["unverified", "unsandboxed"] = "unverified",
    ) -> NodeRecord:
        """Use a token up for a node; again with both the same, give the same node."""

    async def get(self, node: NodeId) -> NodeRecord:
        """Give a node, removed or not."""

    async def list(self, *, of: MemberId) -> Sequence[NodeRecord]:
        """Give a member's nodes that were not removed."""

    async def rotate_key(self, node: NodeId, old: str, new: str) -> NodeRecord:
        """Put a new key in the old one's place."""

    async def let_go(self, since: datetime) -> Sequence[OldKey]:
        """Give the keys that stopped being a node's since then."""

    async def allow_bare(self, node: NodeId, *, by: Actor) -> NodeRecord:
        """Let a node serve without a whole sandbox; again changes nothing."""

    async def remove(self, node: NodeId, *, by: Actor) -> NodeRecord:
        """Mark a node removed; again changes nothing."""


class Revoker(Protocol):
    """Who tells the servers whom to cut off."""

    async def revoke(self, key: str, before: float | None = None) -> bool:
        """Record it for good; True if the servers know already, False if they will be told."""


class Enrolment:
    """The service behind `POST /api/v1/nodes` and what follows from it.

    `urls` are what nodes dial, in order. `min_agent` is the oldest agent that is let in, None for
    any. Errors of the books pass through unchanged.
    """

    def __init__(
        self,
        authority: Authority,
        books: NodeBooks,
        revoker: Revoker,
        *,
        urls: Sequence[str],
        ca_pem: str | None = None,
        min_agent: AgentVersion | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._books = books
        self._revoker = revoker
        self._clock = clock
        self._urls = tuple(urls)
        self._ca_pem = ca_pem
        self._min_agent = min_agent
        self._nonces = Nonces(authority.nonce_key, clock)

    def nonce(self) -> str:
        """Give a nonce to sign, good for two minutes."""
        return self._nonces.make()

    async def enrol(self, request: EnrolRequest) -> Enrolled:
        """Let a node in; a lost answer may be asked for again with the same token and key.

        Raises: AgentTooOld, NonceUnusable, ProofRefused.
        """
        self._check_agent(request.agent)
        self._nonces.check(request.nonce)
        text = enrolment_text(request.nonce, token_digest(request.token), request.public_key)
        _verify(request.public_key, text, request.signature)
        record = await self._books.enrol(
            request.token,
            request.public_key,
            request.name,
            "unsandboxed" if request.unsandboxed else "unverified",
        )
        _log.info("node_enrolled", node=record.id, region=record.region)
        return Enrolled(
            node=record.id,
            member=record.member,
            region=record.region,
            urls=self._urls,
            jwt=self._jwt(record),
            ca_pem=self._ca_pem,
            versions=VERSIONS,
        )

    async def renew(self, node: NodeId) -> FreshJwt:
        """Give a node a new JWT; the caller knows it is the node (NATS vouched for the subject).

        Raises: NodeGone.
        """
        return FreshJwt(self._jwt(await self._present(node)), self._urls)

    async def renew_by_proof(self, proof: Proof) -> FreshJwt:
        """Give a node a new JWT over HTTP, when its old one has ended.

        Raises: NonceUnusable, ProofRefused, NodeGone.
        """
        return FreshJwt(self._jwt(await self._proved(proof, "renew")), self._urls)

    async def rotate(self, rotation: KeyRotation) -> FreshJwt:
        """Put a node's new key in its old one's place and cut the old one off.

        A lost answer may be asked for again. Raises: NonceUnusable, ProofRefused, NodeGone.
        """
        self._nonces.check(rotation.nonce)
        record = await self._present(rotation.node)
        old = _agreed(rotation, record)
        record = await self._books.rotate_key(rotation.node, old, rotation.new_public_key)
        await self._cut_off(old)
        _log.info("node_key_rotated", node=record.id)
        return FreshJwt(self._jwt(record), self._urls)

    async def benchmark(self, signed: SignedBenchmark) -> str:
        """Check that a node signed what it measured, and give the key it did so with.

        Raises: NonceUnusable, ProofRefused, NodeGone, BadBenchmark.
        """
        self._nonces.check(signed.nonce)
        record = await self._present(signed.node)
        try:
            open_benchmark(signed, record.public_key)
        except NkeyError as error:
            raise ProofRefused(str(error)) from error
        except Malformed as error:
            raise BadBenchmark(str(error)) from error
        return record.public_key

    async def may_measure(self, proof: Proof) -> NodeId:
        """Tell which node asks to measure its line.

        Raises: NonceUnusable, ProofRefused, NodeGone.
        """
        return (await self._proved(proof, "line")).id

    async def leave(self, proof: Proof) -> None:
        """Let a node remove itself. Raises: NonceUnusable, ProofRefused, NodeGone."""
        record = await self._proved(proof, "leave")
        await self.remove(record.id, by=Actor.node(record.id, record.member))

    async def admit(self, node: NodeId, *, by: Actor = GATEWAY) -> None:
        """Let a node serve without a whole sandbox. Raises: NodeGone."""
        await self._present(node)
        await self._books.allow_bare(node, by=by)
        _log.info("node_admitted_bare", node=node)

    async def remove(self, node: NodeId, *, by: Actor = GATEWAY) -> bool:
        """Cut a node off for good; True if the servers have closed its connections already."""
        record = await self._books.remove(node, by=by)
        told = await self._cut_off(record.public_key)
        _log.info("node_removed", node=node, told=told)
        return told

    async def remove_all(self, member: MemberId, *, by: Actor = GATEWAY) -> Sequence[NodeId]:
        """Cut all nodes of a member off for good, known to this gateway or not; tell which."""
        gone = [record.id for record in await self._books.list(of=member)]
        for node in gone:
            await self.remove(node, by=by)
        return gone

    async def catch_up(self) -> None:
        """Write down whom the books let go without its being written: its gateway was killed then.

        The servers are told when they are next looked at. Raises: as `Authority.record_missing`.
        """
        since = datetime.fromtimestamp(self._clock() - LONGEST_LIFE, UTC)
        gone = await self._books.let_go(since)
        until = {each.public_key: each.retired_at.timestamp() + AHEAD_SECONDS for each in gone}
        missing = await asyncio.to_thread(self._authority.record_missing, until)
        if missing:
            _log.warning("cut_off_late", keys=missing)

    async def _cut_off(self, key: str) -> bool:
        return await self._revoker.revoke(key, self._clock() + AHEAD_SECONDS)

    def _check_agent(self, said: str) -> None:
        version = agent_version(said)
        if self._min_agent is not None and (version is None or version < self._min_agent):
            raise AgentTooOld(agent_too_old(version, self._min_agent).message)

    def _jwt(self, record: NodeRecord) -> str:
        return self._authority.node_jwt(record.id, record.public_key, record.region)

    async def _present(self, node: NodeId) -> NodeRecord:
        record = await self._books.get(node)
        if record.removed_at is not None:
            raise NodeGone(f"node {node} was removed from this network")
        return record

    async def _proved(self, proof: Proof, purpose: Purpose) -> NodeRecord:
        self._nonces.check(proof.nonce)
        record = await self._present(proof.node)
        text = proof_text(purpose, proof.node, proof.nonce, record.public_key)
        _verify(record.public_key, text, proof.signature)
        return record


def _verify(public_key: str, text: bytes, signature: str) -> None:
    try:
        verify_text(public_key, text, signature)
    except NkeyError as error:
        raise ProofRefused(str(error)) from error


def _agreed(rotation: KeyRotation, record: NodeRecord) -> PublicKey:
    """Find the key that signed for the new one: the present one, or after a lost answer the last.

    Raises: ProofRefused.
    """
    done = record.public_key == rotation.new_public_key
    old = record.retired_keys[-1].public_key if done and record.retired_keys else record.public_key
    try:
        check_rotation(rotation, PublicKey(old))
    except RotationRefused as error:
        raise ProofRefused(str(error)) from error
    return PublicKey(old)


__all__ = ["Enrolment", "NodeBooks", "NodeRecord", "OldKey", "Revoker"]
