"""Stipends, releases and forfeits in the real books: given once, by whoever comes first."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update
from tests.parts.money import use
from tests.parts.plans import statements_of

from garage_ai.audit.models import Actor
from garage_ai.audit.service import AuditLog, Wanted
from garage_ai.ledger import (
    ADJUSTMENTS,
    FEE,
    GAI,
    ISSUANCE,
    POOL,
    AccountId,
    Kind,
    Ledger,
    NanoGai,
    Transfer,
    TransferConflict,
    escrow_account,
    member_account,
)
from garage_ai.ledger.beside import Beside
from garage_ai.ledger.reward_book import Reward
from garage_ai.ledger.reward_jobs import RewardJobs
from garage_ai.ledger.rewards import Rules, class_factor
from garage_ai.ledger.warmth import WarmHours, served_for_others
from garage_ai.storage import OPERATOR, MemberId, Storage
from garage_ai.storage.tables import members, nodes, usage
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

DIGEST = "sha256:" + "a" * 64
SPEED = 100.0  # of the reference card
BEGIN = datetime(2027, 3, 1, 0, 30, tzinfo=UTC)
OLD = BEGIN - timedelta(days=20)
LENDER, ANNA, BERT, CILLA = (
    MemberId(f"mbr_{name}") for name in ("lender", "anna", "bert", "cilla")
)
NODE = NodeId("n1")
RULES = Rules()
ADMIN = Actor.key("key_admin", OPERATOR)


async def add_member(storage: Storage, member: MemberId, joined: datetime = OLD) -> None:
    async with storage.write() as connection:
        row = {"id": member, "name": member, "created_at": joined}
        await connection.execute(insert(members).values(**row))


async def add_node(
    storage: Storage, node: NodeId = NODE, member: MemberId = LENDER, since: datetime = OLD
) -> None:
    async with storage.write() as connection:
        row = {
            "id": node,
            "member_id": member,
            "name": node,
            "public_key": f"U{node}",
            "trust": "unverified",
            "created_at": since,
        }
        await connection.execute(insert(nodes).values(**row))


async def add_streams(
    storage: Storage,
    member: MemberId,
    count: int,
    at: datetime,
    digest: str = DIGEST,
    *,
    node: NodeId = NODE,
) -> None:
    """Let a member have had streams of 100 tokens a second from the node."""
    async with storage.write() as connection:
        for number in range(count):
            row = {
                "request_id": f"{node}{member}{number}{at:%d%H%M%S}{digest[-1]}",
                "at": at,
                "member_id": member,
                "key_id": "key_x",
                "route": "chat",
                "model": "m",
                "digest": digest,
                "node_id": node,
                "outcome": "ok",
                "stream": True,
                "prompt_tokens": 10,
                "completion_tokens": 9999,
                "counted_completion_tokens": 101,
                "count_source": "tokenizer",
                "content_events": 101,
                "bytes_out": 1,
                "ttft_s": 0.5,
                "duration_s": 1.5,
                "attempts": 1,
            }
            await connection.execute(insert(usage).values(**row))


async def held(ledger: Ledger, account: AccountId) -> int:
    return (await ledger.balance(account)).amount


@pytest.fixture
async def jobs(storage: Storage, ledger: Ledger) -> RewardJobs:
    given = [
        Transfer(f"given/{each}", Kind.GRANT, ISSUANCE, member_account(each), RULES.grant, OLD)
        for each in (LENDER, ANNA, BERT, CILLA)
    ]
    await ledger.post(given)
    for member in (LENDER, ANNA, BERT, CILLA):
        await add_member(storage, member)
    return RewardJobs(storage, ledger, RULES, {DIGEST: SPEED})


async def warm_for(jobs: RewardJobs, hour: datetime, minutes: int) -> None:
    for minute in range(minutes):
        jobs.warm.saw([NODE], hour + timedelta(minutes=minute))
    await jobs.warm.keep()


async def test_a_warm_and_proved_hour_has_its_stipend(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """As fast as the reference card for two others: five thousandths, half of it held back."""
    await add_node(storage)
    hour = BEGIN.replace(minute=0)
    for member in (ANNA, BERT):
        await add_streams(storage, member, 2, hour - timedelta(hours=2))
    await warm_for(jobs, hour, 60)
    await jobs.give_stipends(hour + timedelta(minutes=61))
    assert await held(ledger, escrow_account(NODE)) == 0
    later = hour + timedelta(minutes=65)
    for _ in range(2):
        await jobs.run_once(later)
    stipend = 5 * GAI // 1000
    assert await held(ledger, escrow_account(NODE)) == stipend // 2
    own = await held(ledger, member_account(LENDER)) - RULES.grant
    assert own == stipend // 2
    assert await held(ledger, POOL) == 0


async def test_rigs_share_the_stipend_of_the_one_that_leads(
    storage: Storage, ledger: Ledger
) -> None:
    """By their parts, of each as much held back as of a node of its own; who is gone gets none."""
    for member in (LENDER, ANNA, BERT, CILLA):
        await add_member(storage, member)
    proved, gone = NodeId("n2"), NodeId("n3")
    await add_node(storage)
    await add_node(storage, proved, CILLA)
    parts = [(NODE, 5), (proved, 2), (gone, 1)]
    jobs = RewardJobs(storage, ledger, RULES, {DIGEST: SPEED}, partners=lambda _: parts)
    jobs.probation._proved = frozenset({proved})
    hour = BEGIN.replace(minute=0)
    for member in (ANNA, BERT):
        await add_streams(storage, member, 2, hour - timedelta(hours=2))
    await warm_for(jobs, hour, 60)
    later = hour + timedelta(minutes=65)
    await jobs.give_stipends(later)
    await jobs.book.post(later)
    stipend = 5 * GAI // 1000
    own = stipend * 6 // 8
    assert await held(ledger, member_account(LENDER)) == own // 2
    assert await held(ledger, escrow_account(NODE)) == own // 2
    assert await held(ledger, member_account(CILLA)) == stipend * 2 // 8
    assert await held(ledger, escrow_account(proved)) == 0
    assert await held(ledger, POOL) == 0
    assert -(await held(ledger, ISSUANCE)) == stipend


async def test_an_hour_is_paid_before_the_next_is_decided(
    jobs: RewardJobs, storage: Storage, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many nodes there are: what the pool holds is not taken for what it may still pay."""
    monkeypatch.setattr("garage_ai.ledger.reward_book._BATCH", 3)
    hours = [BEGIN.replace(minute=0) + timedelta(hours=number) for number in range(2)]
    rigs = [NodeId(f"n{number}") for number in range(1, 9)]
    for rig in rigs:
        await add_node(storage, rig)
        for member in (ANNA, BERT):
            await add_streams(storage, member, 2, hours[0] - timedelta(hours=2), node=rig)
    for hour in hours:
        for minute in range(60):
            jobs.warm.saw(rigs, hour + timedelta(minutes=minute))
    issued = await held(ledger, ISSUANCE)
    await jobs.run_once(hours[1] + timedelta(minutes=65))
    given = 2 * 8 * 5 * GAI // 1000
    assert issued - await held(ledger, ISSUANCE) == given
    assert await held(ledger, POOL) == 0
    held_back = [await held(ledger, escrow_account(rig)) for rig in rigs]
    assert held_back == [5 * GAI // 1000] * 8


async def test_rewards_that_cannot_be_paid_keep_no_other_back(
    jobs: RewardJobs, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than are posted at once: a mint, a release and a grant behind them come."""
    monkeypatch.setattr("garage_ai.ledger.reward_book._BATCH", 2)
    lender, anna, escrow = member_account(LENDER), member_account(ANNA), escrow_account(NODE)
    await work(ledger, ANNA, GAI, BEGIN, "w1")
    unpaid = [
        Reward(f"stipend/{number}", "", Kind.STIPEND, POOL, lender, NanoGai(GAI))
        for number in range(5)
    ]
    await jobs.book.decide(unpaid, BEGIN)
    assert await jobs.book.post(BEGIN) == 0
    behind = [
        Reward("mint/1", "", Kind.MINT, ISSUANCE, POOL, NanoGai(GAI)),
        Reward("release/n1/0", "", Kind.RELEASE, escrow, lender, NanoGai(GAI)),
        Reward("grant/1", "", Kind.GRANT, ISSUANCE, anna, NanoGai(GAI)),
    ]
    await jobs.book.decide(behind, BEGIN + timedelta(hours=1))
    assert await jobs.book.post(BEGIN) == 4
    assert await held(ledger, POOL) == 0
    assert await held(ledger, lender) == RULES.grant + 2 * GAI
    assert await held(ledger, anna) == RULES.grant


async def test_many_rewards_are_decided_in_a_few_statements(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """And so are the minutes of many nodes: whoever writes keeps others from writing."""
    rigs = [NodeId(f"n{number}") for number in range(2000)]
    given = [
        Reward(f"g{rig}", "", Kind.GRANT, ISSUANCE, escrow_account(rig), NanoGai(0)) for rig in rigs
    ]
    await jobs.book.decide(given[:1], BEGIN)
    with statements_of(storage) as statements:
        assert await jobs.book.decide(given, BEGIN + timedelta(hours=1))
        for minute in range(2):
            jobs.warm.saw(rigs, BEGIN + timedelta(minutes=minute))
            await jobs.warm.keep()
    assert len(statements) < 20
    assert len(await jobs.book.are_decided([each.id for each in given])) == 2000
    [first] = await Beside(storage).rewards(escrow_account(rigs[0]), "", 9)
    assert (first.decided_at, first.posted_at) == (BEGIN, BEGIN)
    assert set((await jobs.warm.of(BEGIN.replace(minute=0))).values()) == {2}


async def test_an_idle_node_has_none(jobs: RewardJobs, storage: Storage, ledger: Ledger) -> None:
    """Warm all hour, asked by nobody but its owner and one friend: decided, and empty."""
    await add_node(storage)
    hour = BEGIN.replace(minute=0)
    for member in (LENDER, ANNA):
        await add_streams(storage, member, 9, hour)
    await warm_for(jobs, hour, 60)
    await jobs.run_once(hour + timedelta(minutes=65))
    assert await held(ledger, escrow_account(NODE)) == 0
    assert await held(ledger, member_account(LENDER)) == RULES.grant


async def test_who_asks_two_models_is_one_witness(storage: Storage) -> None:
    """One friend with several models proves no more than with one; speeds are the mean."""
    for member in (LENDER, ANNA):
        await add_member(storage, member)
    await add_node(storage)
    other = "sha256:" + "b" * 64
    await add_streams(storage, ANNA, 2, BEGIN)
    await add_streams(storage, ANNA, 2, BEGIN, other)
    expected = {DIGEST: SPEED, other: 2 * SPEED}
    served = await served_for_others(storage, expected, BEGIN, BEGIN + timedelta(hours=1))
    assert [(each.requests, each.speed / each.expected) for each in served[NODE]] == [(4, 0.75)]
    assert class_factor(RULES, served[NODE]) == 0


async def test_the_pool_pays_before_anything_is_minted(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """What nobody could count went to the pool, and goes to those who are there."""
    await add_node(storage)
    hour = BEGIN.replace(minute=0)
    await jobs.run_once(hour)
    unmetered = use("u1", member_account(CILLA), POOL, GAI)
    await ledger.post(
        [type(unmetered)("u1", Kind.UNMETERED, unmetered.debit, POOL, NanoGai(GAI), hour)]
    )
    for member in (ANNA, BERT):
        await add_streams(storage, member, 2, hour)
    await warm_for(jobs, hour, 30)
    issued = await held(ledger, ISSUANCE)
    await jobs.run_once(hour + timedelta(minutes=65))
    assert await held(ledger, ISSUANCE) == issued
    assert await held(ledger, POOL) == GAI - 5 * GAI // 2000


async def test_minutes_seen_twice_count_once(storage: Storage) -> None:
    """By two gateways, before and after a restart: a minute is a bit."""
    hour = BEGIN.replace(minute=0)
    first, second = WarmHours(storage), WarmHours(storage)
    for minute in (0, 1, 2):
        first.saw([NODE], hour + timedelta(minutes=minute))
        second.saw([NODE], hour + timedelta(minutes=minute + 1))
    await first.keep()
    await second.keep()
    second.saw([NODE], hour + timedelta(minutes=59))
    await second.keep()
    assert await first.of(hour) == {NODE: 5}
    first.saw([NODE], hour + timedelta(days=8))
    await first.keep()
    assert await first.of(hour) == {}


async def work(ledger: Ledger, payer: MemberId, amount: int, at: datetime, name: str) -> None:
    """Let a member pay the node's share that is held back."""
    debit, credit = member_account(payer), escrow_account(NODE)
    await ledger.post([Transfer(name, Kind.USE, debit, credit, NanoGai(amount), at)])


async def test_what_was_held_back_comes_when_it_is_earned(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """A week, five GAI, three others: then all of it, and nothing is held back any more."""
    since = BEGIN - timedelta(days=6)
    await add_node(storage, since=since)
    await jobs.run_once(BEGIN)
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    await jobs.release(BEGIN)
    await jobs.run_once(BEGIN)
    assert await held(ledger, escrow_account(NODE)) == 3 * GAI
    assert jobs.probation.escrow_permille(NODE, LENDER) == 500
    await jobs.run_once(BEGIN + timedelta(days=1))
    assert await held(ledger, escrow_account(NODE)) == 0
    assert await held(ledger, member_account(LENDER)) == RULES.grant + 3 * GAI
    assert jobs.probation.escrow_permille(NODE, LENDER) == 0
    # What another gateway still held back in the meantime follows.
    await work(ledger, ANNA, GAI, BEGIN + timedelta(days=1), "w9")
    await jobs.run_once(BEGIN + timedelta(days=1, minutes=5))
    assert await held(ledger, escrow_account(NODE)) == 0


async def test_work_is_read_on_from_the_last_look(
    jobs: RewardJobs, storage: Storage, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, and no entry a second time; after a forfeit from the beginning."""
    monkeypatch.setattr("garage_ai.ledger.proof._PAGE", 2)
    await add_node(storage)
    for number in range(3):
        await work(ledger, ANNA, GAI, BEGIN, f"w{number}")
    with statements_of(storage) as first:
        await jobs.release(BEGIN)
    await work(ledger, LENDER, GAI, BEGIN, "w5")
    await work(ledger, BERT, 1, BEGIN, "w6")
    with statements_of(storage) as second:
        await jobs.release(BEGIN)
    looks = [sum("transfers.credit" in each for each in some) for some in (first, second)]
    assert looks == [2, 1]
    assert await jobs.book.turns() == {}
    began_anew = BEGIN + timedelta(minutes=1)
    assert await jobs.forfeit(NODE, "a lie", began_anew, key="k", by=ADMIN)
    for number, payer in enumerate((CILLA, ANNA)):
        await work(ledger, payer, GAI, BEGIN + timedelta(days=1), f"v{number}")
    later = BEGIN + timedelta(days=8)
    await jobs.release(later)
    assert (await jobs.book.turns())[NODE].released is None
    await work(ledger, BERT, GAI, later, "v2")
    await jobs.release(later)
    assert (await jobs.book.turns())[NODE].released == later


async def test_work_for_oneself_proves_nothing(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """Nor does that of two friends, however much."""
    await add_node(storage)
    await jobs.run_once(BEGIN)
    for number, payer in enumerate((LENDER, ANNA, BERT)):
        await work(ledger, payer, 4 * GAI, BEGIN, f"w{number}")
    await jobs.run_once(BEGIN + timedelta(minutes=5))
    assert await held(ledger, escrow_account(NODE)) == 12 * GAI


async def test_what_is_forfeited_goes_to_all(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """An administrator's decision: the pool has it, and the node begins anew."""
    await add_node(storage)
    await jobs.run_once(BEGIN)
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    later = BEGIN + timedelta(seconds=30)
    given = await jobs.forfeit(NODE, "answers of another model", later, key="k", by=ADMIN)
    assert given == 3 * GAI
    assert await held(ledger, POOL) == 3 * GAI
    assert await held(ledger, escrow_account(NODE)) == 0
    await jobs.run_once(BEGIN + timedelta(minutes=5))
    assert not jobs.probation.is_proved(NODE)
    assert await held(ledger, FEE) == 0


async def test_a_forfeit_is_carried_out_once(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """With an entry in the log, also of a node that was removed; the same key is no second one."""
    await add_node(storage)
    async with storage.write() as connection:
        await connection.execute(update(nodes).values(removed_at=BEGIN))
    await work(ledger, ANNA, GAI, BEGIN, "w1")
    assert await jobs.forfeit(NODE, "a lie", BEGIN, key="k", by=ADMIN) == GAI
    await work(ledger, BERT, GAI, BEGIN, "w2")
    later = BEGIN + timedelta(seconds=1)
    assert await jobs.forfeit(NODE, "a lie", later, key="k", by=ADMIN) == GAI
    assert await held(ledger, escrow_account(NODE)) == GAI
    with pytest.raises(TransferConflict):
        await jobs.forfeit(NODE, "another", later, key="k", by=ADMIN)
    (entry,) = await AuditLog(storage).following(wanted=Wanted(action="node.forfeited"))
    assert (entry.subject, entry.member, entry.details) == (NODE, LENDER, f'{{"amount":"{GAI}"}}')
    assert await jobs.forfeit(NODE, "once more", later, key="k2", by=ADMIN) == GAI
    assert await held(ledger, POOL) == 2 * GAI
    assert await jobs.forfeit(NodeId("nobody"), "a lie", later, key="k3", by=ADMIN) is None


async def test_two_gateways_release_once(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """The second looks before the first has posted; nothing is left to be paid without proof."""
    other = RewardJobs(storage, ledger, RULES, {DIGEST: SPEED})
    await add_node(storage)
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    await jobs.release(BEGIN)
    await other.release(BEGIN + timedelta(seconds=1))
    await other.book.post(BEGIN + timedelta(seconds=1))
    assert await held(ledger, member_account(LENDER)) == RULES.grant + 3 * GAI
    later = BEGIN + timedelta(minutes=1)
    await work(ledger, ANNA, GAI, later, "w3")
    assert await jobs.forfeit(NODE, "a lie", later, key="k", by=ADMIN) == GAI
    await work(ledger, BERT, 4 * GAI, later, "w4")
    for each in (jobs, other):
        await each.run_once(later + timedelta(minutes=4))
    assert await held(ledger, escrow_account(NODE)) == 4 * GAI


async def test_a_turn_that_another_gateway_took_is_not_taken_again(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """What an account held before is no ground for anything once it was released or forfeited."""
    await add_node(storage)
    await work(ledger, ANNA, GAI, BEGIN, "w1")
    account = escrow_account(NODE)
    late = Reward("release/n1/0", "", Kind.RELEASE, account, member_account(LENDER), NanoGai(GAI))
    assert await jobs.forfeit(NODE, "a lie", BEGIN, key="k", by=ADMIN) == GAI
    assert not await jobs.book.decide([late], BEGIN, turn=0)
    assert await jobs.book.decide([late], BEGIN, turn=1)


async def test_what_is_no_longer_held_back_is_not_paid_of_what_comes(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """A release that an adjustment came before is dropped; the next one pays what there is."""
    await add_node(storage)
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    await jobs.release(BEGIN)
    account = escrow_account(NODE)
    taken = Transfer("a1", Kind.ADJUSTMENT, account, ADJUSTMENTS, NanoGai(GAI), BEGIN, note="why")
    await ledger.post([taken], by=ADMIN)
    assert await jobs.book.post(BEGIN) == 0
    await work(ledger, ANNA, 2 * GAI, BEGIN, "w4")
    await jobs.book.post(BEGIN)
    assert await held(ledger, account) == 4 * GAI
    await jobs.run_once(BEGIN + timedelta(minutes=5))
    assert await held(ledger, account) == 0
    assert await held(ledger, member_account(LENDER)) == RULES.grant + 4 * GAI


async def test_nothing_is_decided_where_nothing_is_held_back(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """A proved node is looked at for good, and each look leaves no row."""
    await add_node(storage)
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    for minutes in (0, 5, 10):
        await jobs.run_once(BEGIN + timedelta(minutes=minutes))
    assert (await jobs.book.turns())[NODE].number == 1


@pytest.mark.parametrize(("days", "kept"), [(8, 0), (6, 3 * GAI)])
async def test_who_left_has_what_was_earned_until_then(
    jobs: RewardJobs, storage: Storage, ledger: Ledger, days: int, kept: int
) -> None:
    """A node that had proved itself when it was removed; another's stays, however much later."""
    await add_node(storage, since=BEGIN - timedelta(days=days))
    for number, payer in enumerate((ANNA, BERT, CILLA)):
        await work(ledger, payer, GAI, BEGIN, f"w{number}")
    async with storage.write() as connection:
        await connection.execute(update(nodes).values(removed_at=BEGIN))
    await jobs.run_once(BEGIN + timedelta(days=7))
    assert await held(ledger, escrow_account(NODE)) == kept
    assert await held(ledger, member_account(LENDER)) == RULES.grant + 3 * GAI - kept
    # What a gateway wrote late follows the rest.
    await work(ledger, ANNA, GAI, BEGIN, "w9")
    await jobs.run_once(BEGIN + timedelta(days=9))
    assert await held(ledger, escrow_account(NODE)) == (kept + GAI if kept else 0)


async def test_the_operators_own_nodes_prove_and_get_nothing(
    jobs: RewardJobs, storage: Storage, ledger: Ledger
) -> None:
    """Nothing is held back of them, and no stipend is theirs."""
    await add_node(storage, member=OPERATOR)
    assert jobs.probation.escrow_permille(NODE, OPERATOR) == 0
    hour = BEGIN.replace(minute=0)
    for member in (ANNA, BERT):
        await add_streams(storage, member, 9, hour)
    await warm_for(jobs, hour, 60)
    await jobs.run_once(hour + timedelta(minutes=65))
    assert await held(ledger, escrow_account(NODE)) == 0
    assert await held(ledger, POOL) == 0
