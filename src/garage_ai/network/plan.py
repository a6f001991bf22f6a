"""What follows an attempt: done, another try, or giving up. Pure.

`busy` and `away` are no failures and cost no try; a node that failed is not asked again for the
same request. One that is well, though words of it were lost on the way, is asked again where nobody
else has room. What follows once content has gone to the client is `continuation`'s.
"""

import random
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from garage_ai.network.attempt import LINK_LOST, REPLACED, Verdict, VerdictKind
from garage_ai.network.errors import (
    BadNodeReply,
    ClientGone,
    ContextLengthExceeded,
    DispatchError,
    EngineFailed,
    EngineRejected,
    ModelLoading,
    NoCapacity,
    NodeLost,
    NodeTimeout,
    NoNode,
    WrongKind,
)
from garage_ai.wire.ids import NodeId

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
_FINAL: Final[frozenset[VerdictKind]] = frozenset({"rejected", "timeout", "cancelled"})
_NO_TRY: Final[frozenset[VerdictKind]] = frozenset({"busy", "away"})
_NOBODYS: Final = frozenset({LINK_LOST, "total"})
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

    In doubt is an engine that lives and answers with an error of its own before any content: some
    say so of a request that they cannot take. It is the node's failure if another node serves it.
    """
    if verdict.kind == "answered":
        return "success"
    if verdict.code in _NOBODYS:
        return "none"
    if verdict.kind == "engine_failed" and not committed and _ENGINE_SPOKE.match(verdict.code):
        return "doubt"
    return "failure" if verdict.kind in _FAILURES else "none"


def is_well(verdict: Verdict) -> bool:
    """Tell whether the node is well by now: it was the way that failed, or it has begun anew."""
    return verdict.code in (LINK_LOST, REPLACED) or verdict.code.startswith("frame_")


_LOST: Final = (NodeLost, "The node that ran the request was lost.", 1.0)

_SAID: Final[dict[VerdictKind, tuple[type[DispatchError], str, float | None]]] = {
    "busy": (NoCapacity, "Every node that serves the model is busy.", 5.0),
    "away": (NoNode, "No node serves the model just now.", 5.0),
    "rejected": (EngineRejected, "The engine rejected the request", None),
    "unwilling": (EngineFailed, "The engine that ran the request failed.", 1.0),
    "engine_failed": (EngineFailed, "The engine that ran the request failed.", 1.0),
    "yielded": _LOST,
    "bad_reply": (BadNodeReply, "A node gave an answer that cannot be used", None),
    "lost": _LOST,
    "timeout": (NodeTimeout, "No answer in time", None),
    "cancelled": (ClientGone, "The request was cancelled.", None),
}
_BY_CODE: Final[dict[str, type[DispatchError]]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "loading": ModelLoading,
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
    """The tries of one request; `retries` other nodes may be asked after the first."""

    retries: int
    tries: int = 0
    bounces: int = 0
    excluded: set[NodeId] = field(default_factory=set)
    avoided: set[NodeId] = field(default_factory=set)
    last: Verdict | None = None

    def after(self, verdict: Verdict, node: NodeId, chance: random.Random) -> Again | GiveUp:
        """Decide what follows an attempt that did not answer."""
        self.last = verdict
        if verdict.kind in _FINAL:
            self.tries += 1
            return GiveUp(as_error(verdict))
        if verdict.kind in _NO_TRY:
            return self._bounced(verdict, node)
        (self.avoided if is_well(verdict) else self.excluded).add(node)
        self.tries += 1
        if self.tries > self.retries:
            return GiveUp(as_error(verdict))
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self.tries)
        return Again(longest * (0.5 + 0.5 * chance.random()))

    def _bounced(self, verdict: Verdict, node: NodeId) -> Again | GiveUp:
        self.bounces += 1
        if verdict.code == "unsupported":
            return GiveUp(as_error(verdict))
        if verdict.kind == "away" and verdict.code != "wrong_session":
            self.excluded.add(node)
        if self.bounces > MAX_BOUNCES:
            return GiveUp(as_error(verdict))
        return Again(SESSION_DELAY if verdict.code == "wrong_session" else 0.0)
