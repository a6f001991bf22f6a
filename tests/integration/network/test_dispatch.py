"""Requests through a real NATS server to scripted nodes: the good, the bad and the silent."""

import asyncio
import gc
import signal
import time
from functools import partial
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.integration.network.conftest import (
    GATEWAY,
    LIMITS,
    SMALL,
    FakeBooks,
    MakeNode,
    a_network,
    hurry,
    until,
)
from tests.parts.nats import NatsProcess
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

from garage_ai.network import dispatcher as dispatcher_module
from garage_ai.network import flight as flight_module
from garage_ai.network import placement as placement_module
from garage_ai.network.authority import Authority
from garage_ai.network.breaker import NEED_PAUSE
from garage_ai.network.dispatcher import Answer, Request
from garage_ai.network.errors import (
    BadNodeReply,
    ContextLengthExceeded,
    DispatchError,
    EngineFailed,
    EngineRejected,
    ModelLoading,
    NatsUnavailable,
    NoCapacity,
    NodeLost,
    NodeTimeout,
    NoNode,
    RegionUnavailable,
    UnknownModel,
    WrongKind,
)
from garage_ai.network.models import EnrolledNode, Node, Replica
from garage_ai.network.names import KnownClaim
from garage_ai.network.network import Network
from garage_ai.wire import subjects
from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Alive,
    Data,
    End,
    Fail,
    Head,
    Packet,
    Refused,
    Route,
    encode,
)
from garage_ai.wire.ids import AttemptId, NodeId
from garage_ai.wire.messages import BEAT_INTERVAL, BeatNow, ModelServed
from garage_ai.wire.session import Message
from garage_ai.wire.window import WINDOW

pytestmark = pytest.mark.anyio


CHAT = b'{"model":"small","messages":[{"role":"user","content":"count"}]}'


def request(
    *, stream: bool = True, body: bytes = CHAT, region: str | None = None, model: str = "small"
) -> Request:
    """Ask the small model something."""
    return Request("chat", model, body, stream=stream, include_usage=False, region=region)


async def read(answer: Answer, said: list[bytes] | None = None) -> bytes:
    """Take the whole answer; `said` has what came also where it breaks."""
    said = [] if said is None else said
    async with asyncio.timeout(20):
        async for chunk in answer:
            said.append(chunk)
    return b"".join(said)


def free_of_work(network: Network) -> bool:
    """Tell whether nothing is under way and every slot is free."""
    return not network.dispatcher._flights and all(view.inflight == 0 for view in network.nodes())


async def test_a_gateway_that_begins_to_listen_asks_how_its_nodes_are(
    network: Network, make_node: MakeNode
) -> None:
    """Nobody waits for the next regular beat after a start, or when the link is back."""
    node = await make_node()
    network.ask_for_beats()
    await until(lambda: bool(node.controls))
    [asked] = node.controls
    assert isinstance(asked, BeatNow)
    assert 0 < asked.within <= BEAT_INTERVAL


async def test_a_stream(network: Network, make_node: MakeNode) -> None:
    """Events arrive as the node sent them, with the gateway's end."""
    node = await make_node()
    answer = await network.open(request(body=b'{"x":1}'))
    assert await read(answer) == ROLE + event("hej") + STOP + DONE
    assert bytes(node.jobs[0].body) == b'{"x":1}'
    assert answer.seen.content_events == 1
    assert free_of_work(network)


async def test_a_plain_answer(network: Network, make_node: MakeNode) -> None:
    """Its bytes are the engine's."""
    await make_node()
    answer = await network.open(request(stream=False))
    assert await read(answer) == PLAIN
    assert answer.seen.usage is not None
    assert answer.seen.usage.prompt_tokens == 3


async def test_a_body_larger_than_the_window(network: Network, make_node: MakeNode) -> None:
    """A large prompt goes out as the node gives credit."""
    node = await make_node()
    body = bytes(range(256)) * 12_000
    assert len(body) > 10 * WINDOW
    await read(await network.open(request(stream=False, body=body)))
    assert bytes(node.jobs[0].body) == body


async def test_a_large_answer_needs_credit(network: Network, make_node: MakeNode) -> None:
    """A plain answer of many windows comes whole."""
    node = await make_node()
    body = b'{"choices":[{"message":{"content":"' + b"x" * 2_000_000 + b'"}}]}'

    async def answer(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(200, "application/json"))
        for start in range(0, len(body), MAX_DATA):
            part = body[start : start + MAX_DATA]
            while job.sender.room < len(part):
                job.credited.clear()
                await job.credited.wait()
            job.say(Data(part))
        job.say(End())

    node.scripts = [answer]
    assert await read(await network.open(request(stream=False))) == body


async def test_a_slow_client_stops_its_own_node_only(network: Network, make_node: MakeNode) -> None:
    """A reader that takes nothing holds one window; others on the same node go on."""
    node = await make_node(slots=8)
    sent = 0

    async def pour(job: Job) -> None:
        nonlocal sent
        job.begin_stream()
        part = event("x" * 30_000)
        while not job.cancelled.is_set():
            if job.sender.room >= len(part):
                job.say(Data(part))
                sent += len(part)
            else:
                await asyncio.sleep(0.01)
                job.say(Alive())

    node.scripts = [pour, answer_plainly]
    slow = await network.open(request())
    await until(lambda: sent + 30_100 > WINDOW)
    before = sent
    for _ in range(20):
        await read(await network.open(request()))
    assert sent == before <= WINDOW
    slow.cancel()
    await until(lambda: free_of_work(network))


