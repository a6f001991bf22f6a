"""From the moments of streams to figures."""

import msgspec
import pytest

from garage_ai.node.bench.timing import Timing, level_of
from garage_ai.wire.benchmarks import Level


def test_one_stream() -> None:
    """Eleven tokens, ten of them in a second after the first, of a prompt read in half a second."""
    level = level_of(1, [[Timing(10.0, 10.5, 11.5, prompt=100, tokens=11)]])
    assert level is not None
    assert (level.decode, level.prefill) == (10.0, 200.0)
    assert (level.ttft, level.ttft_worst) == (0.5, 0.5)
    assert (level.streams, level.answered, level.failed) == (1, 1, 0)


def test_streams_together() -> None:
    """All tokens over the time from the first of any to the last of any."""
    one = Timing(0.0, 1.0, 3.0, prompt=50, tokens=21)
    two = Timing(0.0, 2.0, 5.0, prompt=50, tokens=21)
    level = level_of(2, [[one, two]])
    assert level is not None
    assert (level.decode, level.prefill) == (10.0, 50.0)
    assert (level.ttft, level.ttft_worst) == (1.5, 2.0)


def test_the_engines_own_word_of_one_prompt_counts() -> None:
    """It knows what it read; of several prompts at a time it knows only one by one."""
    alone = Timing(0.0, 1.0, 2.0, prompt=100, tokens=11, prefill=400.0)
    single, double = level_of(1, [[alone]]), level_of(2, [[alone, alone]])
    assert single is not None
    assert double is not None
    assert (single.prefill, double.prefill) == (400.0, 200.0)


def test_the_median_of_rounds() -> None:
    """One slow round does not spoil the others."""
    rounds = [[Timing(0.0, 1.0, 1.0 + seconds, tokens=11)] for seconds in (1.0, 1.0, 10.0)]
    level = level_of(1, rounds)
    assert level is not None
    assert level.decode == 10.0


def test_streams_without_an_answer_are_counted() -> None:
    """They give no figure, and are not passed over in silence."""
    level = level_of(2, [[Timing(0.0, 1.0, 2.0, tokens=11), Timing(0.0)]])
    assert level is not None
    assert (level.answered, level.failed, level.decode) == (1, 1, 10.0)


def test_what_no_engine_can_do_was_not_measured() -> None:
    """An absurd count of tokens, or speed of a prompt, leaves a result that can be kept."""
    absurd = Timing(0.0, 1.0, 1.1, prompt=100, tokens=1 << 40, prefill=1e12)
    sane = Timing(0.0, 1.0, 2.0, prompt=100, tokens=11, prefill=400.0)
    alone, among = level_of(1, [[absurd]]), level_of(1, [[absurd], [sane], [absurd]])
    assert alone is not None
    assert among is not None
    assert (alone.decode, alone.prefill) == (0.0, 0.0)
    assert (among.decode, among.prefill) == (10.0, 400.0)
    assert msgspec.json.decode(msgspec.json.encode(alone), type=Level) == alone


@pytest.mark.parametrize("rounds", [[], [[Timing(0.0)]], [[Timing(0.0)], [Timing(1.0)]]])
def test_no_answer_at_all_is_no_level(rounds: list[list[Timing]]) -> None:
    """Nothing measured is not zero."""
    assert level_of(1, rounds) is None


def test_a_single_token_tells_no_speed() -> None:
    """There is no time between one token and itself."""
    level = level_of(1, [[Timing(0.0, 1.0, 1.0, tokens=1)]])
    assert level is not None
    assert level.decode == 0.0
