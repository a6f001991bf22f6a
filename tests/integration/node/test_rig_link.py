"""One link between two rigs, of which the other one has stopped to take or to say anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.parts.job_caller import until

from garage_ai.node.group import link as link_module
from garage_ai.node.group.link import Link, hang_up, shake
from garage_ai.node.group.messages import Bulk, Message, Ping
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
MORE_THAN_KERNELS_HOLD = 32 * 1024 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Streams, Streams]]:
    """Two ends of a connection."""
    called: asyncio.Queue[Streams] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ours: called.put_nowait(ours), "127.0.0.1", 0)
    one = await asyncio.open_connection(*server.sockets[0].getsockname())
    other = await called.get()
    yield one, other
    server.close()
    for _, writer in (one, other):
        writer.transport.abort()
    await asyncio.sleep(0)


async def shaken(ends: tuple[Streams, Streams]) -> tuple[Link, Link]:
    """Let both show that they are of the group."""
    one, other = ends
    return await asyncio.gather(
        shake(SECRET, "dialer", NodeId("a"), "run", one),
        shake(SECRET, "acceptor", NodeId("b"), "run", other),
    )


def nothing(_: Message | None = None) -> None:
    """Mind nothing."""


async def test_hanging_up_leaves_nothing_to_be_sent(ends: tuple[Streams, Streams]) -> None:
    """Neither here nor in the kernel, where the other side takes nothing any more."""
    (_, writer), (reader, _) = ends
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # as a host that is away
    writer.write(bytes(MORE_THAN_KERNELS_HOLD))
    await hang_up(writer)
    assert writer.transport.get_write_buffer_size() == 0
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(MORE_THAN_KERNELS_HOLD)


async def test_who_is_lost_while_measuring_is_lost_as_soon(
    ends: tuple[Streams, Streams], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long all of a bulk may take, nothing of it must come for long."""
    monkeypatch.setattr(link_module, "SILENCE_SECONDS", 0.3)
    one, other = await shaken(ends)
    one.send(Bulk(1024))
    async with asyncio.timeout(30):
        with pytest.raises(ExceptionGroup) as lost:
            await other.run(nothing, nothing)
    assert lost.group_contains(TimeoutError)


async def test_what_waits_for_a_bulk_is_bounded(ends: tuple[Streams, Streams]) -> None:
    """A rig that asks without end while it takes nothing is let go of."""
    one, _ = await shaken(ends)
    ends[1][0]._transport.pause_reading()  # type: ignore[attr-defined]
    bulk = asyncio.create_task(one._send_bulk())
    await until(lambda: one._waiting is not None)
    for number in range(link_module._MAX_HELD):
        one.send(Ping(number))
    assert not ends[0][1].is_closing()
    one.send(Ping(0))
    assert ends[0][1].is_closing()
    bulk.cancel()
    await asyncio.gather(bulk, return_exceptions=True)


async def test_the_ways_are_measured_one_after_the_other(
    ends: tuple[Streams, Streams], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both at once would share what one process of each side can do."""
    begun: list[tuple[bool, list[str]]] = []
    send_bulk = Link._send_bulk

    async def noted(link: Link) -> None:
        begun.append((link.dialer, list(link._gbit)))
        await send_bulk(link)

    monkeypatch.setattr(Link, "_send_bulk", noted)
    links = await shaken(ends)
    runs = [asyncio.create_task(link.run(nothing, nothing)) for link in links]
    await until(lambda: all(link.measured for link in links), seconds=60)
    assert begun == [(True, []), (False, ["dialer"])]
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


async def test_a_narrow_way_is_measured_all_the_same(
    ends: tuple[Streams, Streams], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes longer than any part of it may is no reason to part."""
    monkeypatch.setattr(link_module, "BULK_SECONDS", 0.25)
    monkeypatch.setattr(link_module, "BULK_BYTES", 64 * 1024 * 1024)
    monkeypatch.setattr(link_module, "READ_LIMIT", 1024)
    links = await shaken(ends)
    runs = [asyncio.create_task(link.run(nothing, nothing)) for link in links]
    await until(lambda: all(link.measured for link in links), seconds=60)
    assert not any(run.done() for run in runs)
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


async def test_a_busy_moment_at_first_is_not_what_a_way_is_known_by(
    ends: tuple[Streams, Streams],
) -> None:
    """Once most of the later trips are clearly shorter that is told; one lucky trip is nothing."""
    link, _ = await shaken(ends)
    told: list[float] = []
    link._on_measured = lambda: told.append(link.measured.rtt_ms if link.measured else 0)

    def answered(milliseconds: float, times: int) -> None:
        for number in range(times):
            link._pinged = {number: asyncio.get_running_loop().time() - milliseconds / 1000}
            link._ponged(number)

    answered(800, 10)
    for way in ("dialer", "acceptor"):
        link._came(way, 1.0)
    answered(100, 1)
    answered(800, 8)
    assert [round(each, -2) for each in told] == [800]
    answered(100, 6)
    answered(800, 10)
    assert [round(each, -2) for each in told] == [800, 100]
    assert link.measured
    assert link.measured.gbit == 1.0
