"""Who is out there: nodes, their beats and what they serve. Pure: beats and time in, effects out.

    joining ─ready→ ready ⇄ dedicated     everybody's, or one job's alone
       any ─drain/pause→ draining, paused
       any ─three beats missed, or lost by a request→ suspect ─a beat→ as it says
       any ─a minute without a beat, or a last word→ gone

Views show a ready node without room as `busy`. Time is the gateway's own monotonic clock; a node's
clock is never trusted, only reported.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from garage_ai.network.admission import ImageList, Terms
from garage_ai.network.gangs import refused_rig
from garage_ai.network.models import (
    EnrolledNode,
    Node,
    NodeState,
    Refusal,
    Replica,
    Target,
    share_of,
)
from garage_ai.network.names import Admission, Claims, KnownClaim, KnownModel, Names
from garage_ai.network.pool import Pool
from garage_ai.wire.frames import VERSIONS, Priority
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import ADMITTED, BEAT_INTERVAL, Beat

SUSPECT_AFTER: Final = 3.3 * BEAT_INTERVAL
"""Three beats missed, with the tenth of jitter that beats have."""
GONE_AFTER: Final = 60.0
SKEW_TOLD: Final = 30.0
"""A node's clock this many seconds off is told to its owner."""

_STATES: Final[dict[str, NodeState]] = {
    "joining": "joining",
    "ready": "ready",
    "dedicated": "dedicated",
    "draining": "draining",
    "paused": "paused",
    "gone": "gone",
}


_SERVE: Final[frozenset[NodeState]] = frozenset({"ready", "dedicated"})


@dataclass(frozen=True, slots=True)
class Supersede:
    """Tell an older session of a node that it was replaced."""

    node: NodeId
    session: SessionId


@dataclass(frozen=True, slots=True)
class Claim:
    """Ask the books whether a member may use a name of its own."""

    node: NodeId
    member: str
    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Tell:
    """Send the owner a notice."""

    node: NodeId
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RoomMade:
    """A replica has come to have room."""

    target: Target


@dataclass(frozen=True, slots=True)
class Reread:
    """Look whether the books have let a node in by now that is refused as it is.

    Once a session; from then on it is told by `enrol`, when all nodes are looked at.
    """

    node: NodeId


Effect = Supersede | Claim | Tell | RoomMade | Reread


