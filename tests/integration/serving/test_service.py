"""Every request ends in exactly one usage record, however it ends."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.parts.scripted_node import (
    DONE,
    PLAIN,
    ROLE,
    STOP,
    Job,
    Script,
    answer_plainly,
    event,
)
from tests.parts.unbilled import NoBooks, NoLimits

from garage_ai.accounts import Key
from garage_ai.gateway.metrics import Metrics
from garage_ai.ledger import Receipt
from garage_ai.network.network import Network
from garage_ai.serving import Call, RegionForbidden, Reply, Service, ServingError
from garage_ai.storage.ids import KeyId, MemberId
from garage_ai.storage.usage import UsageRecord
from garage_ai.wire.frames import Accepted, Data, End, Fail, Head

pytestmark = pytest.mark.anyio

KEY = Key(KeyId("key_1"), MemberId("mbr_1"), "k", frozenset({"inference"}), None, datetime.now(UTC))

CHAT = b'{"model":"small","messages":[{"role":"user","content":"count"}]}'


@dataclass
class Records:
    """Usage in memory."""

    records: list[UsageRecord] = field(default_factory=list)

    def put(self, receipt: Receipt) -> None:
        self.records.append(receipt.record)

    @property
    def one(self) -> UsageRecord:
        """The only record there is."""
        [record] = self.records
        return record


@pytest.fixture
def records() -> Records:
    """No usage yet."""
    return Records()


@pytest.fixture
def service(network: Network, records: Records) -> Service:
    """Serving over a real network."""
    return Service(network, records, NoLimits(), NoBooks())


def call(*, stream: bool = True, model: str = "small", region: str | None = None) -> Call:
    """Ask for a chat."""
    return Call("req_1", "chat", KEY, model, CHAT, stream, include_usage=False, region=region)


async def read(reply: Reply) -> bytes:
    """Take all there is, and let what follows the last bytes begin."""
    taken = b"".join([chunk async for chunk in reply])
    await asyncio.sleep(0)
    return taken


async def test_a_whole_answer(service: Service, records: Records, make_node: MakeNode) -> None:
    """What engine and gateway saw is in the record."""
    node = await make_node()
    reply = await service.open(call(stream=False))
    assert (reply.node, reply.region, reply.trust) == (node.id, "none", "unverified")
    assert reply.content_type == "application/json"
    assert await read(reply) == PLAIN
    await reply.aclose()
    record = records.one
    assert (record.outcome, record.node, record.model) == ("ok", node.id, "small")
    assert (record.prompt_tokens, record.completion_tokens) == (3, 1)
    assert record.digest == node.model.digest
    assert record.bytes_out == len(PLAIN)
    assert record.ttft_s is None
    assert record.duration_s > 0


async def test_a_streams_first_token_is_timed(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """It comes before the end; of a plain answer it is not seen."""
    await make_node()
    await read(await service.open(call()))
    record = records.one
    assert record.ttft_s is not None
    assert 0 < record.ttft_s <= record.duration_s


async def test_the_alias_stands_for_the_best_model(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """Usage names the model itself."""
    await make_node()
    await read(await service.open(call(model="garage-chat")))
    assert records.one.model == "small"


async def test_a_stream_that_breaks_ends_in_an_error_event(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """No [DONE] follows; the record has the code and what was delivered."""
    node = await make_node()

    async def die(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a")))
        job.say(Fail("engine_lost", "died"))

    node.scripts = [die]
    out = await read(await service.open(call()))
    head, _, tail = out.rpartition(b"data: ")
    assert head == ROLE + event("a")
    assert b'"code":"engine_error"' in tail
    assert DONE not in out
    assert records.one.outcome == "engine_error"
    assert records.one.content_events == 1


async def test_a_stream_that_goes_on_elsewhere_is_one_record(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """It names the node that began, sums up, and tells each node's part."""
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
    reply = await service.open(call())
    out = await read(reply)
    assert out.startswith(ROLE + event("a") + event("b") + event("hej"))
    record = records.one
    assert (record.outcome, record.node, record.attempts) == ("ok", reply.node, 2)
    assert (record.prompt_tokens, record.completion_tokens) == (7, 3)
    assert (record.content_events, record.bytes_out) == (3, len(out))
    first, second = record.parts
    assert (first.node, first.outcome, first.content_events) == (reply.node, "yielded", 2)
    assert (first.prompt_tokens, first.completion_tokens, first.gap_s) == (None, None, None)
    assert (second.outcome, second.content_events) == ("ok", 1)
    assert (second.prompt_tokens, second.completion_tokens) == (9, 1)
    assert second.node != first.node
    assert second.gap_s is not None
    assert 0 < second.gap_s < 20


def go_on(data: bytes) -> Script:
    """Answer a stream with these bytes."""

    async def say(job: Job) -> None:
        job.begin_stream()
        job.say(Data(data), End())

    return say


