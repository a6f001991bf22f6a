"""How many items of whom are under way, where not every node may serve everybody."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import pytest
from tests.parts.unbilled import NoLimits

from garage_ai.accounts import Key
from garage_ai.batch import BatchId, LineRefused
from garage_ai.batch.models import Endpoint
from garage_ai.batch.worker.asking import Job
from garage_ai.batch.worker.items import Item, Line, Queue
from garage_ai.batch.worker.rooms import FRESH_SECONDS, Room, Rooms
from garage_ai.batch.worker.window import filled
from garage_ai.gateway.batch_engines import REFUSED, Engines
from garage_ai.ledger import NanoGai
from garage_ai.network import DispatchLimits, EnrolledNode, KnownModel, Names, Network
from garage_ai.network.books import Books
from garage_ai.network.dedications import Dedications
from garage_ai.network.dispatcher import Link
from garage_ai.network.models import Replica
from garage_ai.network.router import Wanted, choose
from garage_ai.storage import OPERATOR, KeyId, MemberId
from garage_ai.wire.ids import Digest, GatewayId, NodeId, SessionId
from garage_ai.wire.messages import Beat, ModelServed

NOW = datetime.now(UTC)
MODELS = [
    KnownModel(name, Digest("sha256:" + name[0] * 64), "chat", 8192, rank)
    for rank, name in enumerate(("apt", "big"), 1)
]
APT = MODELS[0]


def queue(name: str, *, model: str = APT.name, member: str | None = None) -> Queue:
    """Make a batch with items enough, with a key and a member that are called like it."""
    owner = MemberId(name if member is None else member)
    route: Endpoint = "/v1/chat/completions"
    return Queue(BatchId(name), owner, KeyId(name), model, route, NOW, NOW, "file", 500)


@dataclass
class Regional(NoLimits):
    """Some keys may only go to some regions."""

    of_key: dict[str, frozenset[str]] = field(default_factory=dict)

    def regions(self, key: Key) -> frozenset[str] | None:  # type: ignore[override]
        return self.of_key.get(key.id)


class World:
    """Nodes, keys, and what of batches runs on them."""

    def __init__(self) -> None:
        self.network = Network(
            cast("Link", None),
            GatewayId("g"),
            books=cast("Books", None),
            names=Names(MODELS),
            limits=DispatchLimits(),
        )
        self.keys: dict[str, Key] = {}
        self.limits = Regional()
        self.engines = Engines(self.network, cast("Dedications", None), self, self.limits)
        self.rooms = Rooms(self.engines)
        self.now = 0.0
        self.done = Counter[str]()
        self._lines = 0
        self._chance = random.Random(1)
        self._waiting: list[tuple[Job, Callable[[], None]]] = []
        self._running: list[tuple[Job, Replica, Callable[[], None]]] = []

    def node(
        self,
        name: str,
        *,
        owner: str = "mbr_owner",
        region: str | None = None,
        share: str = "all",
        slots: int = 1,
        batch: int | None = 0,
        model: KnownModel = APT,
    ) -> None:
        """Let a node in that serves."""
        self.network.enrol(EnrolledNode(NodeId(name), owner, name, region, bare_allowed=True))
        served = ModelServed(model.name, model.digest, slots=slots, batch=batch)
        beat = Beat(SessionId("s"), 0, 0.0, "ready", (served,), share=share)
        self.network.registry.heard(NodeId(name), beat, self.now, 0.0)

    def key(self, key: KeyId) -> Key:
        made = Key(key, MemberId(key), "k", frozenset({"inference"}), None, NOW)
        found = self.keys.get(key, made)
        if found.region == "refused":
            raise LineRefused("revoked_api_key", "No more.")
        return found

    def check_model(self, key: Key, model: str) -> None:
        """Let every model in."""

    def bind(self, name: str, region: str) -> None:
        """Bind a batch's key to a region."""
        self.keys[name] = replace(self.key(KeyId(name)), region=region)

    def slots(self, name: str, **of: str) -> int:
        """Count the slots that a batch's line has."""
        lines = self.engines.lines([queue(name, **of)])
        return sum(self.engines.slots(lines[BatchId(name)]).values())

    def look(self, names: Iterable[str]) -> None:
        """Claim for batches what the rooms want, and begin what has room."""
        queues = {BatchId(name): queue(name) for name in names}
        self.now += FRESH_SECONDS
        self.rooms.look(queues, self.now)
        wanted = self.rooms.share(queues.values(), lambda _: 1.0, self.now)
        for name, count in wanted.items():
            for _ in range(count):
                self._lines += 1
                item = Item(BatchId(name), self._lines, "c", 0, 10, NanoGai(0), 0, 1)
                self.rooms.put(Job(item, queues[BatchId(name)]))
        for room in self.rooms:
            self._begin(room)

    def serve(self) -> None:
        """Answer what has a slot; before that, slots go to who waits, as the dispatcher does it."""
        for job, end in list(self._waiting):
            key = self.key(job.queue.key)
            wanted = Wanted(key.region, member=key.member, priority="batch")
            pool = self.network.registry.pool(job.queue.model)
            assert pool is not None
            replica = choose(pool, wanted, self.now, self._chance)
            if replica is not None:
                self.network.registry.acquire(replica, "batch")
                self._waiting.remove((job, end))
                self._running.append((job, replica, end))
        running, self._running = self._running, []
        for job, replica, end in running:
            self.network.registry.release(replica, "batch")
            self.done[job.queue.batch] += 1
            end()

    @property
    def under_way(self) -> Counter[str]:
        """Count what is begun of each batch."""
        jobs = [*(each[0] for each in self._waiting), *(each[0] for each in self._running)]
        return Counter(job.queue.batch for job in jobs)

    def _begin(self, room: Room) -> None:
        while (work := room.next(self.now)) is not None:
            job = work.begin()

            def end(job: Job = job, work: object = work) -> None:
                found = next(each for each in room.works.values() if each is work)
                found.ended(job)
                self._begin(room)

            self._waiting.append((job, end))


