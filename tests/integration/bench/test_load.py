"""The load client against the mock engine: counts what is whole, and only that."""

import asyncio

import pytest
from bench.load import Target, Workload, run_load
from bench.mock_engine import MockEngine, Options

pytestmark = pytest.mark.anyio


def target(engine: MockEngine) -> Target:
    return Target("mock", engine.url)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("clients", [1, 4])
async def test_every_request_is_counted_once(stream: bool, clients: int) -> None:
    """A number of requests is shared by the clients and each is seen by the engine."""
    async with MockEngine() as engine:
        result = await run_load(target(engine), Workload(stream, clients, chunks=8), requests=40)
        assert engine.state.served == 40
    assert (result.requests, result.errors, result.chunks) == (40, [], 40 * 8)
    assert 0 < result.first_token.p50 <= result.latency.p50 <= result.latency.p99


async def test_time_to_first_content_leaves_out_what_follows() -> None:
    """With pauses between chunks the first content comes long before the last byte."""
    async with MockEngine(Options(chunk_delay=0.05)) as engine:
        result = await run_load(target(engine), Workload(stream=True, chunks=6), requests=2)
    assert result.latency.p50 >= 0.2
    assert result.first_token.p50 < result.latency.p50 / 2


async def test_time_ends_the_run() -> None:
    """Given seconds instead of a number, it stops by itself."""
    async with MockEngine() as engine:
        result = await run_load(target(engine), Workload(stream=False, clients=2), seconds=1)
    assert result.requests > 0
    assert result.errors == []


@pytest.mark.parametrize(
    "fault",
    [Options(cut_after=3), Options(no_done=True), Options(fail_every=1), Options(stall_after=1)],
    ids=["cut", "no done", "500", "stalled"],
)
async def test_what_is_not_whole_is_an_error(fault: Options) -> None:
    """A broken answer is an error, never a served request, and its connection is closed."""
    async with MockEngine(fault) as engine:
        result = await run_load(
            target(engine), Workload(stream=True, chunks=8), requests=3, timeout=0.3
        )
        async with asyncio.timeout(20):
            while engine.connections:  # noqa: ASYNC110  # the engine has no event for them
                await asyncio.sleep(0.005)
    assert (result.requests, len(result.errors)) == (0, 3)


async def test_nobody_there_is_an_error() -> None:
    """A target that does not listen ends in errors, not in a wait."""
    async with MockEngine() as engine:
        gone = target(engine)
    result = await run_load(gone, Workload(stream=False), requests=2)
    assert (result.requests, len(result.errors)) == (0, 2)


async def test_a_connection_that_was_hung_up_is_no_error() -> None:
    """An engine that closes after each stream without a word is met by a new connection."""
    async with MockEngine(Options(hang_up=True)) as engine:
        result = await run_load(
            target(engine), Workload(stream=True, clients=4, chunks=8), requests=100
        )
    assert (result.requests, result.errors) == (100, [])
