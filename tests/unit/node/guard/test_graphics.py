"""The graphics card, on recorded tables of processes."""

import asyncio
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from garage_ai.node.engines.port import Device
from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.graphics import Graphics, judge
from garage_ai.node.guard.readers.nvml import Card, GpuProcess, NoCards, NvmlCards, merged
from garage_ai.node.guard.words import sentence

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parent / "recorded"
TABLES = json.loads((RECORDED / "gpu-processes.json").read_text())
DESKTOPS = [name for name in TABLES if not name.startswith(("training", "another's model"))]
MIB = 2**20
LIMITS = Limits()


class NVMLError(Exception):
    """What the library raises."""


@dataclass
class Info:
    """A row of a table of processes."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815 - the library's name


@dataclass
class Use:
    """A sample of what a process does with the cores."""

    pid: int
    smUtil: int  # noqa: N815 - the library's name
    timeStamp: int  # noqa: N815 - the library's name


@dataclass
class Memory:
    """What a card says of its memory."""

    free: int


@dataclass
class RecordedNvml:
    """The library, as far as it is used, saying what was recorded."""

    table: list[dict[str, object]]
    uses: list[Use] = field(default_factory=list)
    broken: bool = False
    free: int | None = 5_000 * MIB
    begun: int = 0
    lost: int | None = None
    NVMLError: type[Exception] = NVMLError
    NVML_TEMPERATURE_GPU: int = 0

    def nvmlInit(self) -> None:  # noqa: N802 - the library\'s name
        self.begun += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library\'s name
        if self.broken:
            raise NVMLError("GPU is lost")
        return 1 if self.lost is None else 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - the library\'s name
        if index == self.lost:
            raise NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802 - the library\'s name
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802 - the library\'s name
        return "NVIDIA of the table"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Info]:  # noqa: N802 - the library\'s name
        return self._rows("C")

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Info]:  # noqa: N802 - the library\'s name
        return self._rows("G")

    def nvmlDeviceGetProcessUtilization(self, handle: int, since: int) -> list[Use]:  # noqa: N802 - the library\'s name
        fresh = [use for use in self.uses if use.timeStamp > since]
        if not fresh:
            raise NVMLError("Not Found")
        return fresh

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802 - the library\'s name
        return 27_000

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802 - the library\'s name
        return 250_000

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802 - the library\'s name
        raise NVMLError("Not Supported")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Memory:  # noqa: N802 - the library\'s name
        if self.free is None:
            raise NVMLError("Not Supported")
        return Memory(self.free)

    def _rows(self, kind: str) -> list[Info]:
        rows = [row for row in self.table if kind in str(row["type"])]
        return [Info(int(str(row["pid"])), int(str(row["mib"])) * MIB) for row in rows]


def cards_of(name: str, tmp_path: Path, uses: list[Use] | None = None) -> NvmlCards:
    device = tmp_path / "nvidiactl"
    device.touch()
    return NvmlCards(RecordedNvml(TABLES[name], uses or []), device=device)


def name_of(pid: int) -> str:
    return f"program {pid}"


@pytest.mark.parametrize("name", DESKTOPS)
def test_a_desktop_is_no_game(name: str, tmp_path: Path) -> None:
    """What windows and browsers take does not keep a node from serving."""
    cards = cards_of(name, tmp_path).look()
    assert judge(cards, LIMITS, lambda _: False, name_of).verdict == "free"


@pytest.mark.parametrize(
    ("table", "pid", "memory"),
    [
        ("training on a card of 4 GB", 196420, "3.0 GB"),
        ("another's model beside a desktop", 36528, "9.5 GB"),
    ],
)
def test_a_foreign_process_takes_the_card(
    table: str, pid: int, memory: str, tmp_path: Path
) -> None:
    """One that needs the memory gets it, and the owner is told which it is."""
    cards = cards_of(table, tmp_path).look()
    finding = judge(cards, LIMITS, lambda _: False, name_of)
    assert finding.verdict == "busy"
    assert finding.why == sentence("gpu.memory", name=f"program {pid}", memory=memory)


def test_our_own_engine_is_no_stranger(tmp_path: Path) -> None:
    """The same process is nothing to yield to when it is the node's."""
    cards = cards_of("training on a card of 4 GB", tmp_path).look()
    assert judge(cards, LIMITS, lambda pid: pid == 196420, name_of).verdict == "free"