@pytest.fixture
def world() -> World:
    return World()


def test_who_may_use_one_node_keeps_nobody_from_the_others(world: World) -> None:
    """Of twelve slots one is in the region that a key is bound to; the others stay full."""
    world.node("here", region="SE-AB")
    world.node("there", region="SE-O", slots=11)
    world.bind("bound", "SE-AB")
    for _ in range(20):
        world.look(["bound", "free"])
        assert world.under_way["bound"] <= filled(1)
        assert world.under_way.total() <= filled(12) + filled(1)
        world.serve()
    assert world.done["free"] >= 20 * 11 - 2
    assert world.done["bound"] >= 8
    assert world.done.total() >= 20 * 12 - 4


def test_many_that_wait_for_one_node_each_fill_them_all(world: World) -> None:
    """What a line has beyond its own nodes' slots takes nothing of what all have together."""
    names = [f"b{n}" for n in range(12)]
    for name in names:
        world.node(name, region=f"SE-{name}")
        world.bind(name, f"SE-{name}")
    for _ in range(10):
        world.look(names)
        world.serve()
    assert all(world.done[name] == 10 for name in names)


def test_lines_of_the_same_nodes_take_turns(world: World) -> None:
    """Who comes to nodes that another line fills gets half; together they begin little more."""
    world.node("n", region="SE-AB", slots=8)
    world.bind("late", "SE-AB")
    for _ in range(5):
        world.look(["first"])
        world.serve()
    before = world.done["first"]
    for _ in range(20):
        world.look(["first", "late"])
        assert world.under_way.total() <= filled(8) + filled(8) - 8
        world.serve()
    assert world.done["late"] >= 20 * 8 // 2 - 8
    assert world.done["late"] + world.done["first"] - before == 20 * 8