async def test_a_gateway_shows_nodes_that_it_lives(
    network: Network, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node hears of each request it works on, though nothing is there to be said."""
    monkeypatch.setattr(flight_module, "SIGN_SECONDS", 0.2)
    node = await make_node(slots=1)

    async def think(job: Job) -> None:
        job.begin_stream()
        for _ in range(3):
            job.credited.clear()
            await asyncio.wait_for(job.credited.wait(), 20)
        job.say(Data(event("hej") + STOP + DONE), End())

    node.scripts = [think]
    assert await read(await network.open(request())) == event("hej") + STOP + DONE


async def test_a_client_that_leaves_frees_the_slot(network: Network, make_node: MakeNode) -> None:
    """The node hears of it at once, and its word frees the slot."""
    node = await make_node(slots=1)

    async def endless(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    node.scripts = [endless]
    answer = await network.open(request())
    answer.cancel()
    await asyncio.wait_for(node.jobs[0].cancelled.wait(), 20)
    await until(lambda: free_of_work(network), 20)


async def test_a_client_that_leaves_before_the_first_token(
    network: Network, make_node: MakeNode
) -> None:
    """Cancelling the caller cancels the work."""
    node = await make_node(slots=1)

    async def think(job: Job) -> None:
        job.say(Accepted())
        await job.cancelled.wait()

    node.scripts = [think]
    opening = asyncio.create_task(network.open(request()))
    await until(lambda: len(node.jobs) == 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.wait_for(node.jobs[0].cancelled.wait(), 20)
    await until(lambda: free_of_work(network), 20)


async def refuse(job: Job, code: str) -> None:
    """Turn a job away."""
    job.say(Refused(code, "not now", 1.0))


async def fail_early(job: Job) -> None:
    job.say(Accepted())
    job.say(Fail("engine_lost", "died"))


async def cancel_unasked(job: Job) -> None:
    job.say(Accepted())
    job.say(Fail("cancelled"))


async def role_then_fail(job: Job) -> None:
    job.begin_stream()
    job.say(Data(ROLE))
    job.say(Fail("engine_lost", "died"))


async def say_500(job: Job) -> None:
    job.say(Accepted())
    job.say(Head(500, "application/json"), Data(b'{"error":{"message":"oops"}}'), End())


async def say_401(job: Job) -> None:
    job.say(Accepted())
    job.say(Head(401, "application/json"), Data(b"{}"), End())


async def say_garbage(job: Job) -> None:
    job.send_raw(b"\xc1garbage")


async def say_nothing(job: Job) -> None:
    return None


async def skip_a_number(job: Job) -> None:
    job.say(Accepted())
    job.sender.pack(Head(200, "text/event-stream"))
    job.say(Data(event("a")))


async def say_twice(job: Job) -> None:
    accepted = job.sender.pack(Accepted())
    job.send(accepted)
    job.send(accepted)


async def swap_two(job: Job) -> None:
    first, second = job.sender.pack(Accepted()), job.sender.pack(Head(200, "x"))
    job.send(second)
    job.send(first)


async def overrun(job: Job) -> None:
    job.begin_stream()
    padding = b'data: {"choices":[],"pad":"' + b"x" * 58_000 + b'"}\n\n'
    for number in range(6):
        job.send(Packet(AttemptId(job.id), 2 + number, (Data(padding),)))


async def data_before_acceptance(job: Job) -> None:
    job.say(Data(event("a")))


async def bad_json(job: Job) -> None:
    job.begin_stream()
    job.say(Data(b"data: {nonsense\n\n"))


async def error_event(job: Job) -> None:
    job.begin_stream()
    job.say(Data(b'data: {"error":{"message":"out of memory"}}\n\n'))


FAULTS: list[Script] = [
    fail_early,
    cancel_unasked,
    role_then_fail,
    say_500,
    say_401,
    say_garbage,
    say_nothing,
    skip_a_number,
    say_twice,
    swap_two,
    overrun,
    data_before_acceptance,
    bad_json,
    error_event,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda script: script.__name__)
async def test_before_the_first_content_another_node_answers(
    network: Network, make_node: MakeNode, fault: Script
) -> None:
    """Whatever goes wrong with one node, the client sees only the other's answer."""
    nodes = [await make_node("n0"), await make_node("n1")]
    for node in nodes:
        node.scripts = [fault]
    if fault is say_nothing:
        hurry(network, accepted=1.0)
    opening = asyncio.create_task(network.open(request()))
    await until(lambda: any(node.jobs for node in nodes))
    hurry(network)
    hit = 0 if nodes[0].jobs else 1
    nodes[1 - hit].scripts = [answer_plainly]
    answer = await asyncio.wait_for(opening, 20)
    assert await read(answer) == ROLE + event("hej") + STOP + DONE
    assert answer.replica.node.id == nodes[1 - hit].id
    assert answer.tries == 2
    await until(lambda: free_of_work(network))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (fail_early, EngineFailed),
        (cancel_unasked, EngineFailed),
        (say_500, EngineFailed),
        (say_401, EngineFailed),
        (say_garbage, BadNodeReply),
        (say_nothing, NodeLost),
        (skip_a_number, NodeLost),
        (say_twice, NodeLost),
        (overrun, BadNodeReply),
        (bad_json, BadNodeReply),
    ],
    ids=lambda each: each.__name__,
)
async def test_with_no_other_node_the_error_says_what_happened(
    network: Network, make_node: MakeNode, fault: Script, error: type[DispatchError]
) -> None:
    """The one node's failure is the client's error."""
    if fault is say_nothing:
        hurry(network, accepted=1.0)
    node = await make_node()
    node.scripts = [fault]
    with pytest.raises(error):
        await network.open(request())
    await until(lambda: free_of_work(network))


