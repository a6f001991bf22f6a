"""What follows when a node is lost in the middle of an answer: another goes on. Pure.

    a node speaks ─all said→ over
        │ will soon be stopped → another begins beside it; the first of the two goes on
        │ lost, yielded, failed, nonsense, or (batch) its slot given to a chat
        ├─ the end was said already, or no token is left → closed by the gateway
        ├─ text alone cannot carry it, the moves are spent, or time is → given up, with an error
        └─ else → moved: another node, with the text so far as a turn to be continued

Nothing is kept for this while all goes well but the text, which the reader has decoded anyway.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from garage_ai.network.attempt import LEAVING, Verdict
from garage_ai.network.continued import (
    Before,
    ContinuedReader,
    Identity,
    identity_of,
    last_events,
    remainders,
)
from garage_ai.network.delivered import NOTHING, Delivered
from garage_ai.network.errors import ContinuationUnsound, DispatchError
from garage_ai.network.events import Usage
from garage_ai.network.models import Life
from garage_ai.network.plan import Again, GiveUp, Plan, as_error
from garage_ai.network.prefill import Prefill, Unsound
from garage_ai.network.replies import DONE, Seen, StreamReader
from garage_ai.wire.frames import Route
from garage_ai.wire.ids import Digest, NodeId

MAX_MOVES: Final = 3
"""Other nodes that may go on with one answer: who meets more losses has another trouble."""

OK: Final = "ok"
YIELDED: Final = "yielded"
PREEMPTED: Final = "preempted"
"""A batch request's slot went to a chat; no move, no fault, and it costs nobody more."""
PLANNED: Final = "planned"
"""The node was about to be stopped, and another went on before it was."""


class Part(msgspec.Struct, frozen=True):
    """What one node contributed to an answer, and how that ended.

    That is `ok`, `yielded`, `planned`, `preempted` or an error.

    Tokens are its engine's word, None where it said nothing. `gap_s` is how long the client heard
    nothing before its first content; None for the first part and where none came.
    """

    node: NodeId
    digest: Digest
    prompt_tokens: int | None
    completion_tokens: int | None
    content_events: int
    outcome: str
    gap_s: float | None = None
    delivered: Delivered = NOTHING


@dataclass(frozen=True, slots=True)
class Leg:
    """A node's part as it was read, told when it is over."""

    life: Life
    digest: Digest
    reader: StreamReader
    gap_s: float | None = None

    def part(self, outcome: str) -> Part:
        """Give it as it is recorded."""
        seen = self.reader.seen
        usage = seen.usage or Usage()
        return Part(
            self.life.node,
            self.digest,
            usage.prompt_tokens,
            usage.completion_tokens,
            seen.content_events,
            outcome,
            self.gap_s,
            self.reader.delivered,
        )


@dataclass(frozen=True, slots=True)
class Move:
    """Ask another node after so many seconds, and read its answer with the reader."""

    delay: float
    body: bytes
    reader: ContinuedReader


@dataclass(frozen=True, slots=True)
class Close:
    """End the stream well: nothing is left to be said but these bytes."""

    last: bytes