def test_cores_count_too(tmp_path: Path) -> None:
    """A small game that keeps the card busy is a game; each sample is counted once."""
    uses = [Use(11056, 90, 1000), Use(11056, 50, 1001), Use(1680, 9, 1001)]
    cards = cards_of("desktop on a GeForce GTX 1060", tmp_path, uses)
    finding = judge(cards.look(), LIMITS, lambda _: False, name_of)
    assert finding.why == sentence("gpu.use", name="program 11056", use=70)
    assert judge(cards.look(), LIMITS, lambda _: False, name_of).verdict == "free"


def uses_of(cards: NvmlCards) -> dict[int, float]:
    (card,) = cards.look()
    return {each.pid: each.use for each in card.processes if each.use is not None}


def test_what_was_recorded_of_the_cores_counts_once(tmp_path: Path) -> None:
    """The library gives old samples again beside new ones, and not all are of one moment."""
    cards = cards_of("desktop of a laptop", tmp_path)
    found = []
    for look in json.loads((RECORDED / "gpu-uses.json").read_text()):
        cards._nvml.uses = [Use(**sample) for sample in look]
        found.append(uses_of(cards))
    assert found == [
        {18429: 1, 7044: 12, 7180: 7},
        {},
        {7044: 4, 7180: 16},
        {7044: 1, 7180: 19},
    ]


def test_a_share_that_is_none_is_no_game(tmp_path: Path) -> None:
    """A driver that gives nonsense among its samples neither starts a game nor hides the next."""
    nonsense = [Use(1680, 2**32 - 1, 2**63), Use(4_000_000_000, 21_845, 1000)]
    cards = cards_of("desktop on a GeForce GTX 1060", tmp_path, [*nonsense, Use(11056, 9, 1000)])
    assert uses_of(cards) == {11056: 9}
    assert judge(cards.look(), LIMITS, lambda _: False, name_of).verdict == "free"
    cards._nvml.uses = [Use(11056, 90, 1001)]
    finding = judge(cards.look(), LIMITS, lambda _: False, name_of)
    assert finding.why == sentence("gpu.use", name="program 11056", use=90)


def test_a_process_that_draws_and_computes_is_one(tmp_path: Path) -> None:
    """It stands in both lists of the library."""
    (card,) = cards_of("virtual machine on a GeForce GTX 1650", tmp_path).look()
    assert [each.pid for each in card.processes] == [10941, 1591]
    assert (card.watts, card.most_watts, card.temperature) == (27.0, 250.0, None)


@pytest.mark.parametrize("free", [0, 5_000 * MIB, None])
def test_what_is_free_of_a_card_is_told(free: int | None, tmp_path: Path) -> None:
    """A card that shares the PC's memory does not say."""
    cards = cards_of("desktop of a laptop", tmp_path)
    cards._nvml.free = free
    (card,) = cards.look()
    assert card.free == free


def test_memory_that_is_not_told_is_not_zero() -> None:
    """Under Windows' memory manager the library gives no figure."""
    assert merged([(7, None)], {}) == (GpuProcess(7, None, None),)
    assert merged([(7, None), (7, 5)], {7: 1.0}) == (GpuProcess(7, 5, 1.0),)


def test_a_card_that_was_lost_is_asked_anew(tmp_path: Path) -> None:
    """The next look begins the library again, as a driver update needs it."""
    cards = cards_of("desktop of a laptop", tmp_path)
    nvml: RecordedNvml = cards._nvml
    cards.look()
    nvml.broken = True
    with pytest.raises(NoCards, match="GPU is lost"):
        cards.look()
    nvml.broken = False
    cards.look()
    assert nvml.begun == 2