async def stop_after_content(job: Job) -> None:
    job.begin_stream()
    job.say(Data(event("one")))


async def die_after_content(job: Job) -> None:
    await stop_after_content(job)
    job.say(Fail("engine_lost", "died"))


async def end_after_content(job: Job) -> None:
    await stop_after_content(job)
    job.say(End())


async def content_and_nonsense(job: Job) -> None:
    await stop_after_content(job)
    job.say(Data(event("two") + b"data: {nonsense\n\n"))


async def test_what_shares_a_frame_with_nonsense_still_comes(
    network: Network, make_node: MakeNode
) -> None:
    """The client gets every event before the fault."""
    node = await make_node()
    node.scripts = [content_and_nonsense]
    answer = await network.open(request())
    said: list[bytes] = []
    with pytest.raises(BadNodeReply):
        await read(answer, said)
    assert b"".join(said) == event("one") + event("two")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (die_after_content, EngineFailed),
        (stop_after_content, NodeLost),
        (end_after_content, BadNodeReply),
    ],
    ids=lambda each: each.__name__,
)
async def test_after_content_the_stream_ends_in_a_typed_error(
    network: Network, make_node: MakeNode, fault: Script, error: type[DispatchError]
) -> None:
    """Where no other node can go on, the client hears what became of the one."""
    if fault is stop_after_content:
        hurry(network, silence=1.5)
    node = await make_node()
    node.scripts = [fault]
    answer = await network.open(request())
    said: list[bytes] = []
    with pytest.raises(error):
        await read(answer, said)
    assert said == [event("one")]
    assert len(node.jobs) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"message":"unknown role"}}', EngineRejected),
        (b'{"error":{"message":"maximum context length is 5 tokens"}}', ContextLengthExceeded),
    ],
)
async def test_an_engines_rejection_is_the_clients_own_fault(
    network: Network, make_node: MakeNode, body: bytes, error: type[DispatchError]
) -> None:
    """It is when two nodes say so; a third is not asked, and no breaker trips."""
    nodes = [await make_node(f"n{number}") for number in range(3)]

    async def reject(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(400, "application/json"), Data(body), End())

    for node in nodes:
        node.scripts = [reject]
    for _ in range(4):
        with pytest.raises(error):
            await network.open(request())
    assert sum(len(node.jobs) for node in nodes) == 8


async def reject(job: Job) -> None:
    """Say that the request is wrong."""
    job.say(Accepted())
    job.say(Head(400, "application/json"), Data(b"{}"), End())


async def test_a_node_that_rejects_everything_harms_nobody(
    network: Network, make_node: MakeNode
) -> None:
    """What one node calls the request's fault is shown to another, and that one answers."""
    liar = await make_node("n0")
    liar.scripts = [reject]
    honest = await make_node("n1")
    while len(liar.jobs) < 3:
        answer = await network.open(request())
        await read(answer)
        assert answer.replica.node.id == honest.id


async def test_a_rejected_request_waits_for_no_second_opinion(
    network: Network, make_node: MakeNode
) -> None:
    """Where all others are busy the rejection is told at once."""
    busy = await make_node("n1", slots=1)
    holds = asyncio.Event()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("a")))
        await holds.wait()
        job.say(Data(STOP + DONE), End())

    busy.scripts = [hold]
    held = await network.open(request())
    node = await make_node("n0")
    node.scripts = [reject]
    async with asyncio.timeout(20):
        with pytest.raises(EngineRejected):
            await network.open(request())
    holds.set()
    await read(held)


async def test_a_node_that_said_its_last_word_has_its_slot_free_at_once(
    network: Network, make_node: MakeNode
) -> None:
    """A complaint or a failure told to the end holds no slot for a cancel that nobody needs."""
    node = await make_node(slots=1)
    node.scripts = [reject, fail_early]
    with pytest.raises(EngineRejected):
        await network.open(request())
    assert free_of_work(network)
    with pytest.raises(EngineFailed):
        await network.open(request())
    assert free_of_work(network)
    assert not any(job.cancelled.is_set() for job in node.jobs)