async def test_a_client_that_leaves_midway(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """The node is told and the record says so, once."""
    node = await make_node()

    async def endless(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    node.scripts = [endless]
    reply = await service.open(call())
    await reply.aclose()
    await reply.aclose()
    await asyncio.wait_for(node.jobs[0].cancelled.wait(), 2)  # it is some milliseconds
    assert records.one.outcome == "client_closed"
    assert records.one.content_events == 1


async def test_a_client_that_leaves_before_the_answer(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """Cancelled while waiting for the first token; who was at work stands in the record."""
    node = await make_node()

    async def think(job: Job) -> None:
        job.say(Accepted())
        await job.cancelled.wait()

    node.scripts = [think]
    opening = asyncio.create_task(service.open(call()))
    await until(lambda: len(node.jobs) == 1)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    record = records.one
    assert record.outcome == "client_closed"
    # The node has worked for it: the books must know which.
    assert (record.node, record.attempts) == (node.id, 1)
    assert records.one.ttft_s is None


async def test_a_gateway_that_stops_says_so(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """What it cuts short, before the answer or in it, is not put down to the client."""
    node = await make_node()

    async def endless(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    async def think(job: Job) -> None:
        job.say(Accepted())
        await job.cancelled.wait()

    node.scripts = [endless, think]
    await (await service.open(call())).aclose("shutting_down")
    opening = asyncio.create_task(service.open(call(), lambda: "shutting_down"))
    await until(lambda: len(node.jobs) == 2)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert [each.outcome for each in records.records] == ["shutting_down"] * 2
    assert [each.content_events for each in records.records] == [1, 0]


@pytest.mark.parametrize(("model", "code"), [("nonesuch", "model_not_found"), ("small", "no_node")])
async def test_a_request_nobody_can_serve(
    service: Service, records: Records, model: str, code: str
) -> None:
    """It is recorded too."""
    with pytest.raises(ServingError) as raised:
        await service.open(call(model=model))
    assert raised.value.code == code
    assert records.one.outcome == code


async def test_a_plain_answer_that_breaks(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """It is an error before the first byte."""
    node = await make_node()

    async def nonsense(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(200, "application/json"), Data(b"{}"), End())

    node.scripts = [nonsense]
    with pytest.raises(ServingError):
        await service.open(call(stream=False))
    assert records.one.outcome == "bad_node_reply"


async def test_who_was_asked_in_vain_is_recorded(
    network: Network, records: Records, make_node: MakeNode
) -> None:
    """Node, model and tries stand in the record and the metrics, though no answer came."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def fail(job: Job) -> None:
        job.say(Accepted())
        job.say(Fail("engine_lost", "died"))

    for node in nodes:
        node.scripts = [fail]
    metrics = Metrics()

    with pytest.raises(ServingError) as raised:
        await Service(network, records, NoLimits(), NoBooks(), observe=metrics.observe).open(call())
    assert raised.value.code == "engine_error"
    record = records.one
    assert record.node in {node.id for node in nodes}
    assert (record.digest, record.attempts) == (nodes[0].model.digest, 2)
    shown = metrics.render().decode()
    assert 'gai_retries_total{gai_priority="chat"} 1.0' in shown
    assert 'error_type="engine_error"' in shown
    assert 'gen_ai_request_model="small"' in shown


async def test_what_the_engine_rejects_was_one_try(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """The node that refused the request for good is the one that had it."""
    node = await make_node()

    async def reject(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(400, "application/json"), Data(b'{"error": {"message": "no"}}'), End())

    node.scripts = [reject]
    with pytest.raises(ServingError):
        await service.open(call())
    assert (records.one.outcome, records.one.node) == ("engine_rejected", node.id)
    assert records.one.attempts == 1


async def test_a_key_bound_to_a_region_stays_there(
    network: Network, records: Records, make_node: MakeNode
) -> None:
    """A request cannot leave its key's region, and none outside it serves."""
    await make_node(region="SE-O")
    bound = Key(KEY.id, KEY.member, "k", KEY.scopes, "SE-AB", KEY.created_at)
    service = Service(network, records, NoLimits(), NoBooks())
    with pytest.raises(ServingError) as raised:
        await service.open(Call("r", "chat", bound, "small", b"{}", True, include_usage=False))
    assert raised.value.code == "region_unavailable"
    with pytest.raises(RegionForbidden):
        await service.open(
            Call("r", "chat", bound, "small", b"{}", True, include_usage=False, region="SE-O")
        )
    assert [record.outcome for record in records.records] == [
        "region_unavailable",
        "region_forbidden",
    ]


async def test_a_hundred_at_once(service: Service, records: Records, make_node: MakeNode) -> None:
    """As many records as requests, whichever way each went."""
    node = await make_node(slots=8)

    async def die_at_once(job: Job) -> None:
        job.say(Accepted())
        job.say(Data(STOP))

    node.scripts = [answer_plainly, die_at_once, *[answer_plainly] * 20, answer_plainly]

    async def one() -> None:
        try:
            reply = await service.open(call())
        except ServingError:
            return
        await read(reply)

    await asyncio.gather(*(one() for _ in range(100)))
    assert len(records.records) == 100
