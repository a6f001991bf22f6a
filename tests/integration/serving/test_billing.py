"""What requests cost, through a real network and real books."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from msgspec import structs
from sqlalchemy import func, select
from tests.integration.network.conftest import SMALL, FakeBooks, MakeNode, until
from tests.integration.serving.test_recount import BrokenMeter
from tests.integration.serving.test_service import CHAT, KEY, Records, call, go_on, read
from tests.parts.gangs import keys_of, signed, terms_among
from tests.parts.money import grant
from tests.parts.scripted_node import DONE, ROLE, STOP, Job, event
from tests.parts.unbilled import EvenTurns, NoLimits

from garage_ai.accounts import SCOPES, KeyRing, Members, MemberSuspended
from garage_ai.gateway.economy import NodeOwners
from garage_ai.ledger import (
    FEE,
    GAI,
    POOL,
    AccountId,
    Allowances,
    FigureJudge,
    Leases,
    Ledger,
    NanoGai,
    Receipt,
    UsageWriter,
    member_account,
)
from garage_ai.ledger.charges import Price
from garage_ai.ledger.counting.rule import count_by_rule
from garage_ai.ledger.metering import Counted, Meter, RuleMeter
from garage_ai.ledger.priority import Standings
from garage_ai.ledger.reward_book import Probation
from garage_ai.ledger.rewards import Rules
from garage_ai.network import Delivered
from garage_ai.network.network import Network
from garage_ai.serving import (
    Billing,
    Call,
    Earner,
    Recount,
    Service,
    ServingError,
)
from garage_ai.serving.recount import Done
from garage_ai.storage import OPERATOR, MemberId, Storage
from garage_ai.storage.tables import transfers, usage
from garage_ai.storage.usage import UsagePart, UsageRecord
from garage_ai.wire.frames import Accepted, Data, End, Fail, Route
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

PAYER = member_account(KEY.member)
OWNER = member_account(MemberId("mbr_owner"))
PRICE = Price(NanoGai(1000), NanoGai(10_000))  # 1 and 10 nGAI a token


class FlatPrices:
    """One price for all models."""

    def price(self, digest: str | None, model: str) -> Price:
        assert digest
        return PRICE


@dataclass
class Owners:
    """All nodes are one member's; what is held back of it can be changed."""

    escrow: int = 0
    gone: bool = False

    def earners(self, node: str, digest: str) -> Sequence[Earner]:
        assert digest
        return [] if self.gone else [Earner(NodeId(node), MemberId("mbr_owner"), self.escrow)]


class Unknown:
    """Nobody can tell whose nodes they are."""

    def earners(self, node: str, digest: str) -> Sequence[Earner]:
        raise RuntimeError("no registry")


