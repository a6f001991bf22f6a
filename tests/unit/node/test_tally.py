"""What several choices used, said once."""

import json
from typing import Any

import pytest

from garage_ai.node.body import asked
from garage_ai.node.engines.gather import Gatherer
from garage_ai.node.engines.tally import MAX_EVENT, OneUsage, Tally
from garage_ai.node.errors import EngineProtocol

DONE = b"data: [DONE]\n\n"


def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    """Write an event as llama.cpp does."""
    told = {"choices": choices, "id": "c1", "object": "chat.completion.chunk"} | more
    return b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n"


def used(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    return {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def word(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


CHAT = (
    event([word(1, "b")])
    + event([word(0, "a")])
    + event([word(1, "", "length")])
    + event([], usage=used(36, 4, 2), timings={"prompt_n": 36})
    + event([word(0, "", "stop")])
    + event([], usage=used(36, 3, 2), timings={"prompt_n": 36})
    + DONE
)
"""Two choices, as llama.cpp streams them: each says what it used."""

PROMPTS = (
    b"data: null\n\n"
    + event([{"index": 1, "text": "er", "finish_reason": None}], object="text_completion")
    + event([{"index": 1, "text": "", "finish_reason": "length"}], usage=used(2, 1))
    + event([{"index": 0, "text": "", "finish_reason": "length"}], usage=used(4, 0))
    + DONE
)
"""Two prompts: usage stands beside the last words, and the stream begins with a null."""


def joined(stream: bytes, choices: int, step: int = 1 << 20) -> bytes:
    usage = OneUsage(choices)
    parts = [stream[start : start + step] for start in range(0, len(stream), step)]
    return b"".join(map(usage.feed, parts)) + usage.rest()


def told(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(part[6:]) for part in stream.split(b"\n\n") if part.startswith(b"data: {")]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_choices_are_added_up_and_their_prompt_counts_once(step: int) -> None:
    """One event of usage comes before the end, however the stream is cut; words stay."""
    stream = joined(CHAT, 2, step)
    *words, last = told(stream)
    assert last["choices"] == []
    assert last["usage"] == used(36, 7, 2)
    assert last["timings"] == {"prompt_n": 36}
    assert all("usage" not in each for each in words)
    assert stream.startswith(event([word(1, "b")]) + event([word(0, "a")]))
    assert stream.endswith(b"\n\n" + DONE)


def test_every_prompt_counts() -> None:
    """Prompts of one request are different and all counted; the null in front goes nowhere."""
    stream = joined(PROMPTS, 1)
    *words, last = told(stream)
    assert last["usage"] == used(6, 1)
    assert [choice["index"] for each in words for choice in each["choices"]] == [1, 1, 0]
    assert all("usage" not in each for each in words)
    assert b"null\n\n" not in stream


def test_a_plain_answer_counts_all_its_choices() -> None:
    """What is put together of a stream says the same as the stream."""
    for stream, choices, route, usage in (
        (CHAT, 2, "chat", used(36, 7, 2)),
        (PROMPTS, 1, "completions", used(6, 1)),
    ):
        gatherer = Gatherer(route, choices)  # type: ignore[arg-type]
        gatherer.feed(stream, 0.0)
        assert json.loads(gatherer.whole())["usage"] == usage


def test_a_stream_that_breaks_off_says_what_it_used() -> None:
    """What was counted before the end is not held back for ever."""
    assert told(joined(event([], usage=used(5, 2)), 1))[-1]["usage"] == used(5, 2)
    assert joined(event([word(0, "a")]) + b"data: {", 1) == event([word(0, "a")]) + b"data: {"


def test_words_about_usage_are_no_usage() -> None:
    """A text that holds the word passes as it is."""
    text = event([word(0, 'say "usage": 5')])
    assert joined(text + DONE, 2) == text + DONE


def test_what_cannot_be_counted_is_left_alone() -> None:
    """Odd figures break nothing."""
    tally = Tally(2)
    tally.add(None)
    assert tally.total() is None
    tally.add({"prompt_tokens": "many", "completion_tokens": 3})
    tally.add({"prompt_tokens": "many", "completion_tokens": 4})
    assert tally.total() == {"prompt_tokens": "many", "completion_tokens": 7}


@pytest.mark.parametrize("bad", [b'data: {"usage" 5\n\n', b"x" * (MAX_EVENT + 1)])
def test_what_cannot_be_read_is_the_engines_fault(bad: bytes) -> None:
    """The error is one that a request can end with."""
    with pytest.raises(EngineProtocol):
        OneUsage(1).feed(bad)


@pytest.mark.parametrize(
    ("body", "choices", "several"),
    [
        (b'{"messages":[]}', 1, False),
        (b'{"n":null}', 1, False),
        (b'{"n":3}', 3, True),
        (b'{"prompt":"a"}', 1, False),
        (b'{"prompt":["a","b"]}', 1, True),
        (b'{"prompt":["a","b"],"n":2}', 2, True),
        (b'{"n":"x"}', 1, False),
        (b'{"n":-4}', 1, False),
    ],
)
def test_reads_how_much_is_asked_for(body: bytes, choices: int, several: bool) -> None:
    """Choices of one prompt and several prompts are told apart."""
    found = asked(body)
    assert (found.choices, found.several) == (choices, several)
