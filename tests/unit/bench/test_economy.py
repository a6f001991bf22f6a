"""The simulated network: a small one for a short while, by the same rules as the large one."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench.economy import EconomyReport, draw, measure
from bench.economy_run import Year
from bench.economy_svg import Curve, lines
from bench.economy_world import Plan
from tests.parts.tree import ROOT

from garage_ai.ledger.models import GAI
from garage_ai.ledger.rewards import Rules

SMALL = Plan(members=60, days=33, lenders=60, cheats=1)


@pytest.fixture(scope="module")
def report() -> EconomyReport:
    return measure(SMALL)


def test_the_books_add_up_whatever_happens(report: EconomyReport) -> None:
    """The sum of all accounts is nothing, and every verdict but those of chance is kept."""
    kept = {verdict.name: verdict.met for verdict in report.verdicts}
    assert kept["books: sum of all accounts"]
    assert kept["self-dealing: what comes back of a GAI"]
    assert kept["free riding: used, per GAI granted"]
    assert kept["idle node that nobody asks: earned in a month"]


def test_the_same_seed_lives_the_same_month() -> None:
    """What a report says can be had again."""
    first, second = Year(SMALL), Year(SMALL)
    assert first.run().supply == second.run().supply
    assert first.balance == second.balance


def test_another_rule_gives_another_world() -> None:
    """The rules are those of the ledger, not a copy: a larger grant is minted."""
    rules = Rules(grant=type(Rules().grant)(20 * GAI))
    assert Year(SMALL, rules).run().minted["grant"] > 2 * Year(SMALL).run().minted["grant"]


def test_pictures_are_whole_and_load_nothing(report: EconomyReport, tmp_path: Path) -> None:
    """Three of them, as they lie beside the page on the economy."""
    draw(report, tmp_path)
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn == sorted(path.name for path in (ROOT / "docs").glob("economy-*.svg"))
    for path in [*tmp_path.glob("*.svg"), *(ROOT / "docs").glob("economy-*.svg")]:
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own file
        assert "href" not in path.read_text()


def test_a_picture_of_nothing_is_a_picture(tmp_path: Path) -> None:
    """Curves at zero divide by nothing."""
    lines("Nothing", "day", "GAI", [Curve("none", [(0, 0.0)])], tmp_path / "none.svg")
    assert "Nothing" in (tmp_path / "none.svg").read_text()
