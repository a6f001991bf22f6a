"""Read NVIDIA cards through NVML, the driver's own library.

Not yet run on hardware: written against NVML's documentation and tried with a library that
answers as documented.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from garage_ai.node.hardware.models import Gpu, Gpus, why_unfit

_MILLIWATTS: Final = 1000.0
_LIBRARY_ABSENT: Final = ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded")
_DIVIDED: Final = 1
"""NVML_DEVICE_MIG_ENABLE."""


def read_nvml(library: ModuleType | None = None) -> Gpus | None:
    """Give all cards; None where NVML is not there, so that others may be asked."""
    nvml = library or _load()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if type(error).__name__ in _LIBRARY_ABSENT:
            return None
        return Gpus(source="nvml", problem=str(error)[:200])
    try:
        return _cards(nvml)
    except nvml.NVMLError as error:
        return Gpus(source="nvml", problem=str(error)[:200])
    finally:
        nvml.nvmlShutdown()


def _load() -> ModuleType:
    import pynvml

    module: ModuleType = pynvml
    return module


def _cards(nvml: ModuleType) -> Gpus:
    cards: list[Gpu] = []
    problems: list[str] = []
    for number in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            card, divided = _card(nvml, handle), _is_divided(nvml, handle)
        except nvml.NVMLError as error:
            # One that has fallen off the bus, lacks its power or has no memory of its own.
            problems.append(f"card {number}: {error}")
            continue
        unfit = why_unfit(card, divided=divided)
        if unfit:
            problems.append(f"card {number}: {unfit}")
        else:
            cards.append(card)
    version = _told(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
    return Gpus(
        source="nvml",
        cards=tuple(cards),
        problem="; ".join(problems)[:200],
        driver=str(nvml.nvmlSystemGetDriverVersion()),
        # NVML writes CUDA 13.1 as 13010.
        cuda=None if version is None else (version // 1000, version % 1000 // 10),
    )


def _card(nvml: ModuleType, handle: object) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    compute = _told(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    limit = _told(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))
    usual = _told(nvml, lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle))
    return Gpu(
        name=str(nvml.nvmlDeviceGetName(handle)),
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        total=int(memory.total),
        free=int(memory.free),
        compute=None if compute is None else (int(compute[0]), int(compute[1])),
        power_limit=None if limit is None else limit / _MILLIWATTS,
        power_default=None if usual is None else usual / _MILLIWATTS,
    )


def _is_divided(nvml: ModuleType, handle: object) -> bool:
    mode = _told(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    return mode is not None and mode[0] == _DIVIDED


def _told(nvml: ModuleType, ask: Callable[[], Any]) -> Any:
    """Give an answer, or None where the card or driver does not know that question."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


__all__ = ["read_nvml"]
