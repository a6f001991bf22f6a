"""From pairs and segments of the real model to verdicts."""

from bench.real_report import Pair, Segment, summarise, verdicts


def segment(number: int, way: str, clients: int, tokens: float) -> Segment:
    return Segment(number, way, clients, 8, [], tokens, tokens, 100.0)


def test_throughput_is_compared_inside_a_round() -> None:
    """A slow round for both ways does not make the network look slow."""
    segments = [
        segment(0, "direct", 8, 100.0),
        segment(0, "garage", 8, 98.0),
        segment(1, "direct", 8, 50.0),
        segment(1, "garage", 8, 49.0),
    ]
    assert [cell.share for cell in summarise(segments)] == [1.0, 0.98]
    assert verdicts([Pair(100.0, 104.0)], segments)[0].met


def test_the_median_of_differences_is_judged_and_not_the_difference_of_medians() -> None:
    """Each pair is one comparison."""
    pairs = [Pair(100.0, 105.0), Pair(200.0, 204.0), Pair(300.0, 390.0)]
    share, added, first = verdicts(pairs, [])
    assert (share.met, added.value, first.value) == (False, 5.0, 390.0)
