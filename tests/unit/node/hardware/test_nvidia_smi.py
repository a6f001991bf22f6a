"""Cards read from what nvidia-smi really printed on PCs of others (tests/recorded)."""

import json
import re
from collections.abc import Sequence

import pytest
from tests.parts.tree import ROOT

from garage_ai.node.hardware.commands import Ran, run
from garage_ai.node.hardware.models import MEBIBYTE
from garage_ai.node.hardware.nvidia_smi import (
    QUERY_COMPUTE,
    QUERY_XML,
    parse_compute,
    parse_version,
    read_nvidia_smi,
)

RECORDED = ROOT / "tests/recorded/nvidia_smi"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


class Driver:
    """An nvidia-smi that prints what was recorded."""

    def __init__(self, xml: Ran, compute: Ran) -> None:
        self._answers: dict[tuple[str, ...], Ran] = {QUERY_XML: xml, QUERY_COMPUTE: compute}

    def __call__(self, argv: Sequence[str]) -> Ran:
        return self._answers[tuple(argv)]


@pytest.mark.parametrize(
    ("file", "name", "driver", "memory", "watts"),
    [
        (
            "rtx-3060.xml",
            "NVIDIA GeForce RTX 3060",
            ("570.124.04", (12, 8)),
            (12288, 11806),
            (170, 170),
        ),
        (
            "rtx-3080.xml",
            "NVIDIA GeForce RTX 3080",
            ("595.58.03", (13, 2)),
            (10240, 660),
            (320, 320),
        ),
        (
            "rtx-3090.xml",
            "NVIDIA GeForce RTX 3090",
            ("525.147.05", (12, 0)),
            (24576, 24258),
            (200, 350),
        ),
        (
            "rtx-4000-sff-ada.xml",
            "NVIDIA RTX 4000 SFF Ada Generation",
            ("595.84", (13, 2)),
            (20475, 16482),
            (70, 70),
        ),
    ],
)
def test_reads_recorded_cards(
    file: str,
    name: str,
    driver: tuple[str, tuple[int, int]],
    memory: tuple[int, int],
    watts: tuple[float, float],
) -> None:
    """Name, driver, memory and power limit of three generations of drivers."""
    gpus = read_nvidia_smi(Driver(Ran(0, recorded(file)), Ran(2)))
    (card,) = gpus.cards
    assert (gpus.source, gpus.driver, gpus.cuda) == ("nvidia-smi", *driver)
    assert card.name == name
    assert (card.total // MEBIBYTE, card.free // MEBIBYTE) == memory
    assert (card.power_limit, card.power_default) == watts
    assert card.uuid.startswith("GPU-")
    assert card.compute is None


def test_a_recorded_card_in_instances_is_left_out() -> None:
    """A data centre's A100 in parts: neither it nor they are a card that was planned for."""
    gpus = read_nvidia_smi(Driver(Ran(0, recorded("a100-partitioned.xml")), Ran(2)))
    assert (gpus.cards, gpus.driver, gpus.cuda) == ((), "535.54.03", (12, 2))
    assert gpus.problem == "card 0: it is divided into instances (MIG)"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("<total>12288 MiB</total>", "<total>N/A</total>", "does not tell its memory"),
        ("<current_mig>N/A</current_mig>", "<current_mig>Enabled</current_mig>", "MIG"),
    ],
)
def test_a_card_that_no_engine_can_be_given_is_left_out(before: str, after: str, why: str) -> None:
    """A share of no memory is none, and an instance is not the card that was planned for."""
    xml = recorded("rtx-3060.xml")
    assert before in xml
    gpus = read_nvidia_smi(Driver(Ran(0, xml.replace(before, after)), Ran(2)))
    assert (gpus.cards, gpus.driver) == ((), "570.124.04")
    assert why in gpus.problem


