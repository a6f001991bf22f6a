"""What NVIDIA's driver says of its cards, through nvidia-ml-py. Not yet run on hardware.

Written against the NVML API reference (structs nvmlProcessInfo_t and
nvmlProcessUtilizationSample_t, functions nvmlDeviceGet*). The library is loaded only where the
driver's device file is, since its bindings cost the agent memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from garage_ai.node.guard.words import Sentence, sentence

DEVICE: Final = Path("/dev/nvidiactl")

_WHOLE: Final = 100
"""A process's largest share in percent; some drivers give what is none, among what is
(Syllo/nvtop, issue 110)."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a card: memory in bytes and share of the cores in percent, None if not told."""

    pid: int
    memory: int | None = None
    use: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it is now; temperature in degrees, None where it does not tell.

    `watts` is what it draws, `most_watts` the limit that its driver holds it to, `free` the bytes
    of its memory that nobody has.
    """

    uuid: str
    processes: tuple[GpuProcess, ...] = ()
    temperature: float | None = None
    watts: float | None = None
    most_watts: float | None = None
    name: str = ""
    free: int | None = None


class NoCards(Exception):
    """Nothing can be said of any card; `why` is for the owner."""

    def __init__(self, why: Sentence) -> None:
        super().__init__(why.en)
        self.why = why


class Cards(Protocol):
    """Where cards are looked at."""

    def look(self) -> Sequence[Card]:
        """Look at all of them. Raises: NoCards."""


class NvmlCards:
    """The cards of this PC."""

    def __init__(self, nvml: Any = None, *, device: Path = DEVICE) -> None:
        self._nvml = nvml
        self._device = device
        self._ready = False
        self._seen: dict[str, int] = {}

    def look(self) -> Sequence[Card]:
        """Look at all that can be read. Raises: NoCards where none can be."""
        nvml = self._library()
        cards: list[Card] = []
        failure: Exception | None = None
        try:
            for number in range(nvml.nvmlDeviceGetCount()):
                try:
                    cards.append(self._card(nvml, nvml.nvmlDeviceGetHandleByIndex(number)))
                except nvml.NVMLError as error:
                    failure = error
        except nvml.NVMLError as error:
            failure = error
        if failure is not None and not cards:
            # A driver that was updated under us wants to be begun anew.
            self._ready = False
            raise NoCards(sentence("broken", detail=str(failure)[:200])) from failure
        return cards

    def _library(self) -> Any:
        if not self._device.exists():
            raise NoCards(sentence("gpu.none"))
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        if not self._ready:
            try:
                self._nvml.nvmlInit()
            except self._nvml.NVMLError as error:
                raise NoCards(sentence("broken", detail=str(error)[:200])) from error
            self._ready = True
        return self._nvml

    def _card(self, nvml: Any, handle: Any) -> Card:
        uuid = str(nvml.nvmlDeviceGetUUID(handle))
        running = [
            *nvml.nvmlDeviceGetComputeRunningProcesses(handle),
            *nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
        ]
        uses = self._uses(nvml, handle, uuid)
        watts = _told(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0)
        most = _told(nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0)
        sensor = nvml.NVML_TEMPERATURE_GPU
        heat = _told(nvml, lambda: float(nvml.nvmlDeviceGetTemperature(handle, sensor)))
        memories = ((int(each.pid), each.usedGpuMemory) for each in running)
        name = str(nvml.nvmlDeviceGetName(handle))
        free = _told(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).free)
        processes = merged(memories, uses)
        room = None if free is None else int(free)
        return Card(uuid, processes, heat, watts, most, name, room)

    def _uses(self, nvml: Any, handle: Any, uuid: str) -> dict[int, float]:
        """Give each process's mean use since the last look; empty where the card keeps none."""
        since = self._seen.get(uuid, 0)
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, since)
        except nvml.NVMLError:
            # Not supported, or nothing has run since: both are told as an error.
            return {}
        shares: dict[int, list[float]] = {}
        for each in samples:
            if each.timeStamp > since and each.smUtil <= _WHOLE:
                shares.setdefault(int(each.pid), []).append(float(each.smUtil))
                self._seen[uuid] = max(self._seen.get(uuid, 0), int(each.timeStamp))
        return {pid: sum(each) / len(each) for pid, each in shares.items()}


def merged(
    memories: Iterable[tuple[int, int | None]], uses: dict[int, float]
) -> tuple[GpuProcess, ...]:
    """Make one entry of each process; one that draws and computes stands in both lists. Pure."""
    most: dict[int, int | None] = {}
    for pid, memory in memories:
        known = most.get(pid)
        most[pid] = memory if known is None else max(known, memory or 0)
    pids = dict.fromkeys([*most, *uses])
    return tuple(GpuProcess(pid, most.get(pid), uses.get(pid)) for pid in pids)


def _told(nvml: Any, ask: Any) -> float | None:
    try:
        return float(ask())
    except nvml.NVMLError:
        return None


__all__ = ["DEVICE", "Card", "Cards", "GpuProcess", "NoCards", "NvmlCards", "merged"]
