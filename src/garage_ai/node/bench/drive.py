"""Put streams to an engine and note when their tokens come."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec
import structlog

from garage_ai.node.bench.timing import Timing
from garage_ai.node.engines.port import Answer, Engine, Offer
from garage_ai.node.errors import EngineError
from garage_ai.node.speeds import Pace
from garage_ai.node.sse import EventCutter, says_done
from garage_ai.wire.benchmarks import Level
from garage_ai.wire.frames import Route

_log = structlog.get_logger(__name__)

LONGEST_PROMPT: Final = 300
"""Words; enough that reading them takes longer than starting to."""

LONGEST_ANSWER: Final = 64
SHARE_SECONDS: Final = 10.0
"""What reading all prompts of a level may take, and writing all answers."""

SHORTEST: Final = 16
ENOUGH_SECONDS: Final = 12.0
MOST_ROUNDS: Final = 3

_OK: Final = 200
_VOCABULARY: Final = (
    *("stone", "river", "garden", "winter", "copper", "market", "letter", "window", "forest"),
    *("bridge", "candle", "summer", "island", "engine", "mirror", "ladder", "basket", "harbor"),
    *("silver", "meadow", "thunder", "pocket", "valley", "button", "lantern"),
)


class Size(NamedTuple):
    """How much a stream is asked: words of its prompt and tokens of its answer."""

    words: int = LONGEST_PROMPT
    tokens: int = LONGEST_ANSWER


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_events: Final = msgspec.json.Decoder(_Event)

Progress = Callable[[int, float], None]
"""Told the streams at a time and the share of that level that is done."""


async def run_level(
    engine: Engine,
    offer: Offer,
    streams: int,
    *,
    size: Size,
    seconds: float,
    draw: random.Random,
    tell: Progress,
) -> list[list[Timing]]:
    """Run rounds of so many streams until there are enough, or the level's `seconds` are over.

    A stream that is not done by then counts with what it gave.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    rounds: list[list[Timing]] = []
    enough = min(ENOUGH_SECONDS, seconds / 2)
    while len(rounds) < MOST_ROUNDS and loop.time() - began < enough:
        bodies = [make_body(offer, engine.kind, size, draw) for _ in range(streams)]
        until = began + seconds
        rounds.append(
            list(await asyncio.gather(*(_stream(engine, offer, each, until) for each in bodies)))
        )
        tell(streams, min(1.0, (loop.time() - began) / enough))
        if all(each.first is None for each in rounds[-1]):
            break
    tell(streams, 1.0)
    return rounds


def route_of(offer: Offer) -> Route:
    """Choose how to ask a model for text."""
    return "chat" if "chat" in offer.routes else "completions"


def size_for(streams: int, alone: Level) -> Size:
    """Choose how much to ask of each stream, so that a slow engine gets done too.

    `alone` is what one stream gave; many share what it had, and a word is about 1.3 tokens.
    """
    words = int(SHARE_SECONDS * alone.prefill / streams / 1.3)
    tokens = int(SHARE_SECONDS * alone.decode / streams)
    return Size(
        min(LONGEST_PROMPT, max(SHORTEST, words)), min(LONGEST_ANSWER, max(SHORTEST, tokens))
    )


def make_body(offer: Offer, kind: str, size: Size, draw: random.Random) -> bytes:
    """Make a request whose beginning no cache of prompts knows."""
    room = offer.context or 4 * size.words
    words = [draw.choice(_VOCABULARY) for _ in range(min(size.words, room // 4))]
    text = f"{draw.getrandbits(32):x} {' '.join(words)}\nTell a long story about these words."
    fields: dict[str, object] = {
        "model": offer.engine_name,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": min(size.tokens, max(8, room // 4)),
        "temperature": 0,
    }
    if route_of(offer) == "chat":
        fields["messages"] = [{"role": "user", "content": text}]
    else:
        fields["prompt"] = text
    if kind != "external":
        # Engines of ours take these; a stranger might refuse what it does not know.
        fields |= {"ignore_eos": True, "cache_prompt": False}
    return msgspec.json.encode(fields)


async def _stream(engine: Engine, offer: Offer, body: bytes, until: float) -> Timing:
    """Run one stream; whatever the engine does wrong makes it one without an answer."""
    loop = asyncio.get_running_loop()
    timing = Timing(loop.time())
    watch = _Watch(timing)
    try:
        async with asyncio.timeout_at(until):
            answer = await engine.ask(route_of(offer), body, offer=offer, stream=True)
            try:
                await _read(answer, watch, loop)
            finally:
                answer.close()
    except TimeoutError:
        _log.debug("bench_stream_cut")
    except EngineError as error:
        _log.warning("bench_stream_failed", code=error.code, detail=str(error)[:200])
        return timing
    return watch.timing


async def _read(answer: Answer, watch: "_Watch", loop: asyncio.AbstractEventLoop) -> None:
    if answer.status != _OK:
        words = (await answer.read())[:200].decode(errors="replace")
        raise EngineError(f"the engine answers {answer.status}: {words}")
    cutter = EventCutter()
    while chunk := await answer.read():
        watch.take(cutter.feed(chunk), loop.time())


class _Watch:
    """Follows one stream's events."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self._pace = Pace()
        self._seen = 0

    def take(self, events: bytes, now: float) -> None:
        """Take whole events that came now; what is no event of an answer is passed over."""
        self._pace.read(events, now, last=says_done(events))
        for line in events.split(b"\n"):
            if line.startswith(b"data: {"):
                self._event(line[6:], now)

    def _event(self, text: bytes, now: float) -> None:
        try:
            event = _events.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return
        timing = self.timing
        if any(_says_something(choice) for choice in event.choices):
            self._seen += 1
            first = now if timing.first is None else timing.first
            timing = replace(timing, first=first, last=now, tokens=max(timing.tokens, self._seen))
        if event.usage is not None:
            tokens = max(self._seen, event.usage.completion_tokens)
            prompt = max(0, event.usage.prompt_tokens)
            timing = replace(timing, prompt=prompt, tokens=tokens, prefill=self._pace.prefill)
        self.timing = timing


def _says_something(choice: _Choice) -> bool:
    delta = choice.delta
    return bool(choice.text or (delta and (delta.content or delta.reasoning_content)))


__all__ = ["Progress", "Size", "make_body", "run_level", "size_for"]
