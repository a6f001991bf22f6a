"""No order of honest requests flags a node, and no liar of some size gets away."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.ledger.figures import FEWEST, SHARE, TOKENS, WINDOW, FigureJudge, Figures

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_server" / "figures.json"
"""What llama.cpp said of SmolLM2's answers, in languages and at temperatures, and their recount."""

REAL = [Figures(*each) for each in json.loads(RECORDED.read_text())]


@st.composite
def honest(draw: st.DrawFn) -> Figures:
    """An honest engine's: the end's token, and words in other pieces than the tokenizer's."""
    prompt = draw(st.integers(0, 100_000))
    counted = draw(st.integers(0, 20_000))
    otherwise = draw(st.integers(0, int(counted * SHARE / 2)))
    ends = draw(st.integers(0, TOKENS // 2))
    return Figures(prompt, counted + otherwise + ends, prompt, counted)


@st.composite
def inflated(draw: st.DrawFn) -> Figures:
    """A liar's: a tenth more, and some tokens at least."""
    counted = draw(st.integers(0, 20_000))
    return Figures(50, counted + max(TOKENS + 1, counted // 10), 50, counted)


@given(st.lists(honest() | st.sampled_from(REAL), max_size=3 * WINDOW))
@settings(max_examples=60, deadline=None)
def test_honest_engines_are_not_flagged(requests: list[Figures]) -> None:
    """Whatever was asked of them, at any time."""
    judge = FigureJudge()
    for each in requests:
        judge.saw("n", "d", each)
        assert not judge.standing("n", "d").flagged


@given(st.lists(st.sampled_from(REAL), max_size=WINDOW), st.data())
@settings(max_examples=60, deadline=None)
def test_a_liar_is_flagged(before: list[Figures], data: st.DataObject) -> None:
    """Within as many requests as it takes to judge anybody, however honest it was before."""
    judge = FigureJudge()
    for each in before:
        judge.saw("n", "d", each)
    for _ in range(FEWEST):
        judge.saw("n", "d", data.draw(inflated()))
    assert judge.standing("n", "d").flagged
