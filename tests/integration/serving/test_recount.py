"""What the gateway counts of requests that ran through a real network."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.integration.serving.test_service import Records, call, go_on, read
from tests.parts.scripted_node import DONE, ROLE, STOP, Job, answer_plainly, event
from tests.parts.unbilled import NoBooks, NoLimits

from garage_ai.ledger import Counted, FigureJudge, Figures
from garage_ai.network.network import Network
from garage_ai.serving import Recount, Service, ServingError
from garage_ai.wire.frames import Accepted, Data, End, Fail, Head, Route

pytestmark = pytest.mark.anyio

PROMPT = 7


@dataclass
class LetterMeter:
    """A meter to which every letter is a token; what is `held` is told later."""

    exact: bool = True
    holds: bool = False
    held: list[Callable[[], None]] = field(default_factory=list)

    def begin(
        self,
        digest: str | None,
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        assert digest
        each = tuple(map(len, texts))
        counted = Counted(PROMPT, sum(each), "tokenizer", each, exact=self.exact)
        if self.holds:
            self.held.append(lambda: done(counted))
        else:
            done(counted)


@pytest.fixture
def meter() -> LetterMeter:
    return LetterMeter()


@pytest.fixture
def judge() -> FigureJudge:
    return FigureJudge()


@pytest.fixture
def service(network: Network, records: Records, meter: LetterMeter, judge: FigureJudge) -> Service:
    """Serving that counts."""
    return Service(network, records, NoLimits(), NoBooks(), recount=Recount(meter, judge))


@pytest.fixture
def records() -> Records:
    """No usage yet."""
    return Records()


async def test_a_record_says_what_was_counted(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """Beside what the engine said."""
    await make_node()
    await read(await service.open(call(stream=False)))
    record = records.one
    assert (record.prompt_tokens, record.completion_tokens) == (3, 1)
    assert (record.counted_prompt_tokens, record.count_source) == (PROMPT, "tokenizer")
    assert record.counted_completion_tokens == 3


async def test_the_client_does_not_wait_for_the_count(
    service: Service, records: Records, meter: LetterMeter, make_node: MakeNode
) -> None:
    """The record does, and is written once."""
    await make_node()
    meter.holds = True
    assert DONE in await read(await service.open(call()))
    assert records.records == []
    [told] = meter.held
    told()
    assert records.one.counted_prompt_tokens == PROMPT


async def test_each_nodes_part_is_counted(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """By what went to the client of it; the prompt once."""
    nodes = [await make_node("n0"), await make_node("n1")]

    async def yield_midway(job: Job) -> None:
        job.begin_stream()
        job.say(Data(ROLE + event("two") + event("four")))
        job.say(Fail("yielded"))
        for node in nodes:
            if node is not job.node:
                node.scripts = [go_on(event("x") + STOP + DONE)]

    for node in nodes:
        node.scripts = [yield_midway]
    await read(await service.open(call()))
    record = records.one
    assert [part.counted_tokens for part in record.parts] == [7, 1]
    assert (record.counted_prompt_tokens, record.counted_completion_tokens) == (PROMPT, 8)


async def test_what_came_after_the_client_left_is_not_counted(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """Pieces that wait for a client that is gone went to nobody."""
    node = await make_node()
    said = asyncio.Event()

    async def go_on_and_on(job: Job) -> None:
        job.begin_stream()
        job.say(Data(event("got")))
        await said.wait()
        job.say(Data(event("lost")), Data(event("words")))
        await job.cancelled.wait()

    node.scripts = [go_on_and_on]
    reply = await service.open(call())
    assert b"got" in await anext(reply)
    said.set()
    answer = reply._answer
    await until(lambda: answer.seen.content_events == 3)
    await reply.aclose()
    await until(lambda: records.records != [])
    record = records.one
    assert (record.outcome, record.counted_completion_tokens) == ("client_closed", 3)


async def test_a_plain_answer_that_nobody_took_costs_nothing(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """It comes whole or not at all."""
    await make_node()
    reply = await service.open(call(stream=False))
    await reply.aclose()
    await until(lambda: records.records != [])
    record = records.one
    assert record.outcome == "client_closed"
    assert (record.counted_prompt_tokens, record.count_source) == (None, None)


async def test_what_never_began_is_not_counted(
    service: Service, records: Records, make_node: MakeNode
) -> None:
    """Its record is written at once."""
    node = await make_node()

    async def reject(job: Job) -> None:
        job.say(Accepted())
        job.say(Head(400, "application/json"), Data(b'{"error": {"message": "no"}}'), End())

    node.scripts = [reject]
    with pytest.raises(ServingError):
        await service.open(call())
    assert records.one.counted_prompt_tokens is None


async def test_an_engine_that_counts_otherwise_is_noted(
    service: Service, judge: FigureJudge, make_node: MakeNode
) -> None:
    """For its model on its node."""
    node = await make_node(slots=8)
    usage = {"prompt_tokens": PROMPT, "completion_tokens": 90}
    liar = go_on(ROLE + event("a") + STOP + event("", usage=usage) + DONE)
    node.scripts = [liar] * 30
    for _ in range(30):
        await read(await service.open(call()))
    assert judge.standing(node.id, node.model.digest) == (30, 30, True)


async def test_figures_that_cannot_be_compared_are_left_out(
    service: Service, judge: FigureJudge, meter: LetterMeter, make_node: MakeNode
) -> None:
    """Where the gateway's own count is no engine's, or what was delivered is not all."""
    node = await make_node()

    async def think(job: Job) -> None:
        job.begin_stream()
        thought = b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
        usage = {"prompt_tokens": 99, "completion_tokens": 90}
        job.say(Data(ROLE + thought + event("a") + STOP + event("", usage=usage) + DONE), End())

    node.scripts = [think]
    await read(await service.open(call()))
    meter.exact = False
    node.scripts = [answer_plainly]
    await read(await service.open(call(stream=False)))
    assert judge.standing(node.id, node.model.digest).judged == 0


class BrokenMeter(LetterMeter):
    """A meter that fails when it is asked, or in what it tells later."""

    def begin(
        self,
        digest: str | None,
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        raise RuntimeError("no counting")


class BrokenJudge(FigureJudge):
    """A judge that cannot judge."""

    def saw(self, node: str, digest: str, figures: Figures) -> None:
        raise RuntimeError("no judgement")


@pytest.mark.parametrize(
    "recount",
    [Recount(BrokenMeter(), FigureJudge()), Recount(LetterMeter(), BrokenJudge())],
    ids=["meter", "judge"],
)
async def test_a_record_that_cannot_be_counted_is_written_as_it_is(
    network: Network, records: Records, make_node: MakeNode, recount: Recount
) -> None:
    """Once, whatever fails behind the last bytes."""
    await make_node()
    await read(
        await Service(network, records, NoLimits(), NoBooks(), recount=recount).open(
            call(stream=False)
        )
    )
    record = records.one
    assert (record.outcome, record.counted_prompt_tokens) == ("ok", None)
