"""From gaps to verdicts."""

from datetime import UTC, datetime

from bench.moves_report import Gaps, MovesReport, gaps_of, verdicts
from bench.report import Machine

MACHINE = Machine(datetime.now(UTC), "cpu", 2, "3.11", "6", (0.0, 0.0, 0.0))


def report(gaps: list[float], failed: int = 0, planned: float = 0.02) -> MovesReport:
    told = {"all": gaps_of(gaps), "planned": gaps_of([planned] * 10)}
    return MovesReport(MACHINE, 50, failed, [], 4, told, gaps_of(gaps))


def test_gaps_are_summed_up_in_any_order() -> None:
    """p95 is the gap that one in twenty is longer than."""
    seconds = [number / 100 for number in range(100)]
    assert gaps_of(seconds[::-1]) == Gaps(100, 0.5, 0.95, 0.99)
    assert gaps_of([]) == Gaps(0, 0.0, 0.0, 0.0)


def test_a_good_run_meets_every_bound() -> None:
    """Enough moves, none failed, gaps short."""
    assert all(verdict.met for verdict in verdicts(report([0.1] * 30), 30))


def test_a_planned_move_is_held_to_less() -> None:
    """The next node has begun before the last one ends; a run without such moves shows nothing."""
    slow = report([0.3] * 30, planned=0.3)
    assert [v.name for v in verdicts(slow, 30) if not v.met] == ["gap of a planned move, p95"]
    del slow.gaps["planned"]
    assert [v.name for v in verdicts(slow, 30) if not v.met] == ["planned moves"]


def test_what_is_missed_is_named() -> None:
    """A failure, too few moves and long gaps are verdicts of their own."""
    missed = [v.name for v in verdicts(report([0.1] * 9 + [5.0], failed=1), 30) if not v.met]
    assert missed == [
        "streams that failed",
        "moves",
        "gap, p95",
        "gap as clients heard it, p95",
    ]
