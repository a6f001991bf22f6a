"""Nodes whose figures are off are told to the log and have no stipend, at every gateway."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from garage_ai.audit.models import GATEWAY, Action, Entry
from garage_ai.audit.service import AuditLog
from garage_ai.ledger import FigureJudge, Figures, Ledger
from garage_ai.ledger.figures import FEWEST, WINDOW
from garage_ai.ledger.flags import HOLDS, Flags
from garage_ai.ledger.reward_jobs import RewardJobs
from garage_ai.ledger.rewards import Rules
from garage_ai.ledger.warmth import hour_of
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import members, nodes
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

NODE, OTHER = NodeId("n1"), NodeId("n2")
DIGEST = "sha256:" + "a" * 64
LENDER = MemberId("mbr_lender")
BEGIN = datetime(2027, 3, 1, 0, 30, tzinfo=UTC)
HONEST, INFLATED = Figures(100, 51, 100, 50), Figures(100, 90, 100, 50)


@dataclass
class Gateway:
    """One gateway's judge and flags, at a moment that tests move."""

    storage: Storage
    name: str
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.judge = FigureJudge()
        self.flags = Flags(self.storage, self.judge, self.name, lambda: self.now)

    def sees(self, figures: Figures, times: int) -> None:
        for _ in range(times):
            self.judge.saw(NODE, DIGEST, figures)


@pytest.fixture
async def gateways(storage: Storage) -> tuple[Gateway, Gateway]:
    async with storage.write() as connection:
        row = {"id": LENDER, "name": "lender", "created_at": BEGIN}
        await connection.execute(insert(members).values(**row))
        node: dict[str, object] = {"id": NODE, "member_id": LENDER, "name": "n"}
        node |= {"public_key": "U", "trust": "unverified", "created_at": BEGIN}
        await connection.execute(insert(nodes).values(**node))
    return Gateway(storage, "g1"), Gateway(storage, "g2")


async def test_a_flag_and_its_end_are_in_the_log(
    storage: Storage, gateways: tuple[Gateway, Gateway]
) -> None:
    """Each once, by the gateway, with what it rests on; the owner finds it among the own acts."""
    first, _ = gateways
    first.sees(INFLATED, FEWEST)
    for _ in range(2):
        await first.flags.refresh()
    first.sees(HONEST, WINDOW)
    for _ in range(2):
        await first.flags.refresh()
    told = await AuditLog(storage).following()
    assert [(each.action, each.actor, each.subject, each.member) for each in told] == [
        ("node.flagged", "gateway", NODE, LENDER),
        ("node.cleared", "gateway", NODE, LENDER),
    ]
    expected = {"digest": DIGEST, "judged": FEWEST, "off": FEWEST, "gateway": "g1"}
    assert json.loads(told[0].details) == expected
    assert (await AuditLog(storage).verify("O" * 56)).is_whole


async def test_other_gateways_know_for_a_day(gateways: tuple[Gateway, Gateway]) -> None:
    """Until it is cleared, or the gateway that raised it has not been heard of it for a day."""
    first, second = gateways
    first.sees(INFLATED, FEWEST)
    assert (first.flags.nodes, second.flags.nodes) == ({NODE}, set())
    await first.flags.refresh()
    await second.flags.refresh()
    assert second.flags.nodes == {NODE}
    first.sees(HONEST, WINDOW)
    await first.flags.refresh()
    await second.flags.refresh()
    assert (first.flags.nodes, second.flags.nodes) == (set(), set())
    first.sees(INFLATED, WINDOW)
    await first.flags.refresh()
    await second.flags.refresh()
    second.now += HOLDS
    assert second.flags.nodes == {NODE}
    second.now += timedelta(seconds=1)
    assert second.flags.nodes == set()
    assert first.flags.nodes == {NODE}


async def test_a_gateway_that_starts_learns_the_flags(gateways: tuple[Gateway, Gateway]) -> None:
    """Also those that it raised itself, in the life before, whose judge is forgotten."""
    first, second = gateways
    first.sees(INFLATED, FEWEST)
    await first.flags.refresh()
    again = Gateway(second.storage, "g3", BEGIN + HOLDS)
    await again.flags.refresh()
    assert again.flags.nodes == {NODE}
    late = Gateway(second.storage, "g4", BEGIN + HOLDS + timedelta(seconds=1))
    await late.flags.refresh()
    assert late.flags.nodes == set()


async def test_the_log_is_read_on_also_where_nobody_was_flagged(
    storage: Storage, gateways: tuple[Gateway, Gateway]
) -> None:
    """What other acts there are is not read again each minute; what is flagged later is learned."""
    first, second = gateways
    log = AuditLog(storage)
    for _ in range(3):
        await log.append(Entry(Action.SETTINGS_CHANGED, GATEWAY, "settings"))
    await second.flags.refresh()
    assert second.flags._read == await log.size() == 3
    first.sees(INFLATED, FEWEST)
    await first.flags.refresh()
    await second.flags.refresh()
    assert second.flags.nodes == {NODE}
    assert second.flags._read == 4


async def test_a_flagged_node_is_not_warm(
    storage: Storage, gateways: tuple[Gateway, Gateway]
) -> None:
    """Its minutes do not count while it is flagged; those of others, and its own later ones, do."""
    first, second = gateways
    first.sees(INFLATED, FEWEST)
    await first.flags.refresh()
    await second.flags.refresh()
    jobs = RewardJobs(
        storage, Ledger(storage), Rules(), {}, lambda: [NODE, OTHER], flags=second.flags
    )
    await jobs.run_once(BEGIN)
    first.sees(HONEST, WINDOW)
    await first.flags.refresh()
    await jobs.run_once(BEGIN + timedelta(minutes=1))
    await jobs.run_once(BEGIN + timedelta(minutes=2))
    await jobs.warm.keep()
    assert await jobs.warm.of(hour_of(BEGIN)) == {OTHER: 3, NODE: 1}
