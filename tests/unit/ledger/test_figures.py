"""Whose token figures are wrong is flagged, and who is honest is not."""

from garage_ai.ledger.figures import FEWEST, WINDOW, FigureJudge, Figures

HONEST = Figures(100, 51, 100, 50)
INFLATED = Figures(100, 60, 100, 50)


def judged(*figures: Figures) -> FigureJudge:
    """Judge a node by its requests."""
    judge = FigureJudge()
    for each in figures:
        judge.saw("n", "d", each)
    return judge


def test_small_differences_are_no_matter() -> None:
    """The token that ends an answer is counted by engines, and a share of long texts."""
    assert not Figures(100, 51, 100, 50).are_off
    assert not Figures(100, 1015, 100, 1000).are_off
    assert Figures(100, 1030, 100, 1000).are_off
    assert Figures(110, 50, 100, 50).are_off
    assert Figures(90, 50, 100, 50).are_off


def test_a_liar_is_flagged_after_some_requests() -> None:
    """Not by one; and only for the model on the node."""
    assert not judged(*[INFLATED] * (FEWEST - 1)).standing("n", "d").flagged
    judge = judged(*[INFLATED] * FEWEST)
    assert judge.standing("n", "d") == (FEWEST, FEWEST, True)
    assert judge.standing("n", "other") == judge.standing("m", "d") == (0, 0, False)
    assert judge.flagged == 1


def test_a_liar_now_and_then_is_flagged_too() -> None:
    """One request in five."""
    assert judged(*([HONEST] * 4 + [INFLATED]) * 20).standing("n", "d").flagged


def test_who_mends_is_cleared() -> None:
    """Not at once: more must be right than it took to be flagged."""
    judge = judged(*[INFLATED] * WINDOW)
    for _ in range(WINDOW - 6):
        judge.saw("n", "d", HONEST)
    assert judge.standing("n", "d").flagged
    judge.saw("n", "d", HONEST)
    assert not judge.standing("n", "d").flagged
