"""What a request is billed for: tokens as the gateway counts them, or a rule where it cannot.

The order is: the model's own tokenizer, else the rule. An engine's figure is never the bill.
Counting fails open: a request that cannot be counted in time is counted by the rule, never refused
and never free, and a metric tells how many were and why.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from garage_ai.ledger.counting.clerk import Clerk, Reason
from garage_ai.ledger.counting.orders import Ask, Count
from garage_ai.ledger.counting.rule import RULE_BYTES, count_by_rule
from garage_ai.wire.frames import Route

CountSource = Literal["tokenizer", "rule"]
CountReason = Literal["counted", "absent", "late", "overloaded", "refused", "broken"]
"""Why a request was counted as it was: `counted` by the tokenizer, the rest by the rule."""

_CLOSE_SECONDS: Final = 2.0
LARGE: Final = 64 * 1024
"""Bytes of a body from which on the rule is applied in a thread: it takes a millisecond."""


class Counted(msgspec.Struct, frozen=True):
    """The tokens of one request that are billed.

    `each` has the completion's tokens by text, in the order in which the texts were given. What
    was counted by `rule` earns no node anything. `exact` tells that an engine of the model would
    say the same of the prompt, so that its figure can be judged by this.
    """

    prompt_tokens: int
    completion_tokens: int
    source: CountSource
    each: tuple[int, ...] = ()
    exact: bool = False


class Meter(Protocol):
    """What counts: off the event loop, bounded in time, and never failing."""

    def begin(
        self,
        digest: str | None,
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        """Count without waiting: `done` is called once with what was counted.

        That is within a second; what is cut into pieces may take one for each.
        """


def _ignore(_: CountReason) -> None:
    return None


def _every(_: str) -> bool:
    return True


class RuleMeter:
    """Count everything by the rule."""

    def __init__(self) -> None:
        self._open: set[asyncio.Future[Count]] = set()

    def begin(
        self,
        digest: str | None,  # noqa: ARG002 - the port's signature
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        """Count by bytes; what is large in a thread."""
        if len(body) + sum(map(len, texts)) <= LARGE:
            done(_counted(count_by_rule(route, body, texts), "rule"))
            return
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, count_by_rule, route, body, texts)

        def told(found: asyncio.Future[Count]) -> None:
            self._open.discard(found)
            failed = found.cancelled() or found.exception() is not None
            count = count_by_rule(route, body, texts) if failed else found.result()
            done(_counted(count, "rule"))

        self._open.add(work)
        work.add_done_callback(told)

    async def close(self) -> None:
        """Wait a while for what is counted in threads: a record that comes later has no writer."""
        if self._open:
            await asyncio.wait(set(self._open), timeout=_CLOSE_SECONDS)


class TokenMeter:
    """Count in a process beside the gateway; `on_count` hears the reason of each count.

    Models that `knows` does not name are counted by the rule, whatever is kept of them.
    """

    def __init__(
        self,
        clerk: Clerk,
        on_count: Callable[[CountReason], None] = _ignore,
        knows: Callable[[str], bool] = _every,
    ) -> None:
        self._clerk = clerk
        self._on_count = on_count
        self._knows = knows
        self._rule = RuleMeter()

    @classmethod
    def start(
        cls,
        folder: Path,
        on_count: Callable[[CountReason], None] = _ignore,
        knows: Callable[[str], bool] = _every,
    ) -> "TokenMeter":
        """Start counting with what is kept in `folder`; `close` ends it."""
        return cls(Clerk.start(folder), on_count, knows)

    def begin(
        self,
        digest: str | None,
        route: Route,
        body: bytes,
        texts: Sequence[str],
        done: Callable[[Counted], None],
    ) -> None:
        """Count without waiting: `done` is called once with what was counted.

        That is within a second; what is cut into pieces may take one for each.
        """
        if digest is None or not self._knows(digest) or self._clerk.lacks(digest):
            self._on_count("absent")
            self._rule.begin(None, route, body, texts, done)
        else:
            ask = Ask(digest, route, body, tuple(texts))
            self._clerk.count(ask, partial(self._told, ask, done))

    def _told(self, ask: Ask, done: Callable[[Counted], None], what: Count | Reason) -> None:
        if isinstance(what, Count):
            self._on_count("counted")
            done(_counted(what, "tokenizer"))
        else:
            self._on_count(what)
            self._rule.begin(None, ask.route, ask.body, ask.texts, done)

    @property
    def waiting(self) -> int:
        """Requests that are being counted."""
        return self._clerk.waiting

    async def load(self, digest: str) -> bool:
        """Make a model's tokenizer ready that is kept by now; tell whether it can be used."""
        return await self._clerk.load(digest)

    async def close(self) -> None:
        """Stop counting, once what waits was counted or is late."""
        await self._clerk.close()
        await self._rule.close()


def _counted(count: Count, source: CountSource) -> Counted:
    return Counted(count.prompt, sum(count.each), source, count.each, exact=count.exact)


__all__ = [
    "LARGE",
    "RULE_BYTES",
    "CountReason",
    "CountSource",
    "Counted",
    "Meter",
    "RuleMeter",
    "TokenMeter",
]
