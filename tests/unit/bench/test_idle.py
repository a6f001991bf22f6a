"""What an idle agent may take."""

from bench.idle import Watched, verdicts


def test_the_agent_as_it_comes_is_held_to_the_bounds() -> None:
    """Not the one with every limit set: that is its owner's choice."""
    small, large = Watched("a", 60, 0.004, 60_000_000), Watched("b", 60, 0.5, 200_000_000)
    assert [verdict.met for verdict in verdicts([small, large])] == [True, True]
    assert [verdict.met for verdict in verdicts([large, small])] == [False, False]
