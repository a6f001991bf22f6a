"""What follows an attempt: done, another try, or giving up. Pure.

`busy` and `away` are no failures and cost no try, nor is it one to give way to a chat, which only a
batch request does, as often as it takes; a node that failed, or was too slow to begin while the
request has time left, is not asked again for the same request in the same life. One that is well,
though words of it were lost on the way or it has begun anew, is asked again where nobody else has
room. What an engine rejects is shown to one other that has room: another may have more context, and
a node that rejects everything is believed by nobody. What follows once content has gone to the
client is `continuation`'s.
"""

import random
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from garage_ai.network.attempt import (
    LINK_LOST,
    OUT_OF_TIME,
    REPLACED,
    TOO_LARGE,
    Verdict,
    VerdictKind,
)
from garage_ai.network.errors import (
    BadNodeReply,
    ClientGone,
    ContextLengthExceeded,
    DispatchError,
    EngineFailed,
    EngineFull,
    EngineRejected,
    ModelLoading,
    NoCapacity,
    NodeLost,
    NodeTimeout,
    NodeUnheard,
    NodeYielded,
    NoNode,
    WrongKind,
)
from garage_ai.network.models import Life

MAX_BOUNCES: Final = 64
"""Refusals of one request before it is told that there is no room."""
SESSION_DELAY: Final = 0.1
"""A node that has just restarted beats at once; its next session is known after that."""
FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 0.5

Blame = Literal["success", "failure", "doubt", "none"]

_FAILURES: Final[frozenset[VerdictKind]] = frozenset(
    {"engine_failed", "bad_reply", "lost", "timeout"}
)
NO_TRY: Final[frozenset[VerdictKind]] = frozenset({"busy", "away", "preempted"})
_NOBODYS: Final = frozenset({LINK_LOST, OUT_OF_TIME})
_ENGINE_SPOKE: Final = re.compile(r"engine_(\d{3}|error)\Z")


@dataclass(frozen=True, slots=True)
class Again:
    """Try another node after so many seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the request with an error."""

    error: DispatchError


def blame(verdict: Verdict, *, committed: bool = False) -> Blame:
    """Tell what an attempt's end says about the node.

    In doubt is an engine that lives and answers with an error of its own before any content, or
    with more than is taken, or is not done with a prompt in time: some say so of a request that
    they cannot take, and some prompts are long. It is the node's failure if another serves it.
    """
    if verdict.kind == "answered":
        return "success"
    if verdict.code in _NOBODYS:
        return "none"
    if verdict.kind == "engine_failed" and not committed and _ENGINE_SPOKE.match(verdict.code):
        return "doubt"
    if verdict.kind == "timeout" and not committed:
        return "doubt"
    if (verdict.kind, verdict.code) == ("rejected", TOO_LARGE):
        return "doubt"
    return "failure" if verdict.kind in _FAILURES else "none"


def is_well(verdict: Verdict) -> bool:
    """Tell whether the node is well by now: it was the way that failed, or it has begun anew."""
    return verdict.code in (LINK_LOST, REPLACED) or verdict.code.startswith("frame_")


def _is_final(verdict: Verdict) -> bool:
    """Tell whether nobody else could mend it: the client left, or all its time is spent."""
    return verdict.kind == "cancelled" or (verdict.kind, verdict.code) == ("timeout", OUT_OF_TIME)


_LOST: Final = (NodeLost, "The node that ran the request was lost.", 1.0)

