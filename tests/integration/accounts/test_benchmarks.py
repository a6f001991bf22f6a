"""What nodes measured of themselves, in a real database."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import func, select
from tests.parts.enrolling import enrolled
from tests.unit.wire.test_benchmarks import BENCHMARK

from garage_ai.accounts import OPERATOR, Benchmarks, MemberId
from garage_ai.accounts.benchmarks import KEPT
from garage_ai.storage import ConstraintViolated, Storage
from garage_ai.storage.tables import benchmarks
from garage_ai.wire.benchmarks import Benchmark, sign_benchmark
from garage_ai.wire.identity import NodeIdentity
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Desk:
    """Nodes that hand in measurements, at moments of the test's choice."""

    def __init__(self, storage: Storage) -> None:
        self.now = NOON
        self.storage = storage
        self.kept = Benchmarks(storage, lambda: self.now)
        self.identity = NodeIdentity(KeyPair.generate(Role.USER))

    async def node(self) -> NodeId:
        identity = NodeIdentity(KeyPair.generate(Role.USER))
        return (await enrolled(self.storage, identity.public_key)).id

    async def hand_in(self, node: NodeId, benchmark: Benchmark = BENCHMARK) -> datetime:
        signed = sign_benchmark(self.identity, node, "nonce", benchmark)
        return (await self.kept.record(signed, self.identity.public_key)).received_at


@pytest.fixture
def desk(storage: Storage) -> Desk:
    """A desk over a fresh database."""
    return Desk(storage)


def at(moment: float) -> Benchmark:
    return msgspec.structs.replace(BENCHMARK, at=moment)


async def test_the_newest_of_each_node_is_given(desk: Desk) -> None:
    """Two nodes, one of which measured twice; one node and a member may be asked for alone."""
    one, two, silent = await desk.node(), await desk.node(), await desk.node()
    await desk.hand_in(one, at(1.0))
    await desk.hand_in(two, at(2.0))
    desk.now += timedelta(hours=1)
    await desk.hand_in(one, at(3.0))
    latest = await desk.kept.latest()
    assert {node: kept.benchmark.at for node, kept in latest.items()} == {one: 3.0, two: 2.0}
    assert latest[one].received_at == desk.now
    assert set(await desk.kept.latest([two])) == {two}
    assert await desk.kept.latest([silent]) == {}
    assert await desk.kept.latest([]) == {}
    assert set(await desk.kept.latest(member=OPERATOR)) == {one, two}
    assert await desk.kept.latest(member=MemberId("mbr_other")) == {}


async def test_the_same_again_changes_nothing(desk: Desk) -> None:
    """A lost answer may be asked for again."""
    node = await desk.node()
    first = await desk.hand_in(node)
    desk.now += timedelta(hours=1)
    assert await desk.hand_in(node) == first
    other = await desk.node()
    assert await desk.hand_in(other) == desk.now


async def test_a_node_cannot_fill_the_disk(desk: Desk, storage: Storage) -> None:
    """Only the last of each node stay, and another node's are not touched."""
    node, other = await desk.node(), await desk.node()
    await desk.hand_in(other, at(0.5))
    for number in range(KEPT + 3):
        await desk.hand_in(node, at(float(number)))
    counted = select(benchmarks.c.node_id, func.count()).group_by(benchmarks.c.node_id)
    async with storage.read() as connection:
        rows = await connection.execute(counted)
        assert {NodeId(name): count for name, count in rows} == {node: KEPT, other: 1}
    assert (await desk.kept.latest([node]))[node].benchmark.at == KEPT + 2.0


async def test_a_node_that_is_none_has_no_measurement(desk: Desk) -> None:
    """The database refuses it."""
    with pytest.raises(ConstraintViolated):
        await desk.hand_in(NodeId("nowhere"))
