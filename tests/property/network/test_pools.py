"""Registry, pools and waiting room under any sequence of events."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from garage_ai.network.errors import NoCapacity
from garage_ai.network.models import EnrolledNode, Replica
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.registry import Registry
from garage_ai.network.router import Wanted, choose
from garage_ai.network.sharing import serves
from garage_ai.network.waiting import WaitingRoom
from garage_ai.storage.ids import OPERATOR
from garage_ai.wire.frames import Priority
from garage_ai.wire.ids import Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed

MEMBERS = ["mbr_a", "mbr_b", OPERATOR]
MODELS = [KnownModel(f"m{n}", Digest("sha256:" + str(n) * 64), "chat", 10, n) for n in range(2)]
NODES = [NodeId(f"n{n}") for n in range(4)]


class RegistryMachine(RuleBasedStateMachine):
    """Beats, silence, requests, drains and removals in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(Names(MODELS))
        self.now = 0.0
        self.seq = 0
        self.out: list[tuple[Replica, Priority]] = []
        self.chance = random.Random(1)
        for node in NODES:
            self.registry.enrol(EnrolledNode(node, "mbr_a", node, None))

    @rule(
        node=st.sampled_from(NODES),
        member=st.sampled_from(MEMBERS),
        region=st.sampled_from([None, "SE-AB", "SE-O"]),
    )
    def move(self, node: NodeId, member: str, region: str | None) -> None:
        """The books come to say otherwise of a node that may be serving."""
        if node in self.registry.nodes:
            self.registry.enrol(EnrolledNode(node, member, node, region))

    @rule(
        node=st.sampled_from(NODES),
        state=st.sampled_from(["ready", "ready", "ready", "draining", "paused", "gone", "joining"]),
        session=st.sampled_from(["s1", "s2", "s3"]),
        models=st.lists(
            st.tuples(
                st.sampled_from(MODELS),
                st.integers(1, 3),
                st.integers(0, 4),
                st.sampled_from(["ready", "loading"]),
                st.none() | st.integers(0, 4),
            ),
            max_size=3,
        ),
        back=st.integers(0, 2),
        share=st.sampled_from(["all", "members", "own", "whatever"]),
    )
    def beat(
        self,
        *,
        node: NodeId,
        state: str,
        session: str,
        models: list[tuple[KnownModel, int, int, str, int | None]],
        back: int,
        share: str,
    ) -> None:
        """Any beat, fresh or replayed, of any session."""
        self.seq += 1
        served = tuple(
            ModelServed(m.name, m.digest, slots=slots, running=running, engine=engine, batch=batch)
            for m, slots, running, engine, batch in models
        )
        seq = max(0, self.seq - back)
        beat = Beat(
            SessionId(session),
            seq,
            self.now,
            state,
            served,
            sandbox="podman",
            limits=True,
            share=share,
            image=EngineImage(MODELS[0].digest, MODELS[0].digest),
        )
        self.registry.heard(node, beat, self.now, self.now)

    @rule(seconds=st.floats(0, 70))
    def silence(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.registry.tick(self.now)

    @rule(
        model=st.sampled_from(MODELS),
        member=st.sampled_from([*MEMBERS, ""]),
        priority=st.sampled_from(["chat", "batch"]),
    )
    def request(self, model: KnownModel, member: str, priority: Priority) -> None:
        """A request goes out where there is room, to a node that serves who asks, his own first.

        Only a chat goes where there is none, and only where batch requests hold the slots.
        """
        pool = self.registry.pool(model.name)
        wanted = Wanted(member=member, priority=priority)
        replica = choose(pool, wanted, self.now, self.chance) if pool else None
        free = [r for r in pool or () if r.has_room and self.takes(r, wanted)]
        given = [r for r in pool or () if r.gives_way and self.takes(r, wanted)]
        best = free or (given if priority == "chat" else [])
        if replica is None:
            assert not best
            return
        mine = [r for r in best if r.node.enrolled.member == member]
        assert replica in (mine if mine and member != OPERATOR else best)
        assert replica.node.state == "ready"
        if not replica.has_room:
            assert replica.batch + replica.others_batch > 0
        self.registry.acquire(replica, priority)
        self.out.append((replica, priority))

    def takes(self, replica: Replica, wanted: Wanted) -> bool:
        """Tell whether a node takes such a request at all."""
        lets = wanted.priority == "chat" or replica.served.batch is not None
        return lets and serves(replica.node, wanted.member)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """A request comes back, whatever became of its node."""
        self.registry.release(*self.out.pop(data.draw(st.integers(0, len(self.out) - 1))))

    @rule(node=st.sampled_from(NODES), on=st.booleans())
    def drain(self, node: NodeId, on: bool) -> None:
        """An administrator drains a node, or takes it back."""
        if node in self.registry.nodes:
            self.registry.drain(node, on=on)

    @rule(node=st.sampled_from(NODES))
    def lose(self, node: NodeId) -> None:
        """A request loses a node."""
        self.registry.lost(node, self.now)

    @rule(node=st.sampled_from(NODES))
    def remove_and_enrol(self, node: NodeId) -> None:
        """A node is removed and comes back as a new one."""
        self.registry.remove(node)
        self.registry.enrol(EnrolledNode(node, "mbr_b", node, None))

    @invariant()
    def pools_hold_exactly_who_can_be_chosen(self) -> None:
        """Every pool agrees with the nodes themselves."""
        expected: dict[str, set[NodeId]] = {}
        free: dict[str, set[NodeId]] = {}
        given: dict[str, set[NodeId]] = {}
        for node in self.registry.nodes.values():
            for replica in node.replicas.values():
                if node.state != "ready" or replica.served.engine != "ready":
                    continue
                expected.setdefault(replica.name, set()).add(node.id)
                if replica.has_room:
                    free.setdefault(replica.name, set()).add(node.id)
                if replica.gives_way:
                    given.setdefault(replica.name, set()).add(node.id)
        for name, pool in self.registry.pools.items():
            assert {replica.node.id for replica in pool} == expected.pop(name)
            ids = [replica.node.id for replica in pool.free()]
            assert len(ids) == len(set(ids))
            roomy = free.pop(name, set())
            assert set(ids) == roomy - self.hidden()
            by_region = [pool.free(region) for region in ("SE-AB", "SE-O")]
            regions = [replica.node.id for each in by_region for replica in each]
            assert len(regions) == len(set(regions))
            assert set(regions) <= set(ids)
            held = [replica.node.id for replica in pool.giving_way()]
            assert len(held) == len(set(held))
            yielding = given.pop(name, set())
            assert set(held) == yielding - self.hidden()
            assert not roomy & yielding
            owners = [replica.node.id for member in MEMBERS for replica in pool.free_of(member)]
            assert sorted(owners) == sorted(roomy)
            assert pool.owners == Counter(replica.node.enrolled.member for replica in pool)
            assert pool.regions == Counter(replica.node.enrolled.region for replica in pool)
            assert pool.slots == sum(replica.served.slots for replica in pool)
        assert expected == {}

    def hidden(self) -> set[NodeId]:
        """Name the nodes that only their owners come across."""
        nodes = self.registry.nodes.values()
        return {n.id for n in nodes if n.share == "own" and n.enrolled.member != OPERATOR}

    @invariant()
    def nothing_is_counted_below_zero(self) -> None:
        """Loads stay sane."""
        for node in self.registry.nodes.values():
            for replica in node.replicas.values():
                assert 0 <= replica.batch <= replica.inflight
                assert 0 <= replica.others_batch <= replica.others


RegistryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRegistry = RegistryMachine.TestCase


WAITING = st.tuples(st.sampled_from("abc"), st.sampled_from(["enters", "goes first", "served"]))


@given(st.lists(WAITING, max_size=30), st.integers(0, 8))
def test_the_waiting_room_keeps_order_and_bound(moves: list[tuple[str, str]], size: int) -> None:
    """Within a model the longest waiting is served first, after those who may go first.

    The bound holds over all models.
    """
    room: WaitingRoom[int] = WaitingRoom(size)
    expected: dict[str, list[int]] = {}
    for number, (name, what) in enumerate(moves):
        line = expected.setdefault(name, [])
        if what == "served":
            served: list[int] = []
            room.serve(name, lambda ticket, s=served: not s and not s.append(ticket))  # type: ignore[misc]
            assert served == line[:1]
            del line[:1]
        elif sum(map(len, expected.values())) == size:
            with pytest.raises(NoCapacity):
                room.enter(name, number)
        else:
            room.enter(name, number, first=what == "goes first")
            line.insert(0 if what == "goes first" else len(line), number)
        assert len(room) == sum(map(len, expected.values()))
        assert room.waits(name) == bool(line)
