"""Cards read through NVML; the library here answers as NVML's documentation says.

https://docs.nvidia.com/deploy/nvml-api/ : memory in bytes, power in milliwatts, CUDA 13.1 as 13010.
"""

from types import ModuleType
from typing import NamedTuple

import pynvml

from garage_ai.node.hardware.models import Gpus
from garage_ai.node.hardware.nvml import read_nvml


class NVMLError(Exception):
    """Base of all errors."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801 - the library's own name
    """No libnvidia-ml.so."""


class NVMLError_LibRmVersionMismatch(NVMLError):  # noqa: N801 - the library's own name
    """The driver was updated and the PC not restarted."""


class NVMLError_NotSupported(NVMLError):  # noqa: N801 - the library's own name
    """Laptops do not tell their power limit."""


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801 - the library's own name
    """It has fallen off the bus."""


class Memory(NamedTuple):
    total: int
    free: int


class Library(ModuleType):
    """NVML with one card, or an error at its start.

    Of further cards the second is lost, the third in instances, and the fourth shares the PC's
    memory.
    """

    def __init__(
        self, broken: NVMLError | None = None, *, laptop: bool = False, cards: int = 1
    ) -> None:
        super().__init__("pynvml")
        self.NVMLError = NVMLError
        self.broken, self.laptop, self.cards, self.open = broken, laptop, cards, 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise self.broken
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == 1:
            raise NVMLError_GpuIsLost("GPU is lost")
        return index

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
        if handle == 0:
            raise NVMLError_NotSupported("Not Supported")
        return [int(handle == 2), 0]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "590.44.01"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 13010

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "NVIDIA GeForce RTX 3090"

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return "GPU-1"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Memory:  # noqa: N802
        if handle == 3:
            raise NVMLError_NotSupported("Not Supported")
        return Memory(25769803776, 25000000000)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:  # noqa: N802
        return (8, 6)

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:  # noqa: N802
        if self.laptop:
            raise NVMLError_NotSupported("Not Supported")
        return 280_000

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: int) -> int:  # noqa: N802
        return 350_000


def test_reads_a_card() -> None:
    """Units are turned into ours, and the library is let go of."""
    library = Library()
    gpus = read_nvml(library)
    assert gpus is not None
    (card,) = gpus.cards
    assert (gpus.source, gpus.driver, gpus.cuda) == ("nvml", "590.44.01", (13, 1))
    assert (card.name, card.compute) == ("NVIDIA GeForce RTX 3090", (8, 6))
    assert (card.total, card.free) == (25769803776, 25000000000)
    assert (card.power_limit, card.power_default) == (280.0, 350.0)
    assert library.open == 0


def test_what_a_card_does_not_tell_is_not_known() -> None:
    """A laptop without a power limit is a card all the same."""
    gpus = read_nvml(Library(laptop=True))
    assert gpus is not None
    assert gpus.cards[0].power_limit is None


def test_a_card_that_is_lost_hides_no_other() -> None:
    """Nor does one that no engine can be given; why they are left out is told."""
    gpus = read_nvml(Library(cards=4))
    assert gpus is not None
    assert len(gpus.cards) == 1
    assert gpus.problem == (
        "card 1: GPU is lost; card 2: it is divided into instances (MIG); card 3: Not Supported"
    )


def test_without_the_library_others_are_asked() -> None:
    """None is not the same as no cards."""
    assert read_nvml(Library(NVMLError_LibraryNotFound("not found"))) is None


def test_a_broken_driver_is_told() -> None:
    """An update without a restart is named in the driver's words."""
    gpus = read_nvml(Library(NVMLError_LibRmVersionMismatch("Driver/library version mismatch")))
    assert gpus == Gpus(source="nvml", problem="Driver/library version mismatch")


def test_the_real_library_has_what_is_asked_for() -> None:
    """Every function that is called here exists in nvidia-ml-py under that name."""
    asked = [name for name in vars(Library) if name.startswith("nvml")]
    assert [name for name in asked if not hasattr(pynvml, name)] == []
    for error in (
        *(NVMLError_LibraryNotFound, NVMLError_LibRmVersionMismatch),
        *(NVMLError_NotSupported, NVMLError_GpuIsLost),
    ):
        assert issubclass(getattr(pynvml, error.__name__), pynvml.NVMLError)