async def test_no_card_is_said_and_not_taken_for_free(tmp_path: Path) -> None:
    """Without the driver's device nothing is loaded."""
    finding = await Graphics(NvmlCards(device=tmp_path / "nvidiactl"), frozenset).read(LIMITS)
    assert (finding.verdict, finding.why) == ("unknown", sentence("gpu.none"))


@pytest.mark.parametrize(("lost", "verdict"), [(0, "unknown"), (1, "busy"), (None, "busy")])
async def test_a_card_that_is_lost_blinds_for_no_other(
    lost: int | None, verdict: str, tmp_path: Path
) -> None:
    """A game on the engine's card is seen beside it; if that is the one, nothing is known."""
    table: list[dict[str, object]] = [{"pid": os.getppid(), "type": "G", "mib": 4096}]
    device = tmp_path / "nvidiactl"
    device.touch()
    cards = NvmlCards(RecordedNvml(table, lost=lost), device=device)
    reader = Graphics(cards, frozenset, lambda: Device(("GPU-0",)))
    assert (await reader.read(LIMITS)).verdict == verdict


class OneCard:
    """A card with one process of this PC."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def look(self) -> list[Card]:
        return [Card("GPU-0", (GpuProcess(self._pid, 4 * 2**30),))]


async def test_children_of_the_agent_are_ours() -> None:
    """This process is the agent here, and so is what it started; its parent is not."""
    for pid, verdict in ((os.getpid(), "free"), (os.getppid(), "busy")):
        finding = await Graphics(OneCard(pid), frozenset).read(LIMITS)
        assert finding.verdict == verdict
    engine = Graphics(OneCard(os.getppid()), lambda: frozenset({os.getppid()}))
    assert (await engine.read(LIMITS)).verdict == "free"


async def test_only_the_engines_own_cards_are_watched() -> None:
    """A game on the other card may go on; without a card of the engine's, all are watched."""

    class TwoCards:
        def look(self) -> list[Card]:
            return [*OneCard(os.getppid()).look(), Card("GPU-1")]

    async def verdict(device: Device | None) -> str:
        reader = Graphics(TwoCards(), frozenset, lambda: device)
        return (await reader.read(LIMITS)).verdict

    assert await verdict(Device(("GPU-1",))) == "free"
    for device in (Device(("GPU-0",)), Device(), None):
        assert await verdict(device) == "busy"


@pytest.mark.parametrize(
    ("device", "lent"),
    [(Device(("GPU-0",)), 1), (Device(("GPU-1",)), 0), (Device(), 0), (None, 1)],
)
async def test_watts_and_degrees_are_of_the_engines_own_cards(
    device: Device | None, lent: int
) -> None:
    """None for an engine on the processor; all, where nobody says which it uses."""
    reader = Graphics(OneCard(os.getppid()), frozenset, lambda: device)
    await reader.read(LIMITS)
    assert (len(reader.lent), len(reader.last)) == (lent, 1)


async def test_a_driver_that_hangs_takes_one_thread(tmp_path: Path) -> None:
    """While it is silent nothing is known, and it is not asked again."""
    asked = threading.Semaphore(0)
    go_on = threading.Event()

    class Hanging:
        def look(self) -> list[Card]:
            asked.release()
            go_on.wait(10)
            return []

    reader = Graphics(Hanging(), frozenset)
    first = asyncio.create_task(reader.read(LIMITS))
    assert await asyncio.to_thread(asked.acquire, timeout=10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    finding = await reader.read(LIMITS)
    assert (finding.verdict, finding.why) == ("unknown", sentence("no_answer", name="NVML"))
    go_on.set()
    assert reader._looking is not None
    await reader._looking
    assert (await reader.read(LIMITS)).verdict == "free"


async def test_the_owners_server_cannot_be_told_from_a_game() -> None:
    """It runs where the agent cannot see it, and this is said."""
    finding = await Graphics(OneCard(os.getppid()), lambda: None).read(LIMITS)
    assert (finding.verdict, finding.why) == ("unknown", sentence("own_server"))