_SAID: Final[dict[VerdictKind, tuple[type[DispatchError], str, float | None]]] = {
    "busy": (NoCapacity, "Every node that serves the model is busy.", 5.0),
    "away": (NoNode, "No node serves the model just now.", 5.0),
    "rejected": (EngineRejected, "The engine rejected the request", None),
    "unwilling": (EngineFailed, "The engine that ran the request failed.", 1.0),
    "engine_failed": (EngineFailed, "The engine that ran the request failed.", 1.0),
    "yielded": (NodeYielded, *_LOST[1:]),
    "preempted": (NoCapacity, "Chats took the slots of the request again and again.", 5.0),
    "bad_reply": (BadNodeReply, "A node gave an answer that cannot be used", None),
    "lost": _LOST,
    "timeout": (NodeTimeout, "No answer in time", None),
    "cancelled": (ClientGone, "The request was cancelled.", None),
}
_BY_CODE: Final[dict[str, type[DispatchError]]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "loading": ModelLoading,
    LINK_LOST: NodeUnheard,
    REPLACED: NodeUnheard,
    "engine_429": EngineFull,
    "engine_503": EngineFull,
}
_EXPLAINED: Final[frozenset[VerdictKind]] = frozenset({"rejected", "bad_reply", "timeout"})


def as_error(verdict: Verdict) -> DispatchError:
    """Turn an attempt's end into the error that the client sees."""
    kind, message, retry_after = _SAID.get(verdict.kind, _LOST)
    if verdict.code == "unsupported":
        return WrongKind("The model is of another kind: it cannot be asked this.")
    if verdict.kind in _EXPLAINED:
        message = f"{message}: {verdict.message or 'no reason given'}."
    return _BY_CODE.get(verdict.code, kind)(message, retry_after=retry_after)


@dataclass(slots=True)
class Plan:
    """The tries of one request; `retries` other nodes may be asked after the first.

    `rejection` is what the first engine said that rejected it; it stands unless a second answers.
    `given_way` and `bounces` count since it last got on. `once_slow`: a time-out
    ends it, since who asks will ask again.
    """

    retries: int
    once_slow: bool = False
    tries: int = 0
    bounces: int = 0
    given_way: int = 0
    excluded: set[Life] = field(default_factory=set)
    avoided: set[Life] = field(default_factory=set)
    last: Verdict | None = None
    rejection: Verdict | None = None

    def got_on(self) -> None:
        """Take note of content: an answer of hours may wait for a slot as often as it takes."""
        self.given_way = self.bounces = 0

    def after(self, verdict: Verdict, node: Life, chance: random.Random) -> Again | GiveUp:
        """Decide what follows an attempt that did not answer."""
        self.last = self.rejection or verdict
        is_slow = self.once_slow and verdict.kind == "timeout"
        if self.rejection is not None or is_slow or _is_final(verdict):
            self.tries += verdict.kind not in NO_TRY
            return GiveUp(as_error(self.last))
        if verdict.kind == "preempted":
            return self._gave_way(verdict, node, chance)
        if verdict.kind in NO_TRY:
            return self._bounced(verdict, node)
        if verdict.kind == "rejected":
            self.rejection = verdict
        (self.avoided if is_well(verdict) else self.excluded).add(node)
        self.tries += 1
        if self.tries > self.retries:
            return GiveUp(as_error(verdict))
        if verdict.kind == "rejected":
            return Again(0.0)
        return Again(_delay(self.tries, chance))

    def _gave_way(self, verdict: Verdict, node: Life, chance: random.Random) -> Again | GiveUp:
        """Let it wait again, at once as a rule: the chat that has its slot keeps it busy."""
        self.given_way += 1
        if self.given_way == 1:
            return Again(0.0)
        if self.given_way > MAX_BOUNCES:
            return GiveUp(as_error(verdict))
        self.avoided.add(node)
        return Again(_delay(self.given_way, chance))

    def _bounced(self, verdict: Verdict, node: Life) -> Again | GiveUp:
        self.bounces += 1
        if verdict.kind == "away":
            # One that began anew may say so until its next beat, or again and again.
            (self.avoided if verdict.code == "wrong_session" else self.excluded).add(node)
        if self.bounces > MAX_BOUNCES:
            return GiveUp(as_error(verdict))
        return Again(SESSION_DELAY if verdict.code == "wrong_session" else 0.0)


def _delay(times: int, chance: random.Random) -> float:
    """Give the seconds before the next try after so many, with jitter."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0**times)
    return longest * (0.5 + 0.5 * chance.random())