@dataclass(slots=True)
class Continuation:
    """The story of one streamed answer from its first loss on."""

    route: Route
    body: bytes
    include_usage: bool
    plan: Plan = field(default_factory=lambda: Plan(MAX_MOVES))
    parts: list[Part] = field(default_factory=list)
    loss: Verdict | None = None
    _prefill: Prefill | None = None
    _identity: Identity = field(default_factory=dict)
    _text: list[str] = field(default_factory=list)
    _said: int = 0
    _prompt_tokens: int | None = None
    _usage: Usage | None = None
    _events: int = 0
    _bytes: int = 0

    @classmethod
    def of(
        cls, route: Route, body: bytes, *, include_usage: bool, tried: Iterable[Life]
    ) -> "Continuation":
        """Begin it; nodes that were tried in vain before the first content are not asked again."""
        return cls(route, body, include_usage, Plan(MAX_MOVES, excluded=set(tried)))

    @property
    def failure(self) -> DispatchError | None:
        """The error of the last loss, which ends the stream when nobody can go on."""
        return as_error(self.loss) if self.loss is not None else None

    def broke(self, leg: Leg, verdict: Verdict, chance: random.Random) -> Move | Close | GiveUp:
        """Take the end of a part that was not the answer's, and decide what follows."""
        refused = verdict.kind in ("busy", "away")
        if not refused:
            # One that gave way before it said a word, perhaps many times, is no part of the story.
            if leg.reader.seen.content_events or verdict.kind != "preempted":
                self.parts.append(leg.part(outcome_of(verdict)))
            self._take(leg)
        if self.loss is None or not refused:
            self.loss = verdict
        try:
            return self._follow(leg, verdict, chance)
        except Unsound as error:
            return GiveUp(
                ContinuationUnsound(f"The node was lost, and another cannot go on: {error}.")
            )

    def ahead(self, leg: Leg, chance: random.Random) -> "tuple[Continuation, Move] | None":
        """Say how another would go on now where the one that speaks will soon be stopped.

        Nothing is changed here: given is the story as it will be if the other does get on. None
        where the answer cannot be carried on; the one that speaks may still end it.
        """
        plan = replace(self.plan, excluded=set(self.plan.excluded), avoided=set(self.plan.avoided))
        story = replace(self, plan=plan, parts=list(self.parts), _text=list(self._text))
        step = story.broke(leg, Verdict("yielded", code=LEAVING), chance)
        return (story, step) if isinstance(step, Move) else None

    def seen(self, reader: StreamReader | None) -> Seen:
        """Sum up what was seen of all parts, with that of the one that speaks now."""
        now = reader.seen if reader is not None else Seen()
        usage = self._before().sum(now.usage) if now.usage is not None else None
        return Seen(
            self._events + now.content_events,
            self._bytes + now.bytes_out,
            self._usage if reader is None else usage,
            now.finished,
        )

    def _take(self, leg: Leg) -> None:
        reader, seen = leg.reader, leg.reader.seen
        first = self._events == 0
        self._events += seen.content_events
        self._bytes += seen.bytes_out
        usage = seen.usage or Usage()
        self._usage = self._before().sum(usage) if seen.usage is not None else None
        if not seen.content_events:
            return
        self.plan.got_on()
        if first:
            self._identity = identity_of(reader.first)
            self._prompt_tokens = usage.prompt_tokens
        else:
            # Somebody got on in between: whoever failed before may be well again.
            self.plan.excluded.clear()
        told = usage.completion_tokens
        self._said += seen.content_events if told is None else told
        self._text += reader.text

    def _follow(self, leg: Leg, verdict: Verdict, chance: random.Random) -> Move | Close | GiveUp:
        prefill = self._prefill = self._prefill or Prefill(self.route, self.body)
        if leg.reader.seen.finished and not prefill.several:
            return Close(self._closed(DONE))
        if verdict.kind in ("timeout", "cancelled"):
            return GiveUp(as_error(verdict))
        prefill.check()
        if leg.reader.beyond_text:
            raise Unsound("reasoning or a tool call was under way")
        if prefill.left(self._said) == 0:
            return Close(self._ended("length"))
        if verdict.kind == "rejected":
            # It was the gateway's own addition that this engine does not take; others may.
            verdict = Verdict("unwilling", code=verdict.code)
        step = self.plan.after(verdict, leg.life, chance)
        if not isinstance(step, Again):
            return GiveUp(self.failure or step.error)
        return self._move(prefill, step.delay)

    def _move(self, prefill: Prefill, delay: float) -> Move:
        text = "".join(self._text)
        before = self._before(remainders(prefill.stops, text))
        reader = ContinuedReader(self.include_usage, route=self.route, before=before)
        return Move(delay, prefill.body(text, self._said), reader)

    def _before(self, stops: tuple[str, ...] = ()) -> Before:
        return Before(self._identity, self._said, self._prompt_tokens, stops)

    def _ended(self, reason: str) -> bytes:
        usage = None
        if self.include_usage and self._prompt_tokens is not None:
            usage = self._usage = Usage(self._prompt_tokens, self._said)
        return self._closed(last_events(self._identity, self.route, reason, usage) + b"\n\n" + DONE)

    def _closed(self, last: bytes) -> bytes:
        self._bytes += len(last)
        return last


def outcome_of(verdict: Verdict) -> str:
    """Name the end of a part as records do."""
    if verdict.kind == "answered":
        return OK
    if verdict.kind == "preempted":
        return PREEMPTED
    if verdict.kind == "yielded":
        return PLANNED if verdict.code == LEAVING else YIELDED
    return as_error(verdict).code


__all__ = ["MAX_MOVES", "PREEMPTED", "Close", "Continuation", "Leg", "Move", "Part", "outcome_of"]