@dataclass
class Played:
    """A meter that counts as it is told."""

    found: Counted

    def begin(
        self,
        digest: str | None,
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        done(self.found)


class Believing(Recount):
    """A recount that counts as the engine says, or else pieces and the bytes of the prompt."""

    def begin(
        self, call: Call, record: UsageRecord, delivered: Sequence[Delivered], done: Done
    ) -> None:
        whose: Sequence[UsagePart | UsageRecord] = record.parts or (record,)
        told = [each.completion_tokens for each in whose]
        # Embeddings are no text: an engine that tells no completion has told all there is.
        if call.route == "embeddings":
            told = [count or 0 for count in told]
        each = [
            part.content_events if count is None else count
            for part, count in zip(whose, told, strict=True)
        ]
        prompt = record.prompt_tokens
        parts = zip(record.parts, each, strict=False)
        done(
            record.but(
                parts=tuple(structs.replace(part, counted_tokens=count) for part, count in parts),
                counted_prompt_tokens=len(call.body) // 4 if prompt is None else prompt,
                counted_completion_tokens=sum(each),
                count_source="rule" if prompt is None or None in told else "tokenizer",
            )
        )


def counting(meter: Meter) -> Recount:
    """Count by a meter."""
    return Recount(meter, FigureJudge())


@dataclass
class Written(Records):
    """Usage in memory, that is written with what it cost, too."""

    writer: UsageWriter | None = None

    def put(self, receipt: Receipt) -> None:
        super().put(receipt)
        assert self.writer is not None
        self.writer.put(receipt)

    @property
    def waiting(self) -> int:
        """Count what is not committed."""
        return 0 if self.writer is None else self.writer.waiting


@dataclass
class Books:
    """Books with a service over them."""

    storage: Storage
    ledger: Ledger
    allowances: Allowances
    billing: Billing
    service: Service
    records: Written

    async def settled(self) -> UsageRecord:
        """Wait until all is in the books, and give the record."""
        await self.written(1)
        return self.records.one

    async def written(self, count: int) -> None:
        """Wait until so many records are in the books."""
        await until(lambda: len(self.records.records) == count and not self.records.waiting)

    async def has(self, account: AccountId) -> int:
        """Tell what an account has."""
        return (await self.ledger.balance(account)).amount


async def charged_is_paid(storage: Storage) -> None:
    """Compare what records say with the transfers of their requests."""
    async with storage.read() as connection:
        used = await connection.execute(select(usage.c.request_id, usage.c.charge))
        charges = {request: charge for request, charge in used if charge}
        paid = await connection.execute(
            select(transfers.c.request_id, func.sum(transfers.c.amount))
            .where(transfers.c.request_id.is_not(None))
            .group_by(transfers.c.request_id)
        )
        assert charges == dict(paid.all())


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
async def economy(
    network: Network, records: Written, owners: Owners, storage: Storage
) -> AsyncIterator[Books]:
    ledger = Ledger(storage)
    await ledger.post([grant("g", PAYER, GAI)])
    allowances = Allowances.start(Leases(storage, "g1"))
    records.writer = UsageWriter.start(ledger, on_end=allowances.ended)
    billing = Billing(
        allowances,
        FlatPrices(),
        network,
        owners,
        fee_permille=100,
        turns=EvenTurns(),
    )
    service = Service(
        network, records, NoLimits(), billing, recount=Believing(RuleMeter(), FigureJudge())
    )
    yield Books(storage, ledger, allowances, billing, service, records)
    await records.writer.close()
    await allowances.close()
    await charged_is_paid(storage)
    seen = await ledger.verify()
    assert (seen.findings, seen.open_leases) == ([], 0)


@pytest.fixture
def records() -> Written:
    return Written()


async def test_a_whole_answer_is_paid(economy: Books, make_node: MakeNode) -> None:
    """The payer gives what was counted; node and network share it; the record tells the sum."""
    await make_node()
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert (record.prompt_tokens, record.completion_tokens, record.charge) == (3, 1, 13)
    assert await economy.has(PAYER) == GAI - 13
    assert (await economy.has(OWNER), await economy.has(FEE)) == (11, 2)
    [use, fee] = (await economy.ledger.statement(PAYER)).transfers[:2]
    assert {use.request_id, fee.request_id} == {record.request_id}


async def test_what_is_owned_and_used_weighs(
    economy: Books, network: Network, make_node: MakeNode
) -> None:
    """Who has a whole grant weighs one; who has just used a part of it, less; admins always one."""
    await make_node()
    standings = Standings(economy.allowances.balance, GAI)
    economy.billing._turns = standings
    bill = await economy.billing.open(call(), economy.billing.quote(call(), "small", (8, 8)))
    assert bill.weigh() == 1
    await read(await economy.service.open(call(stream=False)))
    await economy.settled()
    assert standings.weight(KEY.member) == pytest.approx((GAI - 13) / (GAI + 13), rel=1e-12)
    admin = replace(KEY, member=OPERATOR, scopes=SCOPES)
    by_admin = structs.replace(call(), key=admin)
    assert economy.billing.quote(by_admin, "small", (8, 8)) is None
    free = await economy.billing.open(by_admin, None)
    assert free.weigh() == 1
    bill.close(economy.records.one, economy.records.put)


async def test_a_new_nodes_earnings_are_held_back(
    economy: Books, owners: Owners, make_node: MakeNode
) -> None:
    """Half of them, if the rule says so."""
    owners.escrow = 500
    node = await make_node()
    await read(await economy.service.open(call(stream=False)))
    await economy.settled()
    assert await economy.has(OWNER) == 5
    assert await economy.has(AccountId(f"escrow:{node.id}")) == 6


async def test_rigs_share_what_their_gang_earns(
    economy: Books, network: Network, make_node: MakeNode, books: FakeBooks
) -> None:
    """By their parts, each with what is held back of it, and the payer pays what it always does."""
    leader, other = await make_node("n0"), await make_node("n1")
    keys = keys_of(leader.id, other.id)
    for node, key in keys.items():
        books.enrolled[node] = replace(books.enrolled[node], public_key=key.public)
        network.enrol(books.enrolled[node])
    leader.gang = signed(terms_among({leader.id: 5, other.id: 3}, SMALL.digest), keys)
    await leader.beat()
    await other.beat("joining", engine="stopped")
    await until(lambda: bool(network.registry.nodes[leader.id].gang))
    await until(lambda: network.registry.nodes[other.id].state == "joining")
    economy.billing._earners = NodeOwners(network.registry, Probation(Rules(escrow=500)))
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert (record.node, record.charge) == (leader.id, 13)
    # 13, of which 2 are the fee; 11 · 3/8 rounded down, and the rest is the leader's.
    found = [each for each in (await economy.ledger.statement(PAYER)).transfers if each.request_id]
    assert sorted((each.id, each.credit, each.amount, each.note) for each in found) == [
        (f"escrow:{record.request_id}:0", "escrow:n0", 4, "5/8 n0"),
        (f"escrow:{record.request_id}:0:n1", "escrow:n1", 2, "3/8 n0"),
        (f"fee:{record.request_id}:0", "fee", 2, None),
        (f"use:{record.request_id}:0", "member:mbr_n0", 3, "5/8 n0"),
        (f"use:{record.request_id}:0:n1", "member:mbr_n1", 2, "3/8 n0"),
    ]


async def test_a_node_that_is_gone_earns_nothing(
    economy: Books, owners: Owners, make_node: MakeNode
) -> None:
    """What it would have had is the community's."""
    owners.gone = True
    await make_node()
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert (record.charge, await economy.has(POOL)) == (13, 13)


async def test_parts_pay_each_node(economy: Books, make_node: MakeNode) -> None:
    """A stream that went on elsewhere is charged once, each node for what it wrote."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def yield_midway(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a") + event("b")))
        job.say(Fail("yielded"))
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        for node in nodes:
            if node is not job.node:
                node.scripts = [go_on(event("hej") + STOP + event("", usage=usage) + DONE)]

    for node in nodes:
        node.scripts = [yield_midway]
    await read(await economy.service.open(call()))
    record = await economy.settled()
    # No figure of the first part: by the rule, so that nobody earns; three pieces and the prompt.
    assert (record.charge, await economy.has(POOL)) == (37, 37)
    economy.service._recount = counting(Played(Counted(7, 3, "tokenizer", (2, 1))))
    for node in nodes:
        node.scripts = [yield_midway]
    await read(await economy.service.open(structs.replace(call(), request_id="req_2")))
    await economy.written(2)
    uses = (await economy.ledger.statement(OWNER)).transfers
    assert sorted((each.id, each.amount) for each in uses) == [
        ("use:req_2:0", 24),  # 27, less a tenth
        ("use:req_2:1", 9),
    ]


def lets_give_way(network: Network) -> bool:
    """Tell whether the nodes have said that batch gives way there."""
    replicas = network.registry.pools["small"]
    return all(replica.served.batch is not None for replica in replicas)


async def test_a_batch_answer_that_gave_way_pays_each_token_once(
    economy: Books, network: Network, make_node: MakeNode
) -> None:
    """Prompt and words are paid once, however often its slot went to a chat; nobody is at fault."""
    node = await make_node()
    await node.beat(batch=0)
    await until(lambda: lets_give_way(network))
    usage = event("", usage={"prompt_tokens": 11, "completion_tokens": 1})

    async def give_way(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a") + event("b")))
        job.say(Fail("preempted"))

    node.scripts = [give_way, give_way, go_on(event("c") + STOP + usage + DONE)]
    economy.service._recount = counting(Played(Counted(7, 5, "tokenizer", (2, 2, 1))))
    reply = await economy.service.open(structs.replace(call(stream=False), priority="batch"))
    assert b'"content":"ababc"' in await read(reply)
    record = await economy.settled()
    assert [part.outcome for part in record.parts] == ["preempted", "preempted", "ok"]
    assert (record.outcome, record.stream, record.attempts, record.charge) == ("ok", False, 1, 57)
    assert await economy.has(PAYER) == GAI - 57
    assert await economy.has(POOL) == 0


async def test_nothing_delivered_costs_nothing(economy: Books, make_node: MakeNode) -> None:
    """The promise is taken back."""
    node = await make_node()

    async def fail(job: Job) -> None:
        job.say(Accepted(), Fail("engine_lost", "died"))

    node.scripts = [fail] * 5
    with pytest.raises(ServingError):
        await economy.service.open(call())
    record = await economy.settled()
    assert (record.charge, await economy.has(PAYER), economy.allowances.held) == (0, GAI, 0)


async def test_a_fault_earns_nothing(economy: Books, make_node: MakeNode) -> None:
    """Also where something was delivered before it."""
    node = await make_node()

    async def die(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a")))
        job.say(Fail("engine_lost", "died"))

    node.scripts = [die]
    await read(await economy.service.open(call()))
    record = await economy.settled()
    assert (record.outcome, record.charge, await economy.has(PAYER)) == ("engine_error", 0, GAI)


async def test_what_was_delivered_is_recounted(economy: Books, make_node: MakeNode) -> None:
    """Whatever the engine says of it; by the rule alone no node earns."""
    await make_node()
    economy.service._recount = counting(RuleMeter())
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    counted = count_by_rule("chat", CHAT, ["a"])
    expected = counted.prompt + 10 * counted.each[0]
    assert (record.counted_prompt_tokens, record.count_source) == (counted.prompt, "rule")
    assert (record.charge, await economy.has(POOL)) == (expected, expected)


async def test_who_leaves_pays_what_came(economy: Books, make_node: MakeNode) -> None:
    """And no more."""
    node = await make_node()

    async def endless(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    node.scripts = [endless]
    reply = await economy.service.open(call())
    await reply.aclose()
    record = await economy.settled()
    prompt = len(CHAT) // 4
    assert (record.outcome, record.charge) == ("client_closed", prompt + 10)


async def test_who_is_suspended_pays_what_runs(economy: Books, make_node: MakeNode) -> None:
    """New requests are refused; the one that runs ends as ever, and is paid out of the lease."""
    node, go = await make_node(), asyncio.Event()

    async def slow(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a")))
        await go.wait()
        job.say(Data(event("b") + STOP + DONE), End())

    node.scripts = [slow]
    anna = await Members(economy.storage).add("Anna")
    keys, account = await KeyRing.open(economy.storage), member_account(anna.id)
    _, secret = await keys.create("laptop", anna.id)
    assert secret is not None
    await economy.ledger.post([grant("anna", account, GAI)])
    reply = await economy.service.open(structs.replace(call(), key=keys.authenticate(secret)))
    await Members(economy.storage).suspend(anna.id)
    await keys.refresh()
    with pytest.raises(MemberSuspended):
        keys.authenticate(secret)
    go.set()
    await read(reply)
    record = await economy.settled()
    assert (record.outcome, economy.allowances.held) == ("ok", 0)
    assert await economy.has(account) == GAI - (record.charge or GAI) < GAI
    await keys.close()


async def test_no_balance_no_answer(economy: Books, make_node: MakeNode) -> None:
    """The error says how much is missing and what to do; no node hears of it."""
    node = await make_node()
    poor = replace(KEY, member=MemberId("mbr_poor"))
    with pytest.raises(ServingError, match="max_tokens") as caught:
        await economy.service.open(structs.replace(call(), key=poor))
    assert (caught.value.code, caught.value.status) == ("insufficient_quota", 429)
    assert (economy.records.one.outcome, node.jobs) == ("insufficient_quota", [])


async def test_the_operators_key_is_free(economy: Books, make_node: MakeNode) -> None:
    """The record says nought, the ledger hears nothing of it."""
    await make_node()
    key = replace(KEY, member=OPERATOR, scopes=frozenset({"inference", "admin"}))
    await read(await economy.service.open(structs.replace(call(), key=key)))
    record = await economy.settled()
    assert (record.outcome, record.charge) == ("ok", 0)
    assert (await economy.ledger.verify()).transfers == 1


async def test_no_charge_is_above_the_promise(economy: Books, make_node: MakeNode) -> None:
    """Whatever is counted afterwards."""
    await make_node()
    economy.service._recount = counting(Played(Counted(10**9, 10**9, "tokenizer")))
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert record.charge is not None
    assert record.charge < 10**6
    assert await economy.has(PAYER) == GAI - record.charge


async def test_books_that_fail_bill_nothing(economy: Books, make_node: MakeNode) -> None:
    """It is counted, the promise ends, and the record is written without a charge."""
    await make_node()
    economy.billing._earners = Unknown()
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert (record.charge, economy.billing.failures, economy.allowances.held) == (None, 1, 0)


async def test_a_count_that_fails_ends_the_promise(economy: Books, make_node: MakeNode) -> None:
    """At once: nothing is held for two hours of a record that nobody writes."""
    await make_node()
    economy.service._recount = counting(BrokenMeter())
    await read(await economy.service.open(call(stream=False)))
    record = await economy.settled()
    assert (record.outcome, record.charge, economy.allowances.held) == ("ok", 0, 0)


async def test_a_hundred_at_once_are_all_paid(economy: Books, make_node: MakeNode) -> None:
    """Sum of the records and sum of the books agree."""
    await make_node(slots=8)
    calls = (
        structs.replace(call(stream=False), request_id=f"req_{number}") for number in range(100)
    )

    async def one(each: Call) -> None:
        with contextlib.suppress(ServingError):  # no node had room
            await read(await economy.service.open(each))

    await asyncio.gather(*map(one, calls))
    await economy.written(100)
    records = economy.records.records
    charged = sum(record.charge or 0 for record in records)
    served = sum(record.outcome == "ok" for record in records)
    assert (len(records), charged) == (100, 13 * served)
    assert served > 8
    assert await economy.has(PAYER) == GAI - charged
