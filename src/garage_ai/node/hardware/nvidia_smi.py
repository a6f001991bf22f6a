"""Read NVIDIA cards from what `nvidia-smi` prints, where NVML cannot be loaded.

`-q -x` (XML) tells everything but the compute capability, which only `--query-gpu` (CSV) knows,
and only in drivers from about 510 on.
"""

import csv
import re
import xml.etree.ElementTree as ET
from typing import Final

from garage_ai.node.hardware.commands import Run, run
from garage_ai.node.hardware.models import MEBIBYTE, Gpu, Gpus, why_unfit

QUERY_XML: Final = ("nvidia-smi", "-q", "-x")
QUERY_COMPUTE: Final = ("nvidia-smi", "--query-gpu=uuid,compute_cap", "--format=csv")

_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:MiB|W)?")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
# The elements were renamed between drivers 525 and 570; what is not measured says N/A.
_LIMITS: Final = ("gpu_power_readings/current_power_limit", "gpu_power_readings/power_limit")
_OLD_LIMITS: Final = ("power_readings/enforced_power_limit", "power_readings/power_limit")
_DEFAULTS: Final = ("gpu_power_readings/default_power_limit", "power_readings/default_power_limit")
# Driver 610 calls its versions so, and says beside the old names that these will be removed.
_DRIVER: Final = ("kmd_version", "driver_version")
_CUDA: Final = ("cuda_umd_version", "cuda_version")


def read_nvidia_smi(ask: Run = run) -> Gpus:
    """Give all cards, or why there are none."""
    told = ask(QUERY_XML)
    if not told.well:
        # Its own words of what is wrong go to the same place as its answers.
        problem = told.text.strip().splitlines()[:1] if told.code is not None else []
        return Gpus(problem=problem[0][:200] if problem else "")
    compute = ask(QUERY_COMPUTE)
    return parse_xml(told.text, parse_compute(compute.text) if compute.well else {})


def parse_xml(text: str, compute: dict[str, tuple[int, int]]) -> Gpus:
    """Read `nvidia-smi -q -x`; capabilities by UUID come from elsewhere."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - the driver's own program wrote it
    except ET.ParseError as error:
        return Gpus(problem=f"nvidia-smi printed no XML: {error}")
    cards: list[Gpu] = []
    problems: list[str] = []
    for number, gpu in enumerate(root.iter("gpu")):
        card = _card(gpu, compute)
        unfit = why_unfit(card, divided=_text(gpu, "mig_mode/current_mig") == "Enabled")
        if unfit:
            problems.append(f"card {number}: {unfit}")
        else:
            cards.append(card)
    return Gpus(
        source="nvidia-smi",
        cards=tuple(cards),
        problem="; ".join(problems)[:200],
        driver=_first_text(root, _DRIVER).partition(" ")[0],
        cuda=parse_version(_first_text(root, _CUDA)),
    )


def parse_compute(text: str) -> dict[str, tuple[int, int]]:
    """Read compute capabilities by UUID from CSV with a header line."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    header = next(rows, [])
    if not {"uuid", "compute_cap"} <= set(header):
        return {}
    uuid, capability = header.index("uuid"), header.index("compute_cap")
    found = ((row[uuid], parse_version(row[capability])) for row in rows if len(row) == len(header))
    return {name: version for name, version in found if version is not None}


def parse_version(text: str) -> tuple[int, int] | None:
    """Give the first two numbers of a version; None if it is none."""
    match = _VERSION.match(text.strip())
    return (int(match[1]), int(match[2])) if match else None


def _card(gpu: ET.Element, compute: dict[str, tuple[int, int]]) -> Gpu:
    uuid = _text(gpu, "uuid")
    return Gpu(
        name=_text(gpu, "product_name"),
        uuid=uuid,
        total=_mebibytes(gpu, "fb_memory_usage/total"),
        free=_mebibytes(gpu, "fb_memory_usage/free"),
        compute=compute.get(uuid),
        power_limit=_first_number(gpu, (*_LIMITS, *_OLD_LIMITS)),
        power_default=_first_number(gpu, _DEFAULTS),
    )


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _first_text(element: ET.Element, paths: tuple[str, ...]) -> str:
    return next((text for text in (_text(element, path) for path in paths) if text), "")


def _mebibytes(element: ET.Element, path: str) -> int:
    return int(_number(_text(element, path)) or 0) * MEBIBYTE


def _first_number(element: ET.Element, paths: tuple[str, ...]) -> float | None:
    numbers = (_number(_text(element, path)) for path in paths)
    return next((number for number in numbers if number is not None), None)


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    return float(match[1]) if match else None


__all__ = ["QUERY_COMPUTE", "QUERY_XML", "parse_compute", "parse_version", "read_nvidia_smi"]
