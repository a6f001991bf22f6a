"""The events of a part that goes on where another was lost."""

from typing import Any

import msgspec
import pytest

from garage_ai.network.continued import (
    Before,
    ContinuedReader,
    identity_of,
    last_events,
    remainders,
)
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import Usage
from garage_ai.network.replies import DONE

FIRST = b'data: {"id":"c1","created":5,"model":"m","choices":[]}'


def event(text: str | None = None, **fields: Any) -> bytes:
    """Write an event of another stream, with a role in its delta as some engines write it."""
    delta = {"role": "assistant"} | ({} if text is None else {"content": text})
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    whole = {"id": "c2", "created": 9, "model": "other", "choices": [choice]} | fields
    return b"data: " + msgspec.json.encode(whole) + b"\n\n"


STOP = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = event(choices=[], usage={"prompt_tokens": 20, "completion_tokens": 4, "more": {"x": 1}})


def reader(
    *, include_usage: bool = True, said: int = 3, prompt: int | None = None, stops: Any = ()
) -> ContinuedReader:
    """Go on after three tokens."""
    before = Before(identity_of(FIRST), said, prompt, stops)
    return ContinuedReader(include_usage, before=before)


def read(data: bytes) -> list[Any]:
    """Decode events."""
    parts = data.removesuffix(b"\n\n").split(b"\n\n") if data else []
    return [msgspec.json.decode(part.removeprefix(b"data: ")) for part in parts]


def test_events_bear_the_first_parts_identity_and_no_role() -> None:
    """One id, one moment, one model; a delta that only said the role is left out."""
    given = reader()
    assert given.feed(event() + event("")) == b""
    [told] = read(given.feed(event("hej", system_fingerprint="f")))
    assert (told["id"], told["created"], told["model"]) == ("c1", 5, "m")
    assert told["choices"][0]["delta"] == {"content": "hej"}
    assert told["system_fingerprint"] == "f"
    assert given.text == ["hej"]


def test_what_the_first_part_did_not_say_is_not_said_later() -> None:
    """An engine without ids keeps a stream without ids."""
    given = ContinuedReader(include_usage=False, before=Before(identity_of(b'data: {"id":"c"}'), 1))
    [told] = read(given.feed(event("a")))
    assert told["id"] == "c"
    assert not {"created", "model"} & told.keys()


@pytest.mark.parametrize(
    ("said", "prompt", "expected"),
    [(3, None, (17, 7, 24)), (3, 11, (11, 7, 18)), (50, None, (0, 54, 54))],
)
def test_usage_is_that_of_the_whole(
    said: int, prompt: int | None, expected: tuple[int, int, int]
) -> None:
    """What this engine read as prompt but was answer counts once, as answer."""
    given = reader(said=said, prompt=prompt)
    [told] = read(given.feed(USAGE))
    assert tuple(told["usage"].values()) == expected
    assert given.seen.usage == Usage(20, 4)


def test_usage_nobody_asked_for() -> None:
    """It is counted and not told."""
    given = reader(include_usage=False)
    assert given.feed(USAGE) == b""
    assert given.seen.usage == Usage(20, 4)


def test_an_engine_that_says_usage_null() -> None:
    """It stays null."""
    [told] = read(reader().feed(event("a", usage=None)))
    assert told["usage"] is None


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (["END"], "the E", ("ND",)),
        (["END"], "the EN", ("D",)),
        (["aab"], "aa", ("ab", "b")),
        (["END", "\n\n"], "x\n", ("\n",)),
        (["END"], "END", ()),
        (["E"], "E", ()),
        ([], "E", ()),
    ],
)
def test_what_must_follow_for_a_stop(
    stops: list[str], text: str, expected: tuple[str, ...]
) -> None:
    """Every beginning of a stop string at the end of the text counts."""
    assert remainders(stops, text) == expected


@pytest.mark.parametrize("pieces", [["ND more"], ["N", "D"], ["", "N", "Dx"]])
def test_a_stop_string_over_the_cut_ends_the_answer(pieces: list[str]) -> None:
    """Nothing of it is given; the answer is whole, with reason `stop` and the usage as known."""
    given = reader(prompt=11, stops=("ND",))
    out = b"".join(given.feed(event(piece)) for piece in pieces)
    end, usage = read(out)
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert (end["id"], end["object"]) == ("c1", "chat.completion.chunk")
    assert usage["usage"]["prompt_tokens"] == 11
    assert given.whole
    assert given.text == []
    assert given.feed(event("more")) == b""
    assert given.finish() == DONE


@pytest.mark.parametrize("end", [event("x"), STOP])
def test_a_stop_string_that_did_not_come(end: bytes) -> None:
    """What was held back goes on, in order, as soon as it is plain."""
    given = reader(stops=("ND",))
    assert given.feed(event("N")) == b""
    assert not given.has_content
    texts = [each["choices"][0]["delta"].get("content") for each in read(given.feed(end))]
    assert texts[0] == "N"
    assert len(texts) == 2
    assert given.text[0] == "N"
    assert given.seen.content_events == len(given.text)
    assert read(given.feed(event("ND")))[0]["choices"][0]["delta"]["content"] == "ND"


@pytest.mark.parametrize(
    "hostile",
    [
        b'data: {"choices":[{"delta":null,"role":1,"finish_reason":null}]}\n\n',
        b'data: {"choices":[],"usage":{},"\xff":1}\n\n',
        b'data: {"id":[[[]]],"choices":[{"delta":{"role":{}}}]}\n\n',
        b'data: {"choices":[{"delta":{"\xff":1,"role":"a","content":"x"}}]}\n\n',
    ],
)
def test_hostile_events(hostile: bytes) -> None:
    """They are passed, dropped or refused; nothing else is raised."""
    for include_usage in (True, False):
        given = reader(include_usage=include_usage)
        try:
            given.feed(hostile)
        except BadNodeReply:
            continue
        assert read(given.feed(event("a")))


def test_a_first_node_does_not_make_the_events_of_others_large() -> None:
    """What it calls the stream stands in each of them: a megabyte there would be gigabytes here."""
    named = identity_of(b'data: {"id":"%b","created":5,"model":"m"}' % (b"x" * 1_000_000))
    assert sorted(named) == ["created", "model"]
    given = ContinuedReader(include_usage=False, before=Before(named, 1))
    asked = event("hej") * 100
    assert len(given.feed(asked)) < len(asked)


def test_an_identity_that_cannot_be_read() -> None:
    """Then there is none."""
    assert identity_of(b"") == {}
    assert identity_of(b'data: {"\xff":1}') == {}


def test_the_end_of_a_completion() -> None:
    """It has the shape of its route, and no usage where none is known."""
    [told] = read(last_events({}, "completions", "length", None))
    assert told == {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "", "finish_reason": "length"}],
    }
