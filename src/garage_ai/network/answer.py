"""An answer that has begun, from one node or from several. The shell around `Continuation`."""

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol, Self

import structlog

from garage_ai.network.continuation import OK, Close, Continuation, Leg, Move, Part, outcome_of
from garage_ai.network.flight import Flight
from garage_ai.network.models import Replica
from garage_ai.network.plan import Plan, as_error
from garage_ai.network.replies import Seen, StreamReader
from garage_ai.wire.frames import Route

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be asked of which model; `model` is a served name, no alias.

    `member` is who asks, empty where that is not known; a node is told no more than a salt of it.
    """

    route: Route
    model: str
    body: bytes
    stream: bool
    include_usage: bool
    region: str | None = None
    member: str = ""


class Mover(Protocol):
    """What puts the rest of an answer to another node."""

    async def move(self, request: Request, step: Move, story: Continuation, old: Flight) -> Flight:
        """Ask another node; return when it has content or has failed. Raises: DispatchError."""


class Answer:
    """A request that has begun to be answered: the bytes for the client, as they come.

    A stream goes on at another node when its own is lost. Iterating raises a DispatchError when
    nobody can go on, or when a plain answer breaks.
    """

    def __init__(
        self, request: Request, flight: Flight, plan: Plan, mover: Mover, chance: random.Random
    ) -> None:
        self.replica: Replica = flight.replica
        """Who began to answer."""
        self.tries = plan.tries + 1
        """Nodes that were asked, those that went on among them."""
        self._request = request
        self._tried = plan.excluded
        self._flight = flight
        self._mover = mover
        self._chance = chance
        self._story: Continuation | None = None
        self._told = False
        self._closed = False
        self._gap: float | None = None

    @property
    def seen(self) -> Seen:
        """What was seen of the answer so far."""
        reader = self._flight.attempt.reader
        if self._story is None or not isinstance(reader, StreamReader):
            return reader.seen
        return self._story.seen(None if self._told else reader)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What each node contributed; nothing where one gave it all."""
        if self._story is None:
            return ()
        leg = self._leg()
        verdict = self._flight.verdict
        last = (
            [] if self._told or leg is None else [leg.part(outcome_of(verdict) if verdict else OK)]
        )
        return (*self._story.parts, *last)

    def __aiter__(self) -> Self:
        """Give the bytes; a streamed answer ends with `[DONE]`."""
        return self

    async def __anext__(self) -> bytes:
        # No generator: the loop keeps a book of those, and each piece would pass through one more.
        while not (chunk := await self._flight.take()):
            verdict = self._flight.verdict
            if self._closed or verdict is None or verdict.kind == "answered":
                raise StopAsyncIteration
            last = await self._go_on()
            if last:
                self._closed = True
                return last
        return chunk

    def cancel(self) -> None:
        """Stop, because the client is gone; harmless at the end."""
        self._flight.cancel()

    def _leg(self) -> Leg | None:
        replica, reader = self._flight.replica, self._flight.attempt.reader
        if not isinstance(reader, StreamReader):
            return None
        return Leg(replica.node.id, replica.digest, reader, self._gap)

    async def _go_on(self) -> bytes:
        """Let another node go on; give the last bytes where there is nothing to go on with.

        Raises: DispatchError.
        """
        verdict, leg = self._flight.verdict, self._leg()
        if verdict is None:
            raise AssertionError("an attempt that goes on is not over")
        if leg is None:
            raise as_error(verdict)
        story = self._story = self._story or self._begin()
        self._told = True
        step = story.broke(leg, verdict, self._chance)
        if isinstance(step, Close):
            return step.last
        if not isinstance(step, Move):
            raise step.error
        await asyncio.sleep(step.delay)
        await self._move(step, story)
        return b""

    async def _move(self, step: Move, story: Continuation) -> None:
        old = self._flight
        self._flight = new = await self._mover.move(self._request, step, story, old)
        self._told = False
        self.tries += new.verdict is None or new.verdict.kind not in ("busy", "away")
        self._gap = new.gap_since(old) if new.committed_at else None
        _log.info("stream_moved", node=old.replica.node.id, to=new.replica.node.id, gap_s=self._gap)

    def _begin(self) -> Continuation:
        request = self._request
        return Continuation.of(
            request.route,
            request.body,
            include_usage=request.include_usage,
            tried=self._tried,
        )


__all__ = ["Answer", "Mover", "Request"]
