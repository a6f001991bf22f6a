"""What has changed since the last measurements."""

import msgspec
import pytest
from tests.unit.node.bench.test_history import measured

from garage_ai.cli.node_bench_words import bench_lines, drift_lines
from garage_ai.node.bench.budget import LONGEST, SHORTEST, TOTAL, level_seconds
from garage_ai.node.bench.drift import Change, Drift, Trend, changes, drift, latest
from garage_ai.wire.benchmarks import Benchmark


def with_level(**figures: float) -> Benchmark:
    run = measured(100.0)
    return msgspec.structs.replace(run, levels=(msgspec.structs.replace(run.levels[0], **figures),))


def test_only_what_is_notable_is_told() -> None:
    """A tenth is noise, a third is not; each number of streams by itself."""
    found = drift((measured(100.0, 300.0),), measured(110.0, 200.0))
    assert found == (Drift("decode", 4, 300.0, 200.0, -0.333),)


def test_only_like_is_compared() -> None:
    """Another model, engine or number of slots says nothing of drift."""
    before = measured(100.0), measured(10.0, engine="external"), measured(1.0, slots=2)
    (found,) = drift(before, measured(200.0))
    assert (found.before, found.change) == (100.0, 1.0)
    assert drift((), measured(200.0)) == ()
    assert drift((measured(0.0),), measured(200.0)) == ()


def test_one_bad_run_is_no_yardstick_and_slow_decay_is_seen() -> None:
    """The median of the last five: twelve per cent less each time is noticed by and by."""
    good = [measured(100.0)] * 4
    assert drift([*good, measured(30.0)], measured(97.0)) == ()
    slower = [measured(100.0 * 0.88**step) for step in range(5)]
    (found,) = drift(slower, measured(100.0 * 0.88**5))
    assert found.before == pytest.approx(100.0 * 0.88**2)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (with_level(prefill=500.0), with_level(prefill=600.0), False),
        (with_level(prefill=500.0), with_level(prefill=350.0), True),
        (with_level(ttft=0.01), with_level(ttft=0.03), False),  # within 50 ms
        (with_level(ttft=0.2), with_level(ttft=0.5), True),
        (measured(1.0, load=1.0), measured(1.0, load=2.9), False),  # within 2 s
        (measured(1.0, load=4.0), measured(1.0, load=60.0), True),
        (measured(1.0, watt_hours=1.0), measured(1.0, watt_hours=1.1), False),
        (measured(1.0, watt_hours=1.0), measured(1.0, watt_hours=1.5), True),
        (measured(1.0, memory=10**9), measured(1.0, memory=10**9 + 9 * 10**7), False),
        (measured(1.0, memory=10**9), measured(1.0, memory=2 * 10**9), True),
        (measured(1.0), measured(1.0, memory=2 * 10**9, watt_hours=1.0, load=9.0), False),
    ],
)
def test_each_figure_has_its_own_limit(before: Benchmark, now: Benchmark, told: bool) -> None:
    """What was not measured before is not compared."""
    assert bool(drift((before,), now)) is told


def test_what_else_has_changed_is_named() -> None:
    """Against the last run of its kind; what nobody told is no change."""
    before = measured(1.0, driver="570", engine_version="llamacpp 0.2", gpus=("a", "b"))
    now = measured(1.0, driver="580", engine_version="", gpus=("a", "c"))
    assert changes((before, measured(1.0, slots=1)), now) == (
        Change("driver", "570", "580"),
        Change("gpus", "a, b", "a, c"),
    )
    assert changes((), now) == ()


def test_drift_is_told_with_what_may_have_caused_it() -> None:
    """Nothing is said of a new driver that changed nothing."""
    slower = (Drift("decode", 4, 300.0, 200.0, -0.333),)
    driver = (Change("driver", "570", "580\x1b[31m"),)
    first, second = drift_lines(slower, driver)
    assert first == "-33% tokens/s at 4 streams against the last runs: 300 then, 200 now"
    assert second.startswith("since then the driver: 570 → 580")
    assert "\x1b" not in second
    assert list(drift_lines((), driver)) == []


def test_the_last_run_is_held_against_those_before_it() -> None:
    """Of the same model on the same engine, whatever was measured meanwhile."""
    before, now = measured(100.0, driver="570"), measured(50.0, driver="580")
    found = latest([before, now, measured(1.0, engine="vllm")], now.engine, now.digest)
    assert found == Trend(drift([before], now), (Change("driver", "570", "580"),))
    assert found.drift
    assert latest([], now.engine, now.digest) == Trend()


def test_what_was_not_measured_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate is called one, in both languages; nothing is made up."""
    bare = list(bench_lines(measured(1.0)))
    assert "memory: not measured" in bare
    assert any(line.startswith("watts: not measured") for line in bare)
    figures = {
        "load": 3.0,
        "memory": 5 * 10**9,
        "watts": 41.0,
        "watt_hours": 0.5,
        "round_trip": 0.02,
        "up": 1.25e6,
        "down": 1.25e7,
        "factor": 0.5,
    }
    full = measured(1.0, memory_on="cards", watts_by="rapl", **figures)
    monkeypatch.setattr("garage_ai.cli.node_bench_words.language", lambda: "sv")
    said = list(bench_lines(full))
    assert said == [
        "redo efter 3.0 s",
        "klass: 0.50 av ett RTX 3090 24 GB, efter publicerad bandbredd",
        "minne på korten: högst 5.0 GB, mätt här",
        "ungefär 41 W, en uppskattning: av processorns räkneverk (RAPL), för den ensam",
        "0.50 Wh för 1 000 token svar",
        "linje till gatewayen: 10.0 Mbit/s upp, 100.0 Mbit/s ned, 20.0 ms och åter",
    ]


def test_a_run_stays_within_three_minutes() -> None:
    """Slow engines get shorter levels; one that took long to load gets the least there is."""
    spent, given = 10.0, []
    for levels in (3, 2, 1):
        given.append(level_seconds(spent, levels))
        spent += given[-1]
    assert given == [LONGEST] * 3
    assert level_seconds(60.0, 3) < LONGEST
    assert level_seconds(500.0, 3) == SHORTEST
    for load in (0.0, 30.0, 60.0, 100.0):
        spent = load
        for levels in (3, 2, 1):
            spent += level_seconds(spent, levels)
        assert spent <= TOTAL
