"""From samples to figures and verdicts."""

import pytest
from bench.overhead_report import Round, added, ratio, summarise, verdicts
from bench.quantiles import median, quantile, summary
from bench.report import Verdict


def one(number: int, contender: str, cell: str, *, rate: float = 1.0, p50: float = 1.0) -> Round:
    return Round(
        number=number,
        contender=contender,
        cell=cell,
        requests=10,
        errors=0,
        first_errors=[],
        rate=rate,
        p50_ms=p50,
        p99_ms=p50 * 2,
        first_p50_ms=p50,
        cpu_us={"mock engine": 10.0 * number},
    )


def test_quantiles_of_nothing_are_zero() -> None:
    """An empty cell is told as zeros, not as a crash."""
    assert summary([]).p99 == median([]) == quantile([], 0.5) == 0.0


def test_quantiles_do_not_need_order() -> None:
    """Samples are ordered before they are counted."""
    samples = [float(n) for n in range(100, 0, -1)]
    found = summary(samples)
    assert (found.p50, found.p99, found.worst, found.mean) == (51.0, 100.0, 100.0, 50.5)


def test_added_time_is_paired_inside_a_round() -> None:
    """A round in which the machine was slow for both adds nothing to the difference."""
    rounds = [
        one(0, "direct", "c", p50=1.0),
        one(0, "garage", "c", p50=2.0),
        one(1, "direct", "c", p50=101.0),
        one(1, "garage", "c", p50=102.0),
        one(2, "garage", "c", p50=500.0),
    ]
    assert added(rounds, "c", "garage", lambda r: r.p50_ms) == 1.0


def test_ratio_is_none_when_the_other_was_not_there() -> None:
    """A peer that is not installed gives no ratio rather than a wrong one."""
    rounds = [one(0, "garage", "c", rate=10), one(0, "direct", "c", rate=40)]
    assert ratio(rounds, "c", "garage", "vllm-router") is None
    assert ratio(rounds, "c", "garage", "direct") == 0.25


def test_cpu_is_averaged_by_requests() -> None:
    """CPU is counted in ticks of 10 ms, so rounds are summed before they are divided."""
    rounds = [one(number, "direct", "c") for number in (1, 2, 3)]
    assert summarise(rounds)[0].cpu_us == {"mock engine": pytest.approx(20.0)}


def test_garage_ai_is_held_against_its_bounds() -> None:
    """The way through the network is judged against the router, and the books against that."""
    rounds = [
        one(0, name, cell, rate=rate, p50=p50)
        for cell in ("plain x1", "plain x16", "stream x16")
        for name, rate, p50 in (
            ("direct", 100.0, 0.5),
            ("vllm-router", 10.0, 1.0),
            ("unbilled", 4.0, 1.5),
            ("garage", 3.0, 1.7),
        )
    ]
    met = [verdict.met for verdict in verdicts(rounds)]
    assert met == [True, True, False, True, False, False]
    assert verdicts([r for r in rounds if r.contender != "unbilled"]) == []


def test_a_verdict_reads_as_a_sentence() -> None:
    """What was measured, against what, and whether it was kept."""
    kept = Verdict("added p50", 1.234, "ms", 1.5, "at most")
    assert str(kept) == "added p50: 1.23 ms (at most 1.5 ms): met"
    assert "MISSED" in str(Verdict("share", 0.1, "", 0.21, "at least"))
