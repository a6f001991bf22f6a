"""A PC's cards: one that is lent beside a game on another, and one whose driver hangs in a game."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from bench.mock_options import Options
from tests.integration.node.conftest import MakeAgent, MakeMock, external
from tests.parts.job_caller import until
from tests.parts.slow_disk import SlowDisk

from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.engines.port import Device
from garage_ai.node.folder import NodeFolder
from garage_ai.node.guard import power
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.guard.prices import day_of
from garage_ai.node.guard.readers import machine_room
from garage_ai.node.guard.readers.nvml import Card, GpuProcess, NoCards
from garage_ai.node.guard.readers.rapl import Rapl
from garage_ai.node.guard.status import GuardStatus
from garage_ai.node.guard.tally import TALLY
from garage_ai.node.guard.words import sentence
from garage_ai.node.guarding import Guarding

pytestmark = pytest.mark.anyio

GIB = 1 << 30


class TwoCards:
    """The first is lent and cool, the second hot of a game."""

    def look(self) -> Sequence[Card]:
        return [
            Card("GPU-0", temperature=60.0, watts=120.0, most_watts=250.0),
            Card("GPU-1", temperature=92.0, watts=310.0, most_watts=320.0),
        ]


class Hangs:
    """A game is on the card; after the first look the driver answers no more."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> Sequence[Card]:
        self.looks += 1
        if self.looks > 2:
            raise NoCards(sentence("no_answer", name="NVML"))
        return [Card("GPU-0", processes=(GpuProcess(1, memory=8 * GIB),))]


Guarded = Callable[[Device | None], Awaitable[GuardStatus]]


@pytest.fixture
def guarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_mock: MakeMock, make_agent: MakeAgent
) -> Guarded:
    """Have a node whose engine computes on a device look around, on a PC without other meters."""
    monkeypatch.setattr(power, "Rapl", lambda: Rapl(tmp_path / "none"))
    monkeypatch.setattr(machine_room, "PROCESSORS", ())

    async def look(device: Device | None) -> GuardStatus:
        monkeypatch.setattr(ExternalEngine, "device", device)
        engine = external(await make_mock(Options()))
        folder = NodeFolder(tmp_path / "node")
        folder.prepare()
        save_limits(folder.path, Limits(max_temperature=80.0, on_battery=True, on_metered=True))
        agent = (await make_agent(engine)).agent
        guarding = Guarding(folder, engine, agent, on_change=lambda: None, cards=TwoCards())
        await guarding.begin()
        return guarding.status()

    return look


@pytest.mark.parametrize(
    ("device", "watts", "heat"),
    [
        (Device(("GPU-0",)), 120.0, "free"),
        (Device(("GPU-1",)), 310.0, "busy"),
        (Device(), None, "unknown"),
        (None, 430.0, "busy"),
    ],
)
async def test_watts_and_heat_are_of_the_cards_that_are_lent(
    guarded: Guarded, device: Device | None, watts: float | None, heat: str
) -> None:
    """Of an engine on the processor no card tells, and a heat that nobody tells is not taken for
    none; of the owner's own server all of them count."""
    status = await guarded(device)
    verdicts = {each.signal: each.verdict for each in status.signals}
    assert (status.today.watts, verdicts["temperature"]) == (watts, heat)
    assert [each.watts for each in status.cards] == [120.0, 310.0]


async def test_without_an_area_no_kronor_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_mock: MakeMock, make_agent: MakeAgent
) -> None:
    """Once it is taken away what lending draws has no price any more, and the kWh go on."""
    monkeypatch.setattr(ExternalEngine, "device", Device(("GPU-0",)))
    engine = external(await make_mock(Options()))
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    now = datetime.now(UTC)
    (folder.path / "prices").mkdir()
    price = {
        "SEK_per_kWh": 2.0,
        "time_start": (now - timedelta(days=2)).isoformat(),
        "time_end": (now + timedelta(days=2)).isoformat(),
    }
    (folder.path / "prices" / f"{day_of(now)}_SE3.json").write_text(json.dumps([price]))
    anywhere = Limits(on_battery=True, on_metered=True)
    save_limits(folder.path, msgspec.structs.replace(anywhere, price_area="SE3"))
    agent = (await make_agent(engine)).agent
    guarding = Guarding(folder, engine, agent, on_change=lambda: None, cards=TwoCards())
    await guarding.begin()

    def drawn() -> tuple[float, float]:
        for _ in range(2):
            guarding._measure()
        today = guarding.status().today
        return today.kwh or 0.0, today.kronor or 0.0

    kwh, kronor = drawn()
    assert kronor == pytest.approx(2.0 * kwh)
    save_limits(folder.path, anywhere)
    guarding.limits_changed()
    more = drawn()
    assert more[0] > kwh
    assert more[1] == kronor


async def test_a_driver_that_hangs_in_a_game_brings_no_engine_back_and_the_owner_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_mock: MakeMock, make_agent: MakeAgent
) -> None:
    """That the game is over only he can tell then, with `gai node resume`."""
    monkeypatch.setattr(ExternalEngine, "pids", frozenset[int]())
    engine = external(await make_mock(Options()))
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    save_limits(folder.path, Limits(resume_after=0.0, on_battery=True, on_metered=True))
    agent = (await make_agent(engine)).agent
    guarding = Guarding(folder, engine, agent, on_change=lambda: None, cards=Hangs())
    await guarding.begin()
    assert guarding.status().action == "release"
    watching = asyncio.create_task(guarding.run())
    try:
        await until(
            lambda: any(
                each.why.en.startswith("nobody answers for NVML")
                for each in guarding.status().signals
            ),
            30,
        )
        assert guarding.status().action == "release"
        assert guarding.reason.en.startswith("cannot tell whether it is over: graphics card")
        guarding.paused_or_resumed()
        assert guarding.status().action == "serve"
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_a_disk_that_is_slow_keeps_no_answer_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_mock: MakeMock, make_agent: MakeAgent
) -> None:
    """A game that is being fetched fills it for seconds; what was counted waits for it alone."""
    monkeypatch.setattr("garage_ai.node.guarding.COUNT_SECONDS", 0.01)
    monkeypatch.setattr("garage_ai.node.guarding.KEEP_SECONDS", 0.0)
    engine = external(await make_mock(Options()))
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    save_limits(folder.path, Limits(on_battery=True, on_metered=True))
    agent = (await make_agent(engine)).agent
    guarding = Guarding(folder, engine, agent, on_change=lambda: None, cards=TwoCards())
    await guarding.begin()
    disk = SlowDisk(monkeypatch)
    agent.tokens += 5
    watching = asyncio.create_task(guarding.run())
    try:
        await until(disk.asked.is_set, 30)
        assert not disk.held_all_up, "the agent stood still until the disk had it"
    finally:
        disk.done.set()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert json.loads((folder.path / TALLY).read_text())["tokens"] == 5
