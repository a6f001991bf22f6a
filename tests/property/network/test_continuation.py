"""Whatever the cuts, the client sees one sound stream."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.network.attempt import Verdict
from garage_ai.network.continuation import MAX_MOVES, Close, Continuation, Leg, Move
from garage_ai.network.continued import Before, ContinuedReader, identity_of
from garage_ai.network.errors import BadNodeReply
from garage_ai.network.events import Usage
from garage_ai.network.models import Life
from garage_ai.network.plan import GiveUp
from garage_ai.network.replies import EngineErrorEvent, StreamReader
from garage_ai.wire.frames import Route
from garage_ai.wire.ids import Digest, NodeId

DIGEST = Digest("sha256:" + "0" * 64)
PROMPT = "count "
PROMPT_TOKENS = 11
Way = Literal["lost", "ahead", "in vain"]

tokens = st.lists(st.text("abå\n", min_size=1, max_size=3), max_size=12)


@dataclass
class Engine:
    """Answers with given tokens, going on where a request leaves off; a token is an event.

    It looks for stop strings in what it says itself, and in nothing that was said before.
    """

    answer: list[str]
    told: int = 0
    made: list[str] = field(default_factory=list)

    def stream(self, route: Route, body: bytes, *, roles: bool) -> Iterator[bytes]:
        """Give events, the usage at last."""
        self.told += 1
        asked = msgspec.json.decode(body)
        before = _said_before(route, asked)
        rest = _after(self.answer, before)
        most = asked.get("max_tokens")
        said, new, last, finish = 0, "", "", "stop"
        if roles and route == "chat":
            yield self._event(route, None, role="assistant")
        for token in rest:
            if said == most:
                finish = "length"
                break
            said += 1
            place = (new + token).find(asked["stop"]) if asked.get("stop") else -1
            if place >= 0:
                last = token[: max(0, place - len(new))]
                break
            new += token
            yield self._event(route, token)
        # Its last text and its end share an event: they are one decision.
        yield self._event(route, last or None, finish=finish)
        prompt = PROMPT_TOKENS + len(self.answer) - len(rest)
        usage = {"prompt_tokens": prompt, "completion_tokens": said}
        yield self._written({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _event(
        self, route: Route, text: str | None, *, role: str | None = None, finish: str | None = None
    ) -> bytes:
        said: dict[str, Any] = {"text": text or ""}
        if route == "chat":
            delta = {"role": role, "content": text}
            said = {"delta": {name: value for name, value in delta.items() if value is not None}}
        return self._written({"choices": [{"index": 0, **said, "finish_reason": finish}]})

    def _written(self, fields: dict[str, Any]) -> bytes:
        identity = {"id": f"c{self.told}", "created": self.told, "model": f"m{self.told}"}
        return b"data: " + msgspec.json.encode(identity | fields) + b"\n\n"


def _said_before(route: Route, asked: dict[str, Any]) -> str:
    if route == "completions":
        return str(asked["prompt"].removeprefix(PROMPT))
    last = asked["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


def _after(answer: list[str], before: str) -> list[str]:
    """Give the tokens that follow a beginning; it always ends between two tokens."""
    for size in range(len(answer) + 1):
        if "".join(answer[:size]) == before:
            return answer[size:]
    raise AssertionError(f"{before!r} is no beginning of {answer}")


@dataclass
class Seen:
    """What the client got."""

    events: list[Any] = field(default_factory=list)
    done: int = 0

    @property
    def text(self) -> str:
        """The text of all events."""
        return "".join(
            choice.get("text") or choice.get("delta", {}).get("content") or ""
            for event in self.events
            for choice in event["choices"]
        )

    @property
    def ends(self) -> list[str]:
        """The reasons for which it ended."""
        choices = [choice for event in self.events for choice in event["choices"]]
        return [each["finish_reason"] for each in choices if each["finish_reason"]]

    def take(self, data: bytes) -> None:
        """Read what came."""
        for event in data.split(b"\n\n"):
            if event == b"data: [DONE]":
                self.done += 1
            elif event:
                self.events.append(msgspec.json.decode(event.removeprefix(b"data: ")))


def run(
    route: Route,
    engine: Engine,
    cuts: list[int],
    *,
    fields: dict[str, Any],
    roles: bool,
    include_usage: bool,
    ways: Sequence[Way] = (),
) -> tuple[Seen, Continuation]:
    """Ask, and lose each node after so many events; the last one is not lost.

    Or another goes on ahead while it speaks on unheard; or none does, and it speaks on.
    """
    start: dict[str, Any] = (
        {"prompt": PROMPT}
        if route == "completions"
        else {"messages": [{"role": "user", "content": PROMPT}]}
    )
    body = msgspec.json.encode({"model": "m"} | start | fields)
    story = Continuation.of(route, body, include_usage=include_usage, tried=())
    reader, seen, chance = StreamReader(include_usage), Seen(), random.Random(1)
    for number in range(MAX_MOVES + 1):
        events = engine.stream(route, body, roles=roles)
        cut = cuts[number] if number < len(cuts) else 1 << 20
        way = ways[number] if number < len(ways) else "lost"
        leg = Leg(Life(NodeId(f"n{number}"), 1), DIGEST, reader)
        step: Move | Close | GiveUp
        ahead: tuple[Continuation, Move] | None = None
        for count, event in enumerate(events):
            if count == cut and way != "lost":
                ahead = story.ahead(leg, chance)
            if reader.whole or (count == cut and (way == "lost" or (way == "ahead" and ahead))):
                break
            seen.take(reader.feed(event))
        else:
            cut = -1
        if cut == -1 or reader.whole:
            seen.take(reader.finish())
            return seen, story
        if ahead is not None:
            for event in events:  # into the void: nobody hears it
                reader.feed(event)
            story, step = ahead
        else:
            step = story.broke(leg, Verdict("yielded"), chance)
        if isinstance(step, Close):
            seen.take(step.last)
            return seen, story
        assert isinstance(step, Move)
        body, reader = step.body, step.reader
    raise AssertionError("more parts than moves")


@given(
    route=st.sampled_from(["chat", "completions"]),
    answer=tokens.filter(lambda words: len(set(_sums(words))) == len(words)),
    cuts=st.lists(st.integers(1, 14), max_size=MAX_MOVES),
    ways=st.lists(st.sampled_from(["lost", "ahead", "in vain"]), max_size=MAX_MOVES),
    most=st.none() | st.integers(1, 14),
    stop=st.none() | st.text("abå\n", min_size=1, max_size=4),
    roles=st.booleans(),
    include_usage=st.booleans(),
)
def test_one_sound_stream(
    route: Route,
    answer: list[str],
    cuts: list[int],
    most: int | None,
    stop: str | None,
    *,
    ways: list[Way],
    roles: bool,
    include_usage: bool,
) -> None:
    """One text, one identity, one end, one `[DONE]`, and usage that adds up."""
    if cuts and roles and route == "chat":
        cuts[0] += 1  # a stream that says its role first is continued only after its first content
    fields = {name: value for name, value in (("max_tokens", most), ("stop", stop)) if value}
    engine = Engine(answer)
    if not answer or (stop and answer[0].startswith(stop)):
        cuts = []  # there is no content to be continued
    seen, story = run(
        route, engine, cuts, fields=fields, roles=roles, include_usage=include_usage, ways=ways
    )
    assert seen.done == 1
    [end] = seen.ends
    _check_text(seen.text, end, "".join(answer), stop)
    if stop is None:
        assert seen.text == "".join(answer[:most])
        assert end == ("length" if most is not None and most < len(answer) else end)
    identities = {(event["id"], event["created"], event["model"]) for event in seen.events}
    assert identities == {("c1", 1, "m1")}
    said = [event for event in seen.events if "role" in str(event)]
    assert len(said) <= 1
    _check_usage(seen, story, include_usage=include_usage)


_members = st.sampled_from(
    ["id", "created", "model", "choices", "delta", "role", "content", "finish_reason", "usage", "x"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_members, inner, max_size=4),
    max_leaves=12,
)
_hostile = _json.map(msgspec.json.encode) | st.binary(max_size=30)


@given(
    st.lists(_hostile.map(lambda data: b"data: " + data + b"\n\n"), max_size=6),
    st.binary(max_size=40),
    st.booleans(),
)
def test_a_hostile_node_that_goes_on(
    events: list[bytes], first: bytes, include_usage: bool
) -> None:
    """What it says is refused or becomes events of the one stream; nothing else is raised."""
    before = Before(identity_of(b"data: " + first), 3, None, ("ab",))
    reader = ContinuedReader(include_usage, before=before)
    for event in events:
        try:
            passed = reader.feed(event)
        except (BadNodeReply, EngineErrorEvent):
            return
        for line in passed.removesuffix(b"\n\n").split(b"\n\n") if passed else []:
            told = msgspec.json.decode(line.removeprefix(b"data: "))
            assert all(
                told.get(name) == msgspec.json.decode(before.identity[name])
                for name in before.identity
            )
        assert "".join(reader.text)[:2] != "ab"


def _sums(words: list[str]) -> list[str]:
    return ["".join(words[:size]) for size in range(1, len(words) + 1)]


def _check_text(text: str, end: str, answer: str, stop: str | None) -> None:
    assert answer.startswith(text)
    if stop is not None and stop in answer and end == "stop" and text != answer:
        # An engine that sends before it has looked may have said the beginning of the stop string.
        assert answer.index(stop) <= len(text) < answer.index(stop) + len(stop)
    if stop is not None:
        assert stop not in text


def _check_usage(seen: Seen, story: Continuation, *, include_usage: bool) -> None:
    usages = [event["usage"] for event in seen.events if "usage" in event]
    assert len(usages) <= include_usage
    for usage in usages:
        assert usage["prompt_tokens"] == PROMPT_TOKENS
        whole = usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage.get("total_tokens", whole) == whole
    if story.parts:
        counted = story.seen(None)
        assert counted.content_events == sum(part.content_events for part in story.parts)
        usage = counted.usage or Usage(PROMPT_TOKENS, counted.content_events)
        assert usage.prompt_tokens == PROMPT_TOKENS
        # The token that completes a stop string is made, and said to nobody.
        assert (usage.completion_tokens or 0) - counted.content_events in (0, 1)
