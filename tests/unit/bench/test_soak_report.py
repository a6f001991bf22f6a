"""From readings of processes to slopes and verdicts."""

import os
from datetime import UTC, datetime

import pytest
from bench.report import Machine
from bench.soak_report import MIB, Process, Reading, SoakReport, growth, read_process, verdicts

MACHINE = Machine(datetime.now(UTC), "cpu", 2, "3.11", "6", (0.0, 0.0, 0.0))


def reading(requests: int, mib: float, *, descriptors: int = 10, open_: float = 0) -> Reading:
    gateway = Process(int(mib * MIB), descriptors, 3)
    return Reading(requests, {"gateway": gateway}, {"gai_requests_running": open_})


def report(readings: list[Reading], running: int = 0) -> SoakReport:
    return SoakReport(MACHINE, 100, 5, 0, [], readings, running, 5)


def test_memory_that_finds_its_size_is_flat() -> None:
    """Growth while caches fill is not judged."""
    warm = [reading(n * 1000, 50 + min(n, 4) * 20) for n in range(40)]
    assert growth(warm, "gateway") == pytest.approx(0.0)


def test_a_leak_is_told_for_a_hundred_thousand_requests() -> None:
    """One KiB a request is about 98 MiB, whatever one stray reading says."""
    leaking = [reading(n * 1000, 50 + n * 1000 / 1024) for n in range(40)]
    leaking[20] = reading(20_000, 500)
    assert growth(leaking, "gateway") == pytest.approx(100_000 / 1024, rel=0.05)


def test_a_clean_run_meets_every_bound() -> None:
    """The same before and after is what is wanted."""
    same = [reading(n * 10_000, 50) for n in range(10)]
    assert all(verdict.met for verdict in verdicts(report(same)))
    assert any("memory" in verdict.name for verdict in verdicts(report(same)))


def test_a_short_run_does_not_judge_memory() -> None:
    """A slope over three thousand requests would judge the warm-up."""
    same = [reading(n * 300, 50 + n) for n in range(10)]
    assert not any("memory" in verdict.name for verdict in verdicts(report(same)))


@pytest.mark.parametrize(
    ("last", "running", "what"),
    [
        (reading(9000, 50, descriptors=11), 0, "descriptors"),
        (reading(9000, 50, open_=1), 0, "gai_requests_running"),
        (reading(9000, 50), 1, "engine slots"),
    ],
)
def test_what_is_left_behind_is_named(last: Reading, running: int, what: str) -> None:
    """A descriptor, a request or a slot that stays is a verdict of its own."""
    missed = [v for v in verdicts(report([reading(0, 50), last], running)) if not v.met]
    assert [what in verdict.name for verdict in missed] == [True]


def test_a_process_is_read_from_outside() -> None:
    """Memory, descriptors and threads of a live process are counted."""
    own = read_process([os.getpid()])
    assert own.rss > MIB
    assert own.descriptors >= 3
    assert own.threads >= 1
