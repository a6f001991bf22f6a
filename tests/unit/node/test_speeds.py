"""How fast the engine is, by what goes past."""

import pytest

from garage_ai.node.speeds import LEAST_EVENTS, Pace, Speeds

TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def timings(tokens: int, ms: float) -> bytes:
    said = f'data: {{"choices":[],"timings":{{"prompt_n":{tokens},"prompt_ms":{ms}}}}}'
    return said.encode() + b"\n\n"


def paced(reads: int, step: float, end: bytes = DONE, each: bytes = TOKEN) -> Pace:
    pace = Pace()
    for number in range(reads):
        pace.read(each, number * step)
    pace.read(end, reads * step + 100, last=True)
    return pace


def test_counts_events_between_first_and_last_read() -> None:
    """The first read starts the clock; the one that ends the stream counts for nothing."""
    assert paced(11, 0.05).decode == pytest.approx(20)


def test_counts_events_that_come_together() -> None:
    """Several events of one read are several tokens."""
    assert paced(5, 0.1, each=TOKEN * 3).decode == pytest.approx(30)


def test_counts_all_tokens_whatever_their_pace() -> None:
    """Those of the first read too, and those of a stream that waited for its reader."""
    pace = Pace()
    pace.read(TOKEN * 3, 0.0)
    pace.stalled()
    pace.read(TOKEN, 1.0)
    pace.read(TOKEN + DONE, 2.0, last=True)
    assert pace.tokens == 4


@pytest.mark.parametrize(("reads", "step"), [(LEAST_EVENTS, 1.0), (40, 0.001), (1, 1.0), (0, 1.0)])
def test_a_short_stream_tells_nothing(reads: int, step: float) -> None:
    """Too few events, or too little time, is no measurement."""
    assert paced(reads, step).decode == 0


def test_a_read_without_a_whole_event_is_none() -> None:
    """Bytes held back for their border move no clock."""
    pace = paced(11, 0.05)
    pace.read(b"", 99.0)
    assert pace.decode == pytest.approx(20)


def test_a_slow_reader_is_not_the_engines_fault() -> None:
    """A stream that waited for credit says nothing about decoding."""
    pace = paced(11, 0.05)
    pace.stalled()
    assert pace.decode == 0


@pytest.mark.parametrize("end", [timings(100, 250.0) + DONE, timings(100, 250.0)])
def test_takes_the_engines_word_for_the_prompt(end: bytes) -> None:
    """llama.cpp tells it in the last event or just before."""
    pace = Pace()
    pace.read(end, 1.0, last=False)
    pace.read(DONE, 1.0, last=True)
    assert pace.prefill == pytest.approx(400)


@pytest.mark.parametrize(
    "end",
    [
        DONE,
        timings(3, 20.0),
        timings(100, 0),
        b'data: {"choices":[{"delta":{"content":"\\"prompt_n\\":99,\\"prompt_ms\\":1.0"}}]}\n\n',
    ],
)
def test_invents_no_speed_of_prompts(end: bytes) -> None:
    """Not said, said of a few tokens only, or said by the model itself: not measured."""
    assert paced(2, 1.0, end).prefill == 0


def test_keeps_a_mean_that_leans_to_the_latest() -> None:
    """The first stream is the mean, later ones pull it by a fifth; short ones leave it."""
    speeds = Speeds()
    assert (speeds.decode, speeds.prefill) == (0, 0)
    speeds.take(paced(11, 0.05, timings(100, 250.0)))
    speeds.take(paced(3, 0.05))
    assert (speeds.decode, speeds.prefill) == (20.0, 400.0)
    speeds.take(paced(11, 0.1, timings(160, 300.0)))
    assert (speeds.decode, speeds.prefill) == (18.0, 426.7)