def test_a_line_that_pauses_keeps_nobody_back(world: World) -> None:
    """What it has claimed ahead is left where it is, and others are claimed for."""
    world.node("n", region="SE-AB", slots=4)
    world.bind("bound", "SE-AB")
    world.look(["bound"])
    for work in world.rooms.works:
        work.window.refused(world.now + 1000, 1.0)
    world.serve()
    for _ in range(5):
        world.look(["bound", "free"])
        world.serve()
    assert world.done["free"] >= 4 * 4


def test_only_what_may_be_asked_counts(world: World) -> None:
    """Old agents, other regions and nodes that are lent to others have no slots for a batch."""
    world.node("all", slots=1)
    world.node("old", slots=2, batch=None)
    world.node("members", slots=4, share="members", owner="mbr_m")
    world.node("own", slots=8, share="own", owner="mbr_o", region="SE-AB")
    assert world.slots("anna") == 5
    assert world.slots("mbr_o", member="mbr_o") == 13
    assert world.slots(OPERATOR) == 1
    world.bind("anna", "SE-AB")
    assert world.slots("anna") == 0
    world.bind("mbr_o", "SE-AB")
    assert world.slots("mbr_o") == 8


def lines(world: World, names: Collection[str]) -> set[Line]:
    """Give the lines that batches are of."""
    return set(world.engines.lines([queue(name) for name in names]).values())


def test_who_is_served_alike_is_of_one_line(world: World) -> None:
    """Who asks makes a line of its own only where a node is not everybody's."""
    everybody = ["anna", "bert", "mbr_o", OPERATOR]
    world.node("all")
    assert lines(world, everybody) == {Line("apt")}
    world.node("own", share="own", owner="mbr_o")
    assert len(lines(world, everybody)) == 3
    assert len(lines(world, ["anna", "bert"])) == 1


def test_the_alias_is_resolved_for_who_asks(world: World) -> None:
    """Members have the nodes that serve members alone; the operator has what is everybody's."""
    world.node("m", share="members", slots=4)
    assert world.slots("anna", model="garage-chat") == 4
    assert world.slots(OPERATOR, model="garage-chat") == 0
    world.node("all", model=MODELS[1], slots=2)
    assert world.slots(OPERATOR, model="garage-chat") == 2


def test_whose_key_is_refused_is_told_so(world: World) -> None:
    """No node is asked for it, so none is needed; nor where no region is left to the key."""
    world.bind("anna", "refused")
    world.bind("bert", "SE-AB")
    world.limits.of_key["bert"] = frozenset({"SE-O"})
    assert lines(world, ["anna", "bert"]) == {REFUSED}
    assert world.slots("anna") > 0


def test_one_of_several_regions_is_enough(world: World) -> None:
    """A key that may go to two regions has the slots of both."""
    for region, slots in (("SE-AB", 1), ("SE-O", 2), ("SE-C", 4)):
        world.node(region, region=region, slots=slots)
    world.limits.of_key["anna"] = frozenset({"SE-AB", "SE-C"})
    assert world.slots("anna") == 5


def test_lines_are_forgotten_with_their_last_item(world: World) -> None:
    """As long as one runs its line is there."""
    world.node("n")
    world.look(["anna"])
    world.rooms.look({}, world.now)
    assert world.rooms
    for _ in range(4):
        world.serve()
    world.rooms.look({}, world.now)
    assert not world.rooms


def test_the_network_is_not_looked_through_at_every_claim(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several looks of a moment are one, unless a batch is new."""
    world.node("n")
    looks, slots = list[Line](), world.engines.slots

    def counted(line: Line) -> dict[str, int]:
        looks.append(line)
        return slots(line)

    monkeypatch.setattr(world.engines, "slots", counted)
    found = {BatchId("anna"): queue("anna")}
    for _ in range(5):
        world.rooms.look(found, 10.0)
    world.rooms.look(found | {BatchId("bert"): queue("bert")}, 10.1)
    world.rooms.look(found, 10.0 + FRESH_SECONDS + 0.2)
    assert len(looks) == 3
