"""An answer that has begun, from one node or from several. The shell around `Continuation`."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import msgspec
import structlog

from garage_ai.network.continuation import OK, Close, Continuation, Leg, Move, Part, outcome_of
from garage_ai.network.delivered import Delivered
from garage_ai.network.errors import DispatchError
from garage_ai.network.flight import Flight
from garage_ai.network.models import Replica, Target
from garage_ai.network.plan import NO_TRY, Plan, as_error
from garage_ai.network.replies import Seen, StreamReader
from garage_ai.wire.frames import Priority, Route

_log = structlog.get_logger(__name__)

MAX_LOOKS: Final = 10
"""How often one answer looks for another node ahead; nodes say twice a second that they leave."""


def evenly() -> float:
    """Weigh as much as everybody else."""
    return 1.0


class Request(msgspec.Struct, frozen=True):
    """What is to be asked of which model; `model` is a served name, no alias.

    `member` is who asks, empty where that is not known; a node is told no more than a salt of it,
    and one that does not serve everybody whether it is its own. `weigh` tells its share of turns,
    where requests wait, beside other members' (`waiting`). `batch` waits behind all `chat`,
    and gives way to it; `begun` is the network's own: when its first attempt was made. With a
    `job` it goes to the engines that were made for that alone.
    """

    route: Route
    model: str
    body: bytes
    stream: bool
    include_usage: bool
    region: str | None = None
    member: str = ""
    weigh: Callable[[], float] = evenly
    priority: Priority = "chat"
    begun: float | None = None
    job: str = ""

    @property
    def target(self) -> Target:
        """What it is put to."""
        return Target(self.model, self.job)


@dataclass(slots=True)
class Trail:
    """Whom a request was put to until its answer began, for its record: the last one asked, and
    how many tries there were."""

    asked: Replica | None = None
    tries: int = 0


class Mover(Protocol):
    """What puts the rest of an answer to another node."""

    async def move(
        self, request: Request, step: Move, story: Continuation, old: Flight, *, ahead: bool = False
    ) -> Flight:
        """Ask another node, `ahead` only one that has room now. Raises: DispatchError."""


class Answer:
    """A request that has begun to be answered: the bytes for the client, as they come.

    A stream goes on at another node when its own is lost or about to be. Iterating raises a
    DispatchError when nobody can go on, or when a plain answer breaks.
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
        self._ahead: Flight | None = None
        self._looks = MAX_LOOKS

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

    @property
    def delivered(self) -> tuple[Delivered, ...]:
        """What went to the client of each node's part, as text."""
        return tuple([part.delivered for part in self.parts]) or (
            self._flight.attempt.reader.delivered,
        )

    def __aiter__(self) -> Self:
        """Give the bytes; a streamed answer ends with `[DONE]`."""
        return self

    async def __anext__(self) -> bytes:
        # No generator: the loop keeps a book of those, and each piece would pass through one more.
        while not (chunk := await self._flight.take()):
            verdict = self._flight.verdict
            if verdict is None:
                await self._go_ahead()
                continue
            if self._closed or verdict.kind == "answered":
                raise StopAsyncIteration
            last = await self._go_on()
            if last:
                self._closed = True
                return last
        return chunk

    def cancel(self) -> None:
        """Stop, because the client is gone; harmless at the end."""
        self._flight.leave()
        self._flight.cancel()
        if self._ahead is not None:
            self._ahead.cancel()

    def _leg(self) -> Leg | None:
        replica, reader = self._flight.replica, self._flight.attempt.reader
        if not isinstance(reader, StreamReader):
            return None
        return Leg(self._flight.life, replica.digest, reader, self._gap)

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
        new = await self._mover.move(self._request, step, story, old)
        await new.settled()
        self._flight, self._told = new, False
        gave_way = story.loss is not None and story.loss.kind == "preempted"
        self.tries += not gave_way and (new.verdict is None or new.verdict.kind not in NO_TRY)
        self._gap = new.gap_since(old) if new.committed_at else None
        _log.info("stream_moved", node=old.replica.node.id, to=new.replica.node.id, gap_s=self._gap)

    async def _go_ahead(self) -> None:
        """Let another node begin to go on beside one that will soon be stopped.

        All that it said so far is with the client. What it says meanwhile waits: it is taken where
        the other gets no content, or not before all is said, and else never given.
        """
        old, leg, since = self._flight, self._leg(), self._flight.attempt.last_data
        old.attempt.leaving = False
        self._looks -= 1
        if leg is None or self._looks < 0:
            return
        planned = (self._story or self._begin()).ahead(leg, self._chance)
        if planned is None:
            return
        story, step = planned
        try:
            self._ahead = new = await self._mover.move(self._request, step, story, old, ahead=True)
        except DispatchError:
            return
        if await new.outruns(old):
            self._flight, self._story, self._gap = new, story, new.committed_at - since
            self.tries += 1
            _log.info("stream_moved", node=leg.life.node, to=new.replica.node.id, gap_s=self._gap)
            old.cancel()
        else:
            new.cancel()
            (self._story.plan.excluded if self._story else self._tried).add(new.life)
        self._ahead = None

    def _begin(self) -> Continuation:
        request = self._request
        return Continuation.of(
            request.route,
            request.body,
            include_usage=request.include_usage,
            tried=self._tried,
        )


__all__ = ["Answer", "Mover", "Request", "Trail"]
