"""The router's choice, timed."""

from bench.choice import measure_choices


def test_every_situation_is_timed() -> None:
    """Each situation finds a replica each time and gives its two quantiles in order."""
    choices = measure_choices(nodes=50, samples=20)
    assert len({choice.situation for choice in choices}) == 3
    assert all(0 < choice.p50_us <= choice.p99_us for choice in choices)
