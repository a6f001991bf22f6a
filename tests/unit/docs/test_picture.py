"""The one picture of the path."""

import re
import xml.etree.ElementTree as ET

from tests.parts.tree import ROOT

from garage_ai.wire.frames import MAX_PACKET
from garage_ai.wire.window import WINDOW

PICTURE = ROOT / "docs/explanation/path.svg"
NAMESPACE = "{http://www.w3.org/2000/svg}"


def words() -> list[str]:
    """Give all texts of the picture."""
    tree = ET.parse(PICTURE)  # noqa: S314 - our own file
    return ["".join(text.itertext()) for text in tree.iter(f"{NAMESPACE}text")]


def test_picture_can_be_heard_as_well() -> None:
    """It has a title and a description for those who do not see it."""
    root = ET.parse(PICTURE).getroot()  # noqa: S314 - our own file
    assert root.get("role") == "img"
    for name in ("title", "desc"):
        found = root.find(f"{NAMESPACE}{name}")
        assert found is not None
        assert found.text
        assert str(found.get("id")) in str(root.get("aria-labelledby")).split()


def test_picture_loads_nothing_and_runs_nothing() -> None:
    """No script, no picture or font from elsewhere."""
    text = PICTURE.read_text()
    assert re.search(r"<script|<image|<foreignObject|href|url\(|@import", text) is None


def test_picture_is_drawn_for_light_and_dark() -> None:
    """Every class that has a colour in the light has one in the dark."""
    style = PICTURE.read_text().partition("<style>")[2].partition("</style>")[0]
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert coloured(light) == coloured(dark) != set()


def coloured(style: str) -> set[str]:
    """Name the classes that are given a colour."""
    rules = re.findall(r"([^{}]+)\{([^{}]*#[0-9a-f]{6}[^{}]*)\}", style)
    return {name for chosen, _ in rules for name in re.findall(r"\.([a-z-]+)", chosen)}


def test_figures_are_those_of_the_code() -> None:
    """Sizes in the picture are the limits of the wire."""
    sizes = {int(size) for text in words() for size in re.findall(r"(\d+) KiB", text)}
    assert sizes == {MAX_PACKET // 1024, WINDOW // 1024}


def test_every_number_is_explained() -> None:
    """Each step stands once on the path and once below it."""
    numbers = [text for text in words() if text.isdigit()]
    assert sorted(numbers) == sorted([str(n) for n in range(1, 9)] * 2)