class Registry:
    """Every enrolled node, and a pool of replicas for every model name; `jobs` has those apart
    that serve one job alone."""

    def __init__(self, names: Names, terms: Terms | None = None) -> None:
        self.names = names
        self.terms = terms or Terms()
        self.nodes: dict[NodeId, Node] = {}
        self.pools: dict[str, Pool] = {}
        self.jobs: dict[Target, Pool] = {}
        self._told: dict[NodeId, set[str]] = {}
        """Names that owners were told they may not use, in the nodes' present sessions."""
        self._told_refused: dict[NodeId, Refusal] = {}
        """What owners were told of why they get no work, in the nodes' present sessions."""
        self._reread: set[NodeId] = set()
        """Nodes that were looked up as they are refused, in their present sessions."""

    def enrol(self, enrolled: EnrolledNode) -> list[Effect]:
        """Let a node of the books in, or note what they say of it now."""
        node = self.nodes.get(enrolled.id)
        if node is None:
            self.nodes[enrolled.id] = Node(enrolled)
            return []
        changed, node.enrolled = node.enrolled != enrolled, enrolled
        effects = self._refresh(node) if changed else []
        return effects + self._tell_refused(node)

    def images_are(self, images: ImageList) -> list[Effect]:
        """Take note of what administrators have decided about images."""
        if images == self.terms.images:
            return []
        self.terms = replace(self.terms, images=images)
        return self._refresh_all()

    def catalogue_is(self, catalogue: Iterable[KnownModel]) -> list[Effect]:
        """Know another catalogue."""
        self.names.catalogue_is(catalogue)
        return self._refresh_all()

    def claims_are(self, claims: Iterable[KnownClaim], before: Claims) -> list[Effect]:
        """Know what the books say of claims, as `Names.claims_are` does."""
        members = self.names.claims_are(claims, before)
        return self._refresh_all(members) if members else []

    def remove(self, node_id: NodeId) -> None:
        """Forget a node for good."""
        node = self.nodes.pop(node_id, None)
        self._told.pop(node_id, None)
        self._told_refused.pop(node_id, None)
        self._reread.discard(node_id)
        if node is not None:
            self._withdraw(node)
            # Requests under way still hold its replicas; their end must not bring it back.
            node.state = "gone"

    def heard(self, node_id: NodeId, beat: Beat, now: float, wall: float) -> list[Effect]:
        """Take a heartbeat; one of a replaced session, or one that came before, changes nothing.

        Nor does one of a node that sends more than any agent does.
        """
        node = self.nodes.get(node_id)
        if node is None or beat.session in node.retired or not node.pace.takes(now):
            return []
        effects: list[Effect] = []
        if beat.session != node.session:
            effects += self._new_session(node, beat, wall)
        elif node.beat is not None and beat.seq <= node.beat.seq:
            return []
        node.beat = beat
        node.share = share_of(beat)
        if any(model.engine == "ready" for model in beat.models):
            # What a gang answered is shared as it was then, also once it has ended.
            node.gang = beat.gang
        node.last_beat = now
        node.clock_skew = beat.sent_at - wall
        node.drain_asked = node.drain_asked and beat.state in _SERVE
        return effects + self._refresh(node)

    def lost(self, node_id: NodeId, now: float) -> None:
        """Note that a request lost the node: out of choice until its next beat."""
        node = self.nodes.get(node_id)
        if node is not None and now > node.last_beat:
            node.state = "suspect"
            self._withdraw(node)

    def drain(self, node_id: NodeId, *, on: bool) -> list[Effect]:
        """Take a node out of choice, or in again, before its own beat says so."""
        node = self.nodes[node_id]
        node.drain_asked = on
        return self._refresh(node) if node.beat is not None else []

    def settle(self, claim: Claim, *, admitted: bool) -> list[Effect]:
        """Note how the books decided about a name, and serve it or tell the owner why not."""
        decided: Admission = "admitted" if admitted else "pending"
        self.names.settle(claim.name, claim.member, claim.digest, decided)
        node = self.nodes.get(claim.node)
        if node is None or node.beat is None:
            return []
        return self._refresh(node) if admitted else self._tell_taken(node, claim)

    def tick(self, now: float) -> None:
        """Let nodes that are silent become suspect, then gone."""
        for node in self.nodes.values():
            silent = now - node.last_beat
            if node.state == "gone" or silent <= SUSPECT_AFTER:
                continue
            node.state = "gone" if silent > GONE_AFTER else "suspect"
            self._withdraw(node)

    def acquire(self, replica: Replica, priority: Priority = "chat") -> None:
        """Count a request that goes out to a replica."""
        replica.inflight += 1
        if priority == "batch":
            replica.batch += 1
        replica.node.breaker.started()
        self._place(replica)

    def release(self, replica: Replica, priority: Priority = "chat") -> list[Effect]:
        """Count a request that has left a replica; told exactly once for each `acquire`."""
        if replica.inflight <= 0:
            raise AssertionError(f"{replica.node.id} released more often than acquired")
        replica.inflight -= 1
        if priority == "batch":
            replica.batch -= 1
        return self._place(replica)

    def pool(self, name: str, job: str = "") -> Pool | None:
        """Give the replicas of a model name; None when no node that can be chosen has it."""
        # One that has become empty is taken out.
        return self.jobs.get(Target(name, job)) if job else self.pools.get(name)

    def _new_session(self, node: Node, beat: Beat, wall: float) -> list[Effect]:
        effects: list[Effect] = []
        if node.session is not None:
            node.retired.append(node.session)
            effects.append(Supersede(node.id, node.session))
        node.session = beat.session
        node.risen += 1
        node.breaker.began_anew()
        self._told.pop(node.id, None)
        self._told_refused.pop(node.id, None)
        self._reread.discard(node.id)
        skew = beat.sent_at - wall
        if abs(skew) > SKEW_TOLD:
            effects.append(
                Tell(node.id, "clock_wrong", f"The clock is {skew:+.0f} s off; please set it.")
            )
        return effects

    def _refresh_all(self, members: Collection[str] | None = None) -> list[Effect]:
        # Those that are silent are judged by their next beat.
        heard = [node for node in self.nodes.values() if node.state not in ("suspect", "gone")]
        if members is not None:
            heard = [node for node in heard if node.enrolled.member in members]
        return [effect for node in heard for effect in self._refresh(node)]

    def _refresh(self, node: Node) -> list[Effect]:
        beat = node.beat
        if beat is None:
            return []
        if node.breaker.is_open:
            # Whether it is needed all the same turns on the others: each beat asks anew.
            self._withdraw(node)
        stood = [(replica, replica.target) for replica in node.replicas.values()]
        before, node.state, node.job = node.state, self._state(node, beat), beat.job
        effects = self._renew_replicas(node, beat)
        if node.state in _SERVE and node.refused is not None and not node.replicas:
            node.state = "joining"
        node.risen += node.state in _SERVE and before not in _SERVE
        for replica, target in stood:
            if replica.target != target or not self._stands(replica):
                self._take_out(target, node.id)
        for replica in node.replicas.values():
            effects += self._place(replica)
        return effects

    def _state(self, node: Node, beat: Beat) -> NodeState:
        if not set(beat.versions) & set(VERSIONS):
            return "joining"
        if node.drain_asked and beat.state in _SERVE:
            return "draining"
        state = _STATES.get(beat.state, "joining")
        if state == "ready" and not any(model.engine == "ready" for model in beat.models):
            return "joining"
        return state

    def _renew_replicas(self, node: Node, beat: Beat) -> list[Effect]:
        effects: list[Effect] = []
        kept: dict[Digest, Replica] = {}
        node.refused = None
        for served in beat.models:
            digest = Digest(served.digest)
            admission = self.names.admission(served, node.enrolled.member)
            if admission != "admitted":
                claim = Claim(node.id, node.enrolled.member, served.name, digest)
                if admission == "unclaimed":
                    effects.append(claim)
                elif admission == "pending":
                    effects += self._tell_taken(node, claim)
                continue
            refused = self.terms.refusal(node, served)
            rig = refused_rig(self, node, served) if refused is None else None
            if rig is not None:
                effects.append(Reread(rig.node))
                refused = rig.refusal
            if refused is not None:
                node.refused = refused
                continue
            replica = node.replicas.get(digest) or Replica(node, served)
            replica.served = self.names.bounded(served)
            replica.others = max(0, served.running - replica.inflight)
            replica.others_batch = min(replica.others, max(0, (served.batch or 0) - replica.batch))
            if replica.batch_full_until:
                # Its word that it is full is forgotten, so it comes to have room.
                self._take_out(replica.target, node.id)
            replica.full_until = replica.batch_full_until = 0.0
            kept[digest] = replica
        if node.refused is not None:
            if node.id not in self._reread:
                self._reread.add(node.id)
                effects.append(Reread(node.id))
        elif self._told_refused.pop(node.id, None) is not None:
            effects.append(Tell(node.id, ADMITTED, "The network gives this node work again."))
        node.replicas = kept
        return effects

    def _tell_taken(self, node: Node, claim: Claim) -> list[Effect]:
        """Tell the owner once a session that a name waits to be approved."""
        told = self._told.setdefault(node.id, set())
        # By name: a member may claim so many names, and a node say so many digests as it likes.
        if claim.name in told:
            return []
        told.add(claim.name)
        words = f"The name {claim.name!r} is taken; an administrator must approve it."
        return [Tell(node.id, "model_name_taken", words)]

    def _tell_refused(self, node: Node) -> list[Effect]:
        """Tell the owner once a session and reason, when the books have had their word."""
        refused = node.refused
        if refused is None or self._told_refused.get(node.id) == refused:
            return []
        self._told_refused[node.id] = refused
        return [Tell(node.id, refused.code, refused.message)]

    def _place(self, replica: Replica) -> list[Effect]:
        if not _can_be_chosen(replica):
            return []
        node = replica.node
        pool = self.pool(*replica.target)
        if pool is None:
            pool = Pool()
            if node.job:
                self.jobs[replica.target] = pool
            else:
                self.pools[replica.name] = pool
        return [RoomMade(replica.target)] if pool.put(replica) else []

    def _withdraw(self, node: Node) -> None:
        for replica in node.replicas.values():
            self._take_out(replica.target, node.id)

    def _take_out(self, target: Target, node_id: NodeId) -> None:
        pool = self.pool(*target)
        if pool is None:
            return
        pool.remove(node_id)
        if not pool and target.job:
            del self.jobs[target]
        elif not pool:
            del self.pools[target.model]

    def _stands(self, replica: Replica) -> bool:
        """Tell whether a replica is in its pool as it is now, and may stay."""
        pool = self.pool(*replica.target)
        return pool is not None and _can_be_chosen(replica) and pool.stands(replica)


def _can_be_chosen(replica: Replica) -> bool:
    node, served = replica.node, replica.served
    if node.state not in _SERVE or node.replicas.get(Digest(served.digest)) is not replica:
        return False
    return served.engine == "ready" and _is_whole(node)


def _is_whole(node: Node) -> bool:
    """Tell whether what a node says of one job makes sense: which one it is, in which container."""
    dedicated = node.state == "dedicated"
    return dedicated == bool(node.job) and not (dedicated and node.sandbox == "none")


__all__ = [
    "GONE_AFTER",
    "SKEW_TOLD",
    "SUSPECT_AFTER",
    "Claim",
    "Effect",
    "Registry",
    "Reread",
    "RoomMade",
    "Supersede",
    "Tell",
]
