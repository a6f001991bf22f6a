"""Our histograms say what prometheus-client's own would say."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.gateway.histograms import Histogram

BOUNDS = (0.001, 0.01, 1, 16, 1024.5)
VALUES = st.floats(0, 1e6) | st.sampled_from(BOUNDS) | st.integers(0, 2000)


@given(seen=st.lists(st.tuples(st.sampled_from(["a", 'b"\\n']), VALUES), max_size=30))
def test_as_the_library_would(seen: list[tuple[str, float]]) -> None:
    """Whatever values come under whatever labels, the text of a scrape is the same."""
    theirs = prometheus_client.CollectorRegistry()
    mine = Histogram("taken", "A test.", ("kind", "other"), bounds=BOUNDS)
    reference = prometheus_client.Histogram(
        "taken", "A test.", ("kind", "other"), buckets=BOUNDS, registry=theirs
    )
    for kind, value in seen:
        mine.labels(kind, "x").observe(value)
        reference.labels(kind, "x").observe(value)
    text = prometheus_client.generate_latest(theirs).decode()
    # The moment at which a series began comes as a series of its own.
    expected = [line for line in text.splitlines() if "taken_created" not in line]
    assert mine.text().splitlines() == expected


def test_many_as_the_library_would() -> None:
    """Counts of millions are written as the library writes them."""
    theirs = prometheus_client.CollectorRegistry()
    mine = Histogram("taken", "A test.", (), bounds=BOUNDS)
    reference = prometheus_client.Histogram("taken", "A test.", buckets=BOUNDS, registry=theirs)
    mine.labels().counts[0] = 1_250_000
    reference._buckets[0].inc(1_250_000)
    bucket = 'taken_bucket{le="0.001"} 1.25e+06'
    assert bucket in prometheus_client.generate_latest(theirs).decode()
    assert bucket in mine.text()