def as_driver_610_says(xml: str, *, renamed: bool) -> str:
    """Put the versions of a recording as `nvidia-smi -q` of driver 610 puts them.

    Its XML was not recorded; what comes after it has the new names alone.
    """
    said = dict(re.findall(r"^([\w ]+?) +: (.*)$", recorded("driver-610.txt"), re.MULTILINE))
    names = ("KMD Version", "CUDA UMD Version") if renamed else ("Driver Version", "CUDA Version")
    for name in names:
        old = "driver_version" if name in ("KMD Version", "Driver Version") else "cuda_version"
        new = name.lower().replace(" ", "_")
        xml = re.sub(rf"<{old}>.*</{old}>", f"<{new}>{said[name]}</{new}>", xml)
    return xml


@pytest.mark.parametrize("renamed", [False, True])
def test_reads_the_versions_of_driver_610(renamed: bool) -> None:
    """It says beside the old names that they will be removed, and has new ones."""
    xml = as_driver_610_says(recorded("rtx-3080.xml"), renamed=renamed)
    assert ("Deprecated; will be removed" in xml) is not renamed
    gpus = read_nvidia_smi(Driver(Ran(0, xml), Ran(2)))
    assert (gpus.driver, gpus.cuda) == ("610.57.04", (13, 3))


def test_the_capability_comes_from_the_other_query() -> None:
    """CSV and XML tell of one card by its UUID."""
    xml = recorded("rtx-3060.xml")
    uuid = "GPU-d6889ff6-2523-9142-ca3c-1ca3f396a625"
    gpus = read_nvidia_smi(Driver(Ran(0, xml), Ran(0, f"uuid, compute_cap\n{uuid}, 8.6\n")))
    assert [card.compute for card in gpus.cards] == [(8, 6)]


@pytest.mark.parametrize(
    ("file", "capability"), [("rtx-4080-super.csv", (8, 9)), ("rtx-2080-super.csv", (7, 5))]
)
def test_reads_recorded_csv(file: str, capability: tuple[int, int]) -> None:
    """Columns are found by name, wherever they stand in the line."""
    assert list(parse_compute(recorded(file)).values()) == [capability]


@pytest.mark.parametrize("text", ["", "no header", "uuid\nGPU-1\n", "uuid, compute_cap\nGPU-1\n"])
def test_other_text_tells_no_capability(text: str) -> None:
    """A driver that does not know the column prints something else."""
    assert parse_compute(text) == {}


@pytest.mark.parametrize("refusal", json.loads(recorded("refusals.json")))
def test_a_driver_that_does_not_answer_is_quoted(refusal: dict[str, str | int]) -> None:
    """What nvidia-smi says of a broken driver reaches the owner."""
    words = str(refusal["text"])
    gpus = read_nvidia_smi(Driver(Ran(int(refusal["code"]), words), Ran(18)))
    assert (gpus.cards, gpus.problem) == ((), words.splitlines()[0])


def test_no_nvidia_smi_is_no_problem() -> None:
    """A PC without it has no card, and nothing to complain of."""
    gpus = read_nvidia_smi(Driver(Ran(None), Ran(None)))
    assert (gpus.source, gpus.cards, gpus.problem) == ("none", (), "")


def test_text_that_is_no_xml_is_told() -> None:
    """Half an answer is not taken for none."""
    assert "no XML" in read_nvidia_smi(Driver(Ran(0, "<nvidia_smi_log>"), Ran(None))).problem


@pytest.mark.parametrize(
    ("text", "version"),
    [("13.2", (13, 2)), (" 535.129.03", (535, 129)), ("6.1.0-18-amd64", (6, 1)), ("N/A", None)],
)
def test_versions(text: str, version: tuple[int, int] | None) -> None:
    """The first two numbers count."""
    assert parse_version(text) == version


def test_a_program_that_is_not_there() -> None:
    """It gives no exit code."""
    assert run(("gai-no-such-program",)) == Ran(None)


def test_a_program_that_is_there() -> None:
    """Its output and exit code are given."""
    assert run(("sh", "-c", "echo hello; exit 3")) == Ran(3, "hello\n")
