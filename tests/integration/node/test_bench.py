"""A node measures a mock engine over HTTP and hands the result in at a real gateway's edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeMock
from tests.parts.edge import Edge, running_edge

from garage_ai.node.bench import drive, measure
from garage_ai.node.bench.history import load_history
from garage_ai.node.bench.service import bench
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.engines.port import Device
from garage_ai.node.errors import AlreadyRunning, NotEnrolled, NotPossible
from garage_ai.node.events import Event
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.models import Gpu, Gpus
from garage_ai.node.join import join
from garage_ai.node.records import record_with

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


def quiet(_: Event) -> None:
    return None


async def enrolled(edge: Edge, folder: NodeFolder, url: str, slots: int = 8) -> NodeFolder:
    made = await edge.services.tokens.create()
    assert made.secret is not None
    choice = Choice(engine="external", engine_url=url, models=("mock",), slots=slots)
    await join(edge.url, made.secret, folder, choice=choice, name="rig", tell=quiet)
    return folder


async def test_measures_keeps_and_hands_in(edge: Edge, tmp_path: Path, make_mock: MakeMock) -> None:
    """Each level within the slots is run, the gateway has what the folder has, and both agree."""
    mock = await make_mock(Options(chunk_delay=0.002, prompt_tokens=300))
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url)
    told: list[tuple[int, float]] = []
    result, changed, changes, unsent = await bench(folder, quiet, lambda *each: told.append(each))
    assert unsent == ""
    assert [level.streams for level in result.levels] == [1, 4, 8]
    for level in result.levels:
        assert level.failed == 0
        assert level.answered >= level.streams
        assert level.decode > 0
        assert level.prefill > 0
        assert level.ttft_worst >= level.ttft > 0
    assert (result.engine, result.model, result.slots) == ("external", "mock", 8)
    assert result.load is None
    assert result.round_trip is not None
    assert (changed, changes) == ((), ())
    assert result.up is not None
    assert result.down is not None
    assert result.memory is None
    assert load_history(folder.path) == (result,)
    node = folder.load().node
    assert (await edge.services.benchmarks.latest([node]))[node].benchmark == result
    assert {streams for streams, share in told if share == 1.0} == {1, 4, 8}


async def test_only_the_engines_own_cards_are_told(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands beside them, or idle beside a processor, makes no answer quicker."""
    reference = Gpu(name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 << 30, free=0)
    slower = Gpu(name="NVIDIA GeForce RTX 3060", uuid="GPU-2", total=12 << 30, free=0)
    gpus = Gpus(cards=(reference, slower), driver="590.44")
    monkeypatch.setattr(measure, "read_gpus", lambda: gpus)
    mock = await make_mock(Options())
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url, slots=1)
    for device, told in (
        (Device(("GPU-1",)), ((reference.name,), 1.0, "590.44")),
        (Device(), ((), None, "")),
    ):
        monkeypatch.setattr(ExternalEngine, "device", device)
        result, *_ = await bench(folder, quiet, lambda *_: None)
        assert (result.gpus, result.factor, result.driver) == told


async def test_a_gateway_that_is_away_loses_nothing(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result stays in the folder, and why it was not sent is told."""
    monkeypatch.setattr("garage_ai.node.gateway_client.TRIES", 1)
    mock = await make_mock(Options())
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url, slots=1)
    folder.save(record_with(folder.load(), gateway="http://127.0.0.1:1"))
    result, _, _, unsent = await bench(folder, quiet, lambda *_: None)
    assert unsent
    assert result.round_trip is None
    assert load_history(folder.path) == (result,)


@pytest.mark.parametrize("options", [Options(fail_every=1), Options(cut_after=0)])
async def test_an_engine_that_answers_nothing_is_no_result(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, options: Options
) -> None:
    """Nothing is kept and nothing is sent."""
    mock = await make_mock(options)
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url)
    with pytest.raises(NotPossible, match="none of the requests"):
        await bench(folder, quiet, lambda *_: None)
    assert load_history(folder.path) == ()


async def test_a_stream_that_stands_still_ends_the_level(
    edge: Edge, tmp_path: Path, make_mock: MakeMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came until then counts."""
    monkeypatch.setattr(measure, "level_seconds", lambda *_: 1.0)
    monkeypatch.setattr(drive, "MOST_ROUNDS", 1)
    mock = await make_mock(Options(stall_after=10))
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url, slots=1)
    result, *_ = await bench(folder, quiet, lambda *_: None)
    assert result.levels[0].answered == 1


async def test_nothing_is_measured_beside_an_agent(
    edge: Edge, tmp_path: Path, make_mock: MakeMock
) -> None:
    """Whoever holds the folder is named; a folder without a node has nothing to measure."""
    mock = await make_mock(Options())
    folder = await enrolled(edge, NodeFolder(tmp_path / "node"), mock.url)
    with folder.lock(), pytest.raises(AlreadyRunning):
        await bench(folder, quiet, lambda *_: None)
    with pytest.raises(NotEnrolled):
        await bench(NodeFolder(tmp_path / "empty"), quiet, lambda *_: None)
