"""What a PC is made of, as plain data; sizes in bytes, None for what nobody told."""

from typing import Final, Literal

import msgspec

MEBIBYTE: Final = 1 << 20

GpuSource = Literal["nvml", "nvidia-smi", "none"]
Place = Literal["pc", "wsl", "container"]
"""Where the agent runs: on the PC itself, in a Linux inside Windows, or in a container."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One NVIDIA card.

    `total` is what the card says it has, `free` what no program holds now; the driver keeps a few
    hundred megabytes for itself, which are in neither `free` nor the owner's use. Watts as set.
    """

    name: str
    uuid: str
    total: int
    free: int
    compute: tuple[int, int] | None = None
    power_limit: float | None = None
    power_default: float | None = None


def why_unfit(card: Gpu, *, divided: bool) -> str:
    """Say why no engine can be given a card, in the driver's words; empty where one can.

    One that is `divided` into instances (MIG) is several smaller ones, of which CUDA shows but one
    to a program; one that shares the PC's memory tells of none.
    """
    if divided:
        return "it is divided into instances (MIG)"
    return "" if card.total else "it does not tell its memory"


class Gpus(msgspec.Struct, frozen=True, kw_only=True):
    """All NVIDIA cards that can be used, and their driver; `problem` is of the others, or of all.

    `cuda` is the newest CUDA that the driver speaks.
    """

    source: GpuSource = "none"
    cards: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: tuple[int, int] | None = None
    problem: str = ""


class Pc(msgspec.Struct, frozen=True, kw_only=True):
    """A PC: `others` names cards that are seen but not supported yet, by their maker."""

    system: str
    distribution: str
    kernel: tuple[int, int]
    wsl: bool
    python: tuple[int, int]
    cpu: str
    cores: int
    memory: int
    memory_free: int
    disk_free: int
    gpus: Gpus
    others: tuple[str, ...] = ()
    container: bool = False


__all__ = ["MEBIBYTE", "Gpu", "GpuSource", "Gpus", "Pc", "Place", "why_unfit"]