async def test_an_engines_401_never_trips_the_breaker(
    network: Network, make_node: MakeNode
) -> None:
    """A wrong key at the owner's server is no failure of the node."""
    node = await make_node()
    node.scripts = [*[say_401] * 6, answer_plainly]
    for _ in range(6):
        with pytest.raises(EngineFailed):
            await network.open(request())
    await read(await network.open(request()))


async def test_a_node_that_keeps_failing_is_left_alone(
    network: Network, make_node: MakeNode
) -> None:
    """After three failures in a row the breaker is open, and whoever waits for it tries it alone.

    Nobody else serves the model, so it is asked once a second; those who wait are bounded.
    """
    hurry(network, queue=3.5)
    node = await make_node()
    node.scripts = [fail_early]
    for _ in range(3):
        with pytest.raises(EngineFailed):
            await network.open(request())
    began = time.monotonic()
    async with asyncio.timeout(20):
        ends = await asyncio.gather(
            *(network.open(request()) for _ in range(4)), return_exceptions=True
        )
    passed = time.monotonic() - began
    assert {type(each) for each in ends} == {EngineFailed, NoNode}
    assert len(node.jobs) <= 3 + 1 + passed / NEED_PAUSE


async def test_the_only_node_is_served_from_again_as_soon_as_it_is_well(
    network: Network, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request tries it, and the others go on once that has its first content, not its end."""
    monkeypatch.setattr(placement_module, "TRIAL_SECONDS", 60.0)
    well = asyncio.Event()

    async def speak_and_wait(job: Job) -> None:
        job.begin_stream()
        await well.wait()
        job.say(Data(ROLE + event("hej")))
        await job.cancelled.wait()

    node = await make_node(slots=3)
    node.scripts = [fail_early]
    for _ in range(3):
        with pytest.raises(EngineFailed):
            await network.open(request(stream=True))
    node.scripts = [speak_and_wait]
    asks = [asyncio.create_task(network.open(request(stream=True))) for _ in range(3)]
    await until(lambda: len(node.jobs) == 3 + 1)
    # From here on no pause ends that could let the next one try it in turn.
    monkeypatch.setattr(dispatcher_module, "NEED_PAUSE", 1000.0)
    assert network.dispatcher.placement.waiting == 2
    well.set()
    for answer in await asyncio.wait_for(asyncio.gather(*asks), 20):
        answer.cancel()


async def test_a_request_that_no_engine_can_take_costs_no_node_its_trust(
    network: Network, make_node: MakeNode
) -> None:
    """llama.cpp answers 500 to an image; nobody can take all nodes away from others with that."""
    nodes = [await make_node("n0"), await make_node("n1")]
    for node in nodes:
        node.scripts = [*[say_500] * 4, answer_plainly]
    for _ in range(4):
        with pytest.raises(EngineFailed):
            await network.open(request())
    await read(await network.open(request()))


async def say_too_much(job: Job) -> None:
    """Answer with more than a gateway takes, as an engine does to thousands of long vectors.

    In a stream with one event, as to `echo` with the log probabilities of a long prompt.
    """
    job.begin_stream()
    for _ in range(0, LIMITS.max_answer + MAX_DATA, MAX_DATA):
        while job.sender.room < MAX_DATA:
            job.credited.clear()
            await job.credited.wait()
        job.say(Data(b"0" * MAX_DATA))


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_too_large_costs_no_node_its_trust(
    network: Network, make_node: MakeNode, stream: bool
) -> None:
    """Who asks for that is told to ask for less; nor is that how nodes are taken from others."""
    nodes = [await make_node("n0"), await make_node("n1")]
    for node in nodes:
        node.scripts = [*[say_too_much] * 4, answer_plainly]
    for _ in range(4):
        with pytest.raises(EngineRejected, match="ask for less at a time"):
            await network.open(request(stream=stream))
    assert await read(await network.open(request(stream=False))) == PLAIN


async def test_a_node_whose_engine_fails_what_another_serves_is_left_alone(
    network: Network, make_node: MakeNode
) -> None:
    """The request was sound, so the error was the engine's own: three of them open the breaker."""
    bad = await make_node("n0")
    bad.scripts = [say_500]
    served = 0
    await make_node("n1")
    while len(bad.jobs) < 3:
        await read(await network.open(request()))
        served += 1
        assert served < 200
    for _ in range(20):
        await read(await network.open(request()))
    assert len(bad.jobs) == 3


async def test_a_model_that_an_engine_lost_is_asked_of_others(
    network: Network, make_node: MakeNode
) -> None:
    """Nobody failed: another node serves, and with no other left nobody serves just now."""

    async def lost(job: Job) -> None:
        job.say(Accepted())
        job.say(Fail("unknown_model"))

    first = await make_node("n0")
    first.scripts = [lost]
    with pytest.raises(NoNode):
        await network.open(request())
    second = await make_node("n1")
    first.scripts = [lost]
    answer = await network.open(request())
    assert await read(answer) == ROLE + event("hej") + STOP + DONE
    assert (answer.replica.node.id, answer.tries) == (second.id, 1)


async def test_a_model_of_another_kind_is_the_requests_fault(
    network: Network, make_node: MakeNode
) -> None:
    """What beats tell is answered at once, what only the node knows after one question."""
    nodes = [await make_node("n0"), await make_node("n1")]
    embeddings = Request("embeddings", "small", b"{}", stream=False, include_usage=False)
    with pytest.raises(WrongKind) as raised:
        await network.open(embeddings)
    assert (raised.value.status, raised.value.param) == (400, "model")
    assert [node.jobs for node in nodes] == [[], []]
    for node in nodes:
        node.scripts = [partial(refuse, code="unsupported")]
    with pytest.raises(WrongKind):
        await network.open(request())
    assert [len(node.jobs) for node in nodes] == [1, 1]


async def test_a_name_of_two_kinds_finds_the_node_that_can(
    network: Network, make_node: MakeNode
) -> None:
    """One node's `unsupported` says nothing of another's model of that name."""
    other = await make_node("n0")
    other.scripts = [partial(refuse, code="unsupported")]
    chats = await make_node("n1")
    while not other.jobs:
        answer = await network.open(request())
        await read(answer)
        assert answer.replica.node.id == chats.id
        assert answer.tries == 1


@pytest.mark.parametrize(
    ("kind", "external", "routes"),
    [
        ("chat", False, {"chat", "completions"}),
        ("embedding", False, {"embeddings"}),
        ("embedding", True, {"chat", "completions", "embeddings"}),
        ("of tomorrow", False, {"chat", "completions", "embeddings"}),
    ],
)
def test_what_a_model_can_be_asked(kind: str, external: bool, routes: set[str]) -> None:
    """Its kind says so; an owner's server, and a kind not known here, are asked."""
    served = ModelServed("m", "sha256:" + "0" * 64, kind=kind, external=external)
    replica = Replica(Node(EnrolledNode(NodeId("n"), "mbr", "n", None)), served)
    assert {route for route in get_args(Route) if replica.takes(route)} == routes


async def test_busy_is_no_failure(network: Network, make_node: MakeNode) -> None:
    """A refusal for want of a slot costs neither a try nor trust; the request waits its turn."""
    node = await make_node()

    async def busy(job: Job) -> None:
        await refuse(job, "busy")
        await node.beat()

    node.scripts = [busy, busy, answer_plainly]
    answer = await network.open(request())
    assert answer.tries == 1
    await read(answer)


async def test_busy_again_and_again_is_one_wait(network: Network, make_node: MakeNode) -> None:
    """Nodes that other gateways fill, or that lie, keep nobody longer than the queue may."""
    hurry(network, queue=2.0)
    node = await make_node()

    async def busy(job: Job) -> None:
        await refuse(job, "busy")

    node.scripts = [busy]
    async with asyncio.timeout(20):
        with pytest.raises(NoCapacity):
            await network.open(request())
    assert len(node.jobs) > 1
    assert free_of_work(network)


async def test_who_found_its_slot_taken_stands_where_it_stood(
    network: Network, make_node: MakeNode
) -> None:
    """Another gateway was quicker: that is no reason to queue anew behind those who came later."""
    node = await make_node(slots=1)
    go, order = asyncio.Event(), list[int]()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    async def busy(job: Job) -> None:
        await refuse(job, "busy")

    async def ask(number: int) -> None:
        answer = await network.open(request())
        order.append(number)
        await read(answer)

    node.scripts = [hold, busy, answer_plainly]
    first = await network.open(request())
    asks = list[asyncio.Task[None]]()
    for number in range(3):
        asks.append(asyncio.create_task(ask(number)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == [0, 1, 2]


async def test_a_node_that_drains_sends_the_request_on(
    network: Network, make_node: MakeNode
) -> None:
    """`away` moves the request to another node at once."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def draining(job: Job) -> None:
        await refuse(job, "draining")

    scripts: list[Script] = [draining, answer_plainly]
    for node in nodes:
        node.scripts = scripts  # shared: whoever is asked first drains
    answer = await network.open(request())
    assert answer.tries == 1
    await read(answer)


async def test_a_node_that_always_began_anew_keeps_nobody_from_the_others(
    network: Network, make_node: MakeNode
) -> None:
    """It is the idlest by far, and is asked once; who has a slot free answers."""
    await make_node("n0", slots=1)
    odd = await make_node("n1", slots=100)

    async def anew(job: Job) -> None:
        await refuse(job, "wrong_session")

    odd.scripts = [anew]
    answer = await network.open(request())
    assert answer.replica.node.id == "n0"
    assert len(odd.jobs) == 1
    await read(answer)


async def test_requests_queue_while_all_are_busy(network: Network, make_node: MakeNode) -> None:
    """First come, first served; a free slot goes to the one who waits longest."""
    node = await make_node(slots=1)
    go = asyncio.Event()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    node.scripts = [hold, answer_plainly]
    first = await network.open(request())
    order: list[int] = []

    async def ask(number: int) -> None:
        answer = await network.open(request())
        order.append(number)
        await read(answer)

    asks = []
    for number in range(3):
        asks.append(asyncio.create_task(ask(number)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == [0, 1, 2]
    assert free_of_work(network)


async def test_the_queue_is_bounded_in_number_and_time(
    network: Network, make_node: MakeNode
) -> None:
    """One too many is told at once; the others after the longest wait."""
    hurry(network, queue=2.0)
    node = await make_node(slots=1)

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        while not job.cancelled.is_set():
            job.say(Alive())
            await asyncio.sleep(0.2)

    node.scripts = [hold]
    first = await network.open(request())
    asks = [asyncio.create_task(network.open(request())) for _ in range(LIMITS.queue_size)]
    await until(lambda: network.dispatcher.placement.waiting == LIMITS.queue_size)
    with pytest.raises(NoCapacity) as full:
        await network.open(request())
    assert full.value.retry_after is not None
    results = await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 20)
    assert all(isinstance(result, NoCapacity) for result in results)
    assert network.dispatcher.placement.waiting == 0
    first.cancel()
    await until(lambda: free_of_work(network))


async def test_an_owner_goes_first_on_his_own_node(network: Network, make_node: MakeNode) -> None:
    """While all are busy he waits like others, but for his own node nobody is before him."""
    node = await make_node("n0", slots=1)
    go = asyncio.Event()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    node.scripts = [hold, answer_plainly]
    first = await network.open(request())
    order: list[str] = []

    async def ask(member: str) -> None:
        answer = await network.open(replace(request(), member=member))
        order.append(member)
        await read(answer)

    asks = []
    for member in ("mbr_a", "mbr_b", "mbr_n0"):
        asks.append(asyncio.create_task(ask(member)))
        await until(lambda: network.dispatcher.placement.waiting == len(asks))
    go.set()
    await read(first)
    await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert order == ["mbr_n0", "mbr_a", "mbr_b"]
    assert free_of_work(network)


async def test_who_waits_for_others_keeps_no_owner_from_his_node(
    network: Network, make_node: MakeNode
) -> None:
    """A node that is lent to nobody else stands free for him while others queue."""
    shared, own = await make_node("n0", slots=1), await make_node("n1", slots=1)
    own.share = "own"
    await own.beat()
    await until(lambda: network.registry.nodes[own.id].share == "own")
    go = asyncio.Event()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await go.wait()
        job.say(Data(STOP + DONE), End())

    shared.scripts = [hold, answer_plainly]
    first = await network.open(request())
    waiting = asyncio.create_task(network.open(replace(request(), member="mbr_x")))
    await until(lambda: network.dispatcher.placement.waiting == 1)
    his = await network.open(replace(request(), member="mbr_n1"))
    assert his.replica.node.id == own.id
    assert own.jobs[0].opening.asker == "own"
    assert shared.jobs[0].opening.asker == ""
    await read(his)
    go.set()
    await read(first)
    await read(await waiting)
    assert free_of_work(network)


async def test_a_node_that_will_not_serve_who_asks_is_no_failure(
    network: Network, make_node: MakeNode
) -> None:
    """Its owner has just said so and the gateway has not heard: another is asked, at no cost."""

    async def refuse(job: Job) -> None:
        job.say(Refused("not_shared"))

    nodes = [await make_node(f"n{number}") for number in range(2)]
    scripts: list[Script] = [refuse, answer_plainly]
    for node in nodes:
        node.scripts = scripts  # shared: whoever is asked first refuses
    answer = await network.open(replace(request(), member="mbr_x"))
    assert answer.tries == 1
    await read(answer)


async def test_who_leaves_the_queue_takes_no_slot(network: Network, make_node: MakeNode) -> None:
    """A waiting client that goes away leaves nothing behind."""
    node = await make_node(slots=1)

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await job.cancelled.wait()

    node.scripts = [hold, answer_plainly]
    first = await network.open(request())
    waiting = asyncio.create_task(network.open(request()))
    await until(lambda: network.dispatcher.placement.waiting == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert network.dispatcher.placement.waiting == 0
    first.cancel()
    await until(lambda: free_of_work(network))


async def test_why_nobody_serves(network: Network, make_node: MakeNode) -> None:
    """Unknown, known but not served, in the wrong region, and loading are told apart."""
    with pytest.raises(UnknownModel):
        await network.open(request(model="nonesuch"))
    with pytest.raises(NoNode):
        await network.open(request())
    node = await make_node(region="SE-O")
    with pytest.raises(RegionUnavailable):
        await network.open(request(region="SE-AB"))
    await read(await network.open(request(region="SE-O")))
    await node.beat(engine="loading")
    await until(lambda: not network.ready)
    with pytest.raises(ModelLoading):
        await network.open(request())


async def think_for_ever(job: Job) -> None:
    """Work, and never speak."""
    job.say(Accepted())
    while not job.cancelled.is_set():
        job.say(Alive())
        await asyncio.sleep(0.2)


async def test_a_node_that_works_but_never_speaks_is_followed_by_another(
    network: Network, make_node: MakeNode
) -> None:
    """Alive frames keep it from being lost; the first-byte limit ends it, and its work."""
    hurry(network, accepted=3.0, first_byte=3.0)
    scripts: list[Script] = [think_for_ever, answer_plainly]
    for name in ("n0", "n1"):
        node = await make_node(name)
        node.scripts = scripts  # shared: whoever is asked first thinks
    answer = await network.open(request())
    assert await read(answer) == ROLE + event("hej") + STOP + DONE
    assert answer.tries == 2
    await until(lambda: free_of_work(network))


async def test_nobody_who_speaks_is_a_timeout(network: Network, make_node: MakeNode) -> None:
    """Each node is asked once."""
    hurry(network, accepted=3.0, first_byte=3.0)
    nodes = [await make_node("n0"), await make_node("n1")]
    for node in nodes:
        node.scripts = [think_for_ever]
    with pytest.raises(NodeTimeout):
        await network.open(request())
    assert [len(node.jobs) for node in nodes] == [1, 1]
    await until(lambda: free_of_work(network))


async def test_all_tries_share_the_time_of_a_request(network: Network, make_node: MakeNode) -> None:
    """The second node gets what the first one left of it, and with that the request is over."""
    hurry(network, accepted=1.0, first_byte=1.0, total=5.0)
    nodes = [await make_node(f"n{number}") for number in range(3)]
    for node in nodes:
        node.scripts = [think_for_ever]
    opening = asyncio.create_task(network.open(request()))
    await until(lambda: any(node.jobs for node in nodes))
    hurry(network, total=5.0)
    with pytest.raises(NodeTimeout, match="too long"):
        await opening
    limits = [job.opening.time_limit for node in nodes for job in node.jobs]
    assert len(limits) == 2
    assert max(limits) == 5.0
    # The first byte was waited for first, for a second.
    assert 1.0 <= min(limits) <= 4.0


async def test_a_node_that_left_nats_is_known_at_once(
    network: Network, make_node: MakeNode
) -> None:
    """The server itself says that nobody hears: no limit has to run out."""
    node = await make_node()
    await node.link.close()
    codes: list[str] = []
    # When the server has noticed the end of the link is its own affair.
    async with asyncio.timeout(20):
        while "no_responders" not in codes:
            with capture_logs() as logs, pytest.raises((NodeLost, NoNode)):
                await network.open(request())
            codes += [entry["code"] for entry in logs if entry["event"] == "attempt_failed"]
    assert node.jobs == []


async def test_another_nodes_reply_is_not_heard(network: Network, make_node: MakeNode) -> None:
    """A node cannot answer for another: its JWT stops the subject, the gateway the node."""
    nodes = [await make_node("n0"), await make_node("n1")]
    seen: list[str] = []

    async def forge(job: Job) -> None:
        other = nodes[1] if job.node is nodes[0] else nodes[0]
        forged = job.opening.reply.replace(f".{job.node.id}.", f".{other.id}.")
        other.link.publish(forged, b"\xc1")
        await other.link.flush()
        seen.append(forged)
        await answer_plainly(job)

    for node in nodes:
        node.scripts = [forge]
    assert await read(await network.open(request())) == ROLE + event("hej") + STOP + DONE
    assert len(seen) == 1


async def test_another_nodes_word_frees_no_slot(network: Network, make_node: MakeNode) -> None:
    """Attempts are numbered, so whoever has one can name the next: only its own node ends it."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))

    for node in nodes:
        node.scripts = [hold]
    answer = await network.open(request())
    held = answer.replica.node.id
    attempt = answer._flight.attempt.id
    answer.cancel()
    ended = encode(Packet(attempt, 0, (Fail("cancelled"),)))
    for each in sorted((node.id for node in nodes), key=lambda node: node == held):
        assert network.node(held).inflight == 1
        network.dispatcher._received(
            Message(subjects.reply(GATEWAY, each, attempt), ended, "", False)
        )
    assert network.node(held).inflight == 0


async def test_a_server_that_dies_ends_streams_and_heals(
    network: Network, make_node: MakeNode, nats: NatsProcess
) -> None:
    """Streams end in a typed error when it is not back soon; after the restart all goes on."""
    node = await make_node()

    async def hold(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))

    node.scripts = [hold, answer_plainly]
    answer = await network.open(request())
    nats.stop(signal.SIGKILL)
    with pytest.raises(NodeLost):
        await read(answer)
    await nats.start()
    await until(lambda: node.link.is_connected and network.dispatcher._link.is_connected, 20)
    await node.beat()
    await until(lambda: network.registry.nodes[node.id].state == "ready")
    assert await read(await network.open(request())) == ROLE + event("hej") + STOP + DONE


async def test_without_a_link_no_node_is_blamed(
    network: Network, make_node: MakeNode, nats: NatsProcess
) -> None:
    """The gateway's own link is away, and the client is told so and when to try again."""
    await make_node()
    nats.stop(signal.SIGKILL)
    await until(lambda: not network.dispatcher._link.is_connected)
    with pytest.raises(NatsUnavailable) as raised:
        await network.open(request())
    assert raised.value.retry_after
    # Whether there is such a model is not for a gateway to say that hears of none.
    with pytest.raises(NatsUnavailable):
        network.resolve("an owner's own")
    await nats.start()
    await until(lambda: network.dispatcher._link.is_connected)
    with pytest.raises(UnknownModel):
        network.resolve("an owner's own")


async def test_a_gateway_that_begins_knows_what_members_serve(
    nats: NatsProcess, authority: Authority, books: FakeBooks
) -> None:
    """Until their nodes are heard such a model is away, and not one that never was."""
    claim = KnownClaim("an owner's own", "mbr", SMALL.digest, admitted=True, by_admin=False)
    books.claimed = [claim]
    async with a_network([nats.tcp_url], authority, books) as network:
        own = network.resolve("an owner's own")
        with pytest.raises(NoNode) as raised:
            await network.open(replace(request(), model=own))
        assert raised.value.retry_after


async def test_nodes_are_shown_one_by_one_and_by_member(
    network: Network, make_node: MakeNode
) -> None:
    """Who asks for its own is not made to wait while all are put together."""
    first, second = await make_node("n0"), await make_node("n1")
    assert [view.id for view in network.nodes()] == [first.id, second.id]
    assert [view.id for view in network.nodes("mbr_n1")] == [second.id]
    assert [view.id for view in network.nodes(limit=1)] == [first.id]
    assert [view.id for view in network.nodes(limit=1, after=first.id)] == [second.id]
    assert network.nodes("mbr_n1", after=second.id) == []
    with pytest.raises(KeyError):
        network.nodes(after=NodeId("n2"))
    assert network.node(second.id).member == "mbr_n1"
    with pytest.raises(KeyError):
        network.node(NodeId("n2"))


async def test_a_gateway_without_its_link_is_not_ready_for_long(
    nats: NatsProcess,
    network: Network,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link that mends at once sends no client elsewhere; one that stays away does."""
    await make_node()
    assert network.ready
    nats.stop()
    await until(lambda: not network.dispatcher._link.is_connected)
    assert network.ready
    monkeypatch.setattr("garage_ai.network.network.MEND_SECONDS", 0.0)
    assert not network.ready
    await nats.start()
    await until(lambda: network.ready)


async def test_a_node_removed_elsewhere_is_forgotten(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The books are the gateways' common word: what is not in them is not listed for long."""
    kept, removed = await make_node("n0"), await make_node("n1")
    monkeypatch.setattr("garage_ai.network.network.COMPARE_SECONDS", 0.0)
    del books.enrolled[removed.id]
    await until(lambda: [view.id for view in network.nodes()] == [kept.id])
    assert await read(await network.open(request())) == ROLE + event("hej") + STOP + DONE


async def test_the_gateway_measures_a_streams_speed(network: Network, make_node: MakeNode) -> None:
    """Content events per second, from the first to the last, count for the next choice."""
    node = await make_node()
    heard = asyncio.Event()

    async def paced(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("a")))
        await heard.wait()
        for _ in range(10):
            await asyncio.sleep(0.02)
            job.say(Data(event("a")))
        job.say(Data(STOP + DONE), End())

    node.scripts = [paced]
    answer = await network.open(request())
    heard.set()
    await read(answer)
    assert 1 < answer.replica.measured_speed < 51
    assert 0 < answer.replica.measured_ttft < 20
    (view,) = network.nodes()
    (seen,) = view.measured.values()
    assert seen == (answer.replica.measured_speed, answer.replica.measured_ttft)


async def test_every_beat_of_a_known_node_is_noted(make_node: MakeNode, books: FakeBooks) -> None:
    """The books can tell when a node was last heard."""
    node = await make_node()
    await node.beat()
    await until(lambda: books.beats == [node.id] * 2)


async def test_nothing_is_left_after_many_requests(network: Network, make_node: MakeNode) -> None:
    """Neither attempts nor tickets nor tasks pile up."""
    await make_node(slots=8)
    for _ in range(5):
        await read(await network.open(request()))
    gc.collect()
    before, tasks = len(gc.get_objects()), len(asyncio.all_tasks())
    for _ in range(300):
        await read(await network.open(request(stream=False)))
    gc.collect()
    assert free_of_work(network)
    assert len(asyncio.all_tasks()) <= tasks
    # The scripted node keeps its jobs: eight objects or so for each. Nothing else may grow.
    assert len(gc.get_objects()) - before < 300 * 40
    assert msgspec.json.decode(PLAIN)


@pytest.mark.parametrize(("guess", "told"), [(0.0, 5.0), (2.0, 5.0), (40.0, 40.0), (1e9, 120.0)])
async def test_a_client_is_told_how_long_a_load_takes(
    network: Network, make_node: MakeNode, guess: float, told: float
) -> None:
    """By the node's own guess, within bounds: a node cannot send clients away for good."""
    node = await make_node()
    await node.beat(engine="loading", ready_in=guess)
    await until(lambda: not network.ready)
    with pytest.raises(ModelLoading) as loading:
        await network.open(request())
    assert loading.value.retry_after == told


async def test_a_node_gets_a_salt_and_not_the_member(network: Network, make_node: MakeNode) -> None:
    """The same for each request of one member; none where nobody is named."""
    node = await make_node()
    for member in ("mbr_1", "mbr_1", "mbr_2", ""):
        answer = await network.open(replace(request(), member=member))
        await read(answer)
    first, again, other, nobody = (job.opening.salt for job in node.jobs)
    assert first == again != other
    assert len(first) == len(other) == 24
    assert nobody == ""
