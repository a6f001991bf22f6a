"""A node measures itself once, while it serves and nobody asks it anything."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bench.mock_engine import MockEngine
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, Rig, external
from tests.parts.edge import Edge, running_edge
from tests.parts.job_caller import Caller, until

from garage_ai.node.bench import idle, measure
from garage_ai.node.bench.drift import Change, Trend
from garage_ai.node.bench.history import keep, load_history
from garage_ai.node.bench.idle import TRIES, IdleBench
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.events import Event
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.join import join
from garage_ai.wire.benchmarks import MAX_RATE

pytestmark = pytest.mark.anyio

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hej"}],"stream":true}'


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


def quiet(_: Event) -> None:
    return None


async def enrolled(edge: Edge, folder: NodeFolder, mock: MockEngine) -> NodeFolder:
    made = await edge.services.tokens.create()
    assert made.secret is not None
    choice = Choice(engine="external", engine_url=mock.url, models=tuple(mock.options.names))
    await join(edge.url, made.secret, folder, choice=choice, name="rig", tell=quiet)
    return folder


class Lent:
    """A node whose agent serves a mock engine."""

    def __init__(self, folder: NodeFolder, engine: ExternalEngine, rig: Rig) -> None:
        self.folder, self.engine, self.rig = folder, engine, rig

    def measuring(self, idle_seconds: float = 0.05) -> IdleBench:
        """Measure it when it is idle for so long."""
        record = self.folder.load()
        return IdleBench(
            self.folder, record, self.engine, self.rig.agent, idle_seconds=idle_seconds
        )


async def lent(edge: Edge, folder: Path, mock: MockEngine, make_agent: MakeAgent) -> Lent:
    """Lend a PC."""
    engine = external(mock)
    rig = await make_agent(engine)
    return Lent(await enrolled(edge, NodeFolder(folder), mock), engine, rig)


async def test_an_idle_node_is_measured_once(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, make_agent: MakeAgent, caller: Caller
) -> None:
    """The gateway has what was measured; the next start finds it and asks the engine nothing."""
    mock = await make_mock(Options(prompt_tokens=300))
    node = await lent(edge, tmp_path / "node", mock, make_agent)
    await caller.ready()
    async with asyncio.timeout(30):
        await node.measuring().run()
    (found,) = load_history(node.folder.path)
    assert [level.streams for level in found.levels] == [1, 4]
    assert found.load is None
    known = node.folder.load().node
    assert (await edge.services.benchmarks.latest([known]))[known].benchmark == found
    asked = mock.state.seen
    async with asyncio.timeout(30):
        await node.measuring().run()
    assert mock.state.seen == asked


async def test_on_a_full_disk_the_network_hears_it_all_the_same(
    edge: Edge,
    tmp_path: Path,
    make_mock: MakeMock,
    make_agent: MakeAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was measured is sent though it cannot be kept."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    node = await lent(
        edge, tmp_path / "node", await make_mock(Options(prompt_tokens=300)), make_agent
    )
    monkeypatch.setattr(idle, "keep", full)
    async with asyncio.timeout(60):
        await node.measuring().run()
    known = node.folder.load().node
    assert known in await edge.services.benchmarks.latest([known])
    assert load_history(node.folder.path) == ()


async def test_a_new_driver_is_measured_and_what_it_cost_is_told(
    edge: Edge,
    tmp_path: Path,
    make_mock: MakeMock,
    make_agent: MakeAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By itself, once; the owner sees it, also after the next start."""
    mock = await make_mock(Options(prompt_tokens=300))
    node = await lent(edge, tmp_path / "node", mock, make_agent)
    async with asyncio.timeout(60):
        first = node.measuring()
        await first.run()
        assert first.trend == Trend()
        (found,) = load_history(node.folder.path)
        quick = [msgspec.structs.replace(each, decode=MAX_RATE) for each in found.levels]
        keep(node.folder.path, msgspec.structs.replace(found, levels=tuple(quick), driver="570"))
        keep(node.folder.path, msgspec.structs.replace(found, levels=tuple(quick), driver="570"))
        card = Gpu(name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 << 30, free=0)
        gpus = Gpus(cards=(card,), driver="580")
        monkeypatch.setattr(measure, "read_gpus", lambda: gpus)
        second = node.measuring()
        await second.run()
        assert "decode" in {each.figure for each in second.trend.drift}
        assert Change("driver", "570", "580") in second.trend.changes
        asked = mock.state.seen
        third = node.measuring()
        await third.run()
    assert (third.trend, mock.state.seen) == (second.trend, asked)


async def test_it_gives_way_to_whoever_asks(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, make_agent: MakeAgent, caller: Caller
) -> None:
    """A request ends the measurement at once; it is taken up again when the node is idle."""
    mock = await make_mock(Options(stall_after=3))
    node = await lent(edge, tmp_path / "node", mock, make_agent)
    await caller.ready()
    work = asyncio.create_task(node.measuring().run())
    await until(lambda: mock.state.seen == 1)
    call = caller.call("a1", CHAT, stream=True)
    # The measurement's stream stands still for ever: only its being cancelled ends it.
    await until(lambda: mock.state.cancelled == 1)
    assert call.accepted
    assert load_history(node.folder.path) == ()
    call.cancel()
    await call.over()
    await until(lambda: mock.state.seen == 3)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_a_paused_node_is_left_alone(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, make_agent: MakeAgent, caller: Caller
) -> None:
    """Its owner wants the PC for something else."""
    mock = await make_mock(Options())
    node = await lent(edge, tmp_path / "node", mock, make_agent)
    await caller.ready()
    node.rig.agent.core.paused = True
    work = asyncio.create_task(node.measuring(0.01).run())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.shield(work)
    assert mock.state.seen == 0
    node.rig.agent.core.paused = False
    async with asyncio.timeout(30):
        await work
    assert len(load_history(node.folder.path)) == 1


async def test_what_cannot_be_measured_is_tried_a_few_times(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, make_agent: MakeAgent, caller: Caller
) -> None:
    """An engine that answers nothing is not asked for ever."""
    mock = await make_mock(Options(fail_every=1))
    node = await lent(edge, tmp_path / "node", mock, make_agent)
    await caller.ready()
    async with asyncio.timeout(30):
        await node.measuring(0.01).run()
    assert mock.state.seen == TRIES
    assert load_history(node.folder.path) == ()
