"""Dispatch: a request to a node and its answer back. The shell around `Attempt` and `Plan`."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Final, TypeVar

import msgspec
import structlog

from garage_ai.network.answer import Answer, Request, Trail
from garage_ai.network.attempt import Attempt, Limits, Verdict
from garage_ai.network.breaker import NEED_PAUSE
from garage_ai.network.continuation import Continuation, Move
from garage_ai.network.errors import (
    ContinuationUnsound,
    DispatchError,
    NatsUnavailable,
    WrongKind,
)
from garage_ai.network.flight import Flight
from garage_ai.network.gathered import GatheredAnswer, as_stream
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.link import Link
from garage_ai.network.models import BUSY_SECONDS, Node, Replica
from garage_ai.network.placement import GoingOn, Placement, no_link
from garage_ai.network.plain_replies import reader_for
from garage_ai.network.plan import Again, Plan, as_error, blame, is_well
from garage_ai.network.prefill import Unsound
from garage_ai.network.registry import Effect, Registry
from garage_ai.network.replies import Reader
from garage_ai.network.salts import Salts
from garage_ai.network.sharing import told
from garage_ai.network.waiting import Turn
from garage_ai.wire import subjects
from garage_ai.wire.errors import Malformed
from garage_ai.wire.frames import (
    VERSION,
    End,
    Fail,
    Open,
    Packet,
    Refused,
    cancel_packet,
    decode,
    encode,
)
from garage_ai.wire.ids import AttemptId, Digest, GatewayId, NodeId
from garage_ai.wire.link_errors import LinkError
from garage_ai.wire.session import Message
from garage_ai.wire.subjects import NodeChannel

A = TypeVar("A", bound=Answer)
_log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 0.1
"""How finely limits are watched; one task looks after all attempts."""
ASLEEP_SECONDS: Final = 1.0
CANCEL_SECONDS: Final = 2.0
"""A cancelled attempt keeps its slot so long unless the node says sooner that it is free."""
LEAST_SECONDS: Final = 1.0
"""With less time left for a request no other node is asked."""


class Dispatcher:
    """Send requests to nodes; one per gateway process."""

    def __init__(
        self,
        link: Link,
        gateway: GatewayId,
        registry: Registry,
        *,
        limits: DispatchLimits,
        apply_effects: Callable[[list[Effect]], None],
        chance: random.Random | None = None,
        salts: Salts | None = None,
    ) -> None:
        self._salts = salts
        self._link = link
        self._gateway = gateway
        self._registry = registry
        self._limits = limits
        self._apply_effects = apply_effects
        # Chance spreads load and jitter; it keeps no secret, and the system's costs a call each.
        self._chance = chance or random.Random()  # noqa: S311
        self._flights: dict[AttemptId, Flight] = {}
        self._ending: dict[AttemptId, tuple[Flight, asyncio.TimerHandle]] = {}
        self.preempted = 0
        """Times that a batch request of this gateway gave its slot to a chat."""
        self.placement = Placement(
            registry, limits=limits, apply_effects=apply_effects, chance=self._chance
        )
        self._prefix = secrets.token_hex(8)
        self._number = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._now: Callable[[], float] = time.monotonic

    async def start(self) -> None:
        """Hear the replies and watch the limits."""
        await self._link.subscribe(subjects.replies_to(self._gateway), self._received)
        self._sweeper = asyncio.create_task(self._sweep(), name="dispatch-limits")

    async def close(self) -> None:
        """Stop; what is under way ends as cancelled."""
        for flight in list(self._flights.values()):
            flight.cancel()
        for _, timer in self._ending.values():
            timer.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper], timeout=1)

    async def open(self, request: Request, trail: Trail | None = None) -> Answer:
        """Find a node, send the request, and return when the first content is there.

        `trail` is kept up to date. Raises: DispatchError. Cancelling the caller cancels the work
        on the node.
        """
        pool = self._registry.pool(request.model, request.job)
        if pool is not None and not pool.takes(request.route):
            raise WrongKind(f"{request.model} is of another kind: it cannot be asked this.")
        trail = trail or Trail()
        if request.priority == "batch" and (streamed := as_stream(request)) is not None:
            # Nothing went to the client: what another node cannot go on with begins anew.
            with contextlib.suppress(ContinuationUnsound, Unsound):
                answer = await self._open(streamed, trail, GatheredAnswer)
                await answer.gather()
                return answer
        return await self._open(request, trail, Answer)

    async def _open(self, request: Request, trail: Trail, kind: type[A]) -> A:
        plan = Plan(self._limits.retries, once_slow=request.priority == "batch")
        doubted: list[Flight] = []
        limits, turn = self._limits.of(request), Turn(self._now())
        while True:
            await self._await_link()
            replica = await self.placement.find(
                request,
                excluded=plan.excluded,
                avoided=plan.avoided,
                failure=as_error(plan.last) if plan.last is not None else None,
                first=plan.given_way > 0,
                waits=plan.rejection is None,
                turn=turn,
            )
            if request.priority == "batch" and request.begun is None:
                request = msgspec.structs.replace(request, begun=self._now())
            trail.asked, trail.tries = replica, plan.tries + 1
            reader = reader_for(
                request.route,
                stream=request.stream,
                include_usage=request.include_usage,
                max_bytes=self._limits.max_answer,
            )
            flight = self._launch(request, replica, reader, limits, turn)
            await flight.settled()
            if flight.committed:
                self._spoke(replica.node)
                for failed in doubted:
                    failed.replica.node.breaker.failed(self._now(), failed.attempt.begun)
                return kind(request, flight, plan, self, self._chance)
            assert flight.verdict is not None  # noqa: S101 - settled means committed or over
            if blame(flight.verdict) == "doubt":
                doubted.append(flight)
            step = plan.after(flight.verdict, flight.life, self._chance)
            trail.tries = plan.tries
            if not isinstance(step, Again):
                raise step.error
            turn = flight.turn_after(self._now())
            if request.priority == "chat":
                if flight.attempt.ends_at - self._now() < LEAST_SECONDS:
                    raise as_error(flight.verdict)
                limits = self._limits_after(flight)
            await asyncio.sleep(step.delay)

    async def move(
        self, request: Request, step: Move, story: Continuation, old: Flight, *, ahead: bool = False
    ) -> Flight:
        """Put the rest of an answer to another node; `ahead` only where one has room now.

        Raises: DispatchError, the loss that made it necessary where nobody can go on.
        """
        batch = request.priority == "batch"
        wait = self._limits.batch_seconds if batch else self._limits.move_wait
        turn = old.turn_after(self._now())
        try:
            await self._await_link()
            replica = await self.placement.find(
                request,
                excluded=story.plan.excluded,
                avoided=story.plan.avoided,
                failure=story.failure,
                going_on=GoingOn(old.replica, wait),
                waits=not ahead,
                turn=turn,
            )
        except NatsUnavailable as error:
            # Who has time is told what keeps it waiting: its loss may be the link's as well.
            raise (None if batch else story.failure) or error from error
        except DispatchError as error:
            raise (None if request.job else story.failure) or error from error
        moved = msgspec.structs.replace(request, body=step.body)
        first_byte = self._limits.move_first_byte
        limits = self._limits.of(request) if batch else self._limits_after(old, first_byte)
        return self._launch(moved, replica, step.reader, limits, turn)

    def _limits_after(self, old: Flight, first_byte: float = inf) -> Limits:
        """Give an attempt that follows another what is left of the time of all."""
        limits, left = self._limits.attempt, old.attempt.ends_at - self._now()
        first_byte = min(limits.first_byte, first_byte)
        return replace(limits, first_byte=first_byte, total=max(LEAST_SECONDS, left))

    def link_lost(self) -> None:
        """End all attempts: what nodes say while the gateway is off the network is gone."""
        for flight in list(self._flights.values()):
            flight.apply(flight.attempt.abandoned())

    def session_replaced(self, node: NodeId) -> None:
        """End the attempts of a node's process before: the one that answers now knows none of them.

        A node that is killed and started again soon leaves no silence on its subject to be noticed.
        """
        for flight in list(self._flights.values()):
            if flight.replica.node.id == node and flight.session != flight.replica.node.session:
                flight.apply(flight.attempt.replaced())

    async def _await_link(self) -> None:
        if self._link.is_connected:
            return
        try:
            await self._link.wait_connected(self._limits.connect)
        except LinkError as error:
            raise no_link() from error

    def _launch(
        self, request: Request, replica: Replica, reader: Reader, limits: Limits, turn: Turn
    ) -> Flight:
        self._number += 1
        attempt_id = AttemptId(f"{self._prefix}{self._number:x}")
        now = self._now()
        attempt = Attempt(
            attempt_id,
            replica.node.id,
            body=request.body,
            reader=reader,
            limits=limits,
            max_answer=self._limits.max_answer,
            now=now,
            priority=request.priority,
        )
        flight = Flight(attempt, replica, self._send, self._over, turn=turn)
        self._flights[attempt_id] = flight
        flight.apply(attempt.start(self._opening(request, replica, attempt_id, limits)))
        return flight

    def _opening(
        self, request: Request, replica: Replica, attempt_id: AttemptId, limits: Limits
    ) -> Open:
        return Open(
            version=VERSION,
            session=replica.node.session or "",
            reply=subjects.reply(self._gateway, replica.node.id, attempt_id),
            route=request.route,
            digest=Digest(replica.digest),
            stream=request.stream,
            content_length=len(request.body),
            time_limit=limits.total,
            salt=self._salt(request, replica),
            asker=told(replica.node, request.member),
            batch_age=None if request.begun is None else self._now() - request.begun,
            job=request.job,
        )

    def _salt(self, request: Request, replica: Replica) -> str:
        if self._salts is None or not request.member:
            return ""
        return self._salts.salt(request.member, replica.node.id, time.time())

    def _send(
        self, flight: Flight, channel: NodeChannel, packet: Packet, *, asks: bool = False
    ) -> None:
        node = flight.replica.node.id
        # With a reply subject the server itself says when nobody hears the node's.
        asks = asks or (channel == "job" and packet.seq == 0)
        reply = subjects.reply(self._gateway, node, flight.attempt.id) if asks else ""
        try:
            self._link.publish(subjects.to_node(node, channel), encode(packet), reply)
        except LinkError as error:
            # The attempt's own limits end it if the link does not come back.
            _log.warning("not_sent", node=node, channel=channel, code=error.code)

    def _received(self, message: Message) -> None:
        try:
            node, attempt_id = subjects.parse_reply(message.subject)
        except Malformed:
            return
        flight = self._flights.get(attempt_id)
        if flight is None or flight.replica.node.id != node:
            self._late(node, attempt_id, message)
            return
        if message.no_responders:
            flight.apply(flight.attempt.unreachable())
            return
        try:
            packet = decode(message.payload)
        except Malformed as error:
            _log.warning("reply_malformed", node=node, detail=str(error)[:300])
            flight.apply(flight.attempt.malformed())
            return
        flight.apply(flight.attempt.received(packet, self._now()))

    def _late(self, node: NodeId, attempt_id: AttemptId, message: Message) -> None:
        """Take the node's word that a cancelled attempt of it has ended, and free its slot."""
        ending = self._ending.get(attempt_id)
        if ending is None or ending[0].replica.node.id != node or message.no_responders:
            return
        try:
            last = decode(message.payload).frames[-1:]
        except Malformed:
            return
        if last and isinstance(last[0], Fail | End | Refused):
            self._free(attempt_id)

    def _over(self, flight: Flight) -> None:
        self._flights.pop(flight.attempt.id, None)
        verdict = flight.verdict
        if verdict is None:
            raise AssertionError("an attempt is over without a verdict")
        self._judge(flight, verdict)
        if not flight.attempt.ended_by_node:
            self._send(flight, "cancel", cancel_packet(flight.attempt.id, verdict.kind))
            timer = asyncio.get_running_loop().call_later(
                CANCEL_SECONDS, self._free, flight.attempt.id
            )
            self._ending[flight.attempt.id] = (flight, timer)
            return
        self._release(flight)

    def _free(self, attempt_id: AttemptId) -> None:
        ending = self._ending.pop(attempt_id, None)
        if ending is not None:
            flight, timer = ending
            timer.cancel()
            self._release(flight)

    def _release(self, flight: Flight) -> None:
        released = self._registry.release(flight.replica, flight.attempt.priority)
        self._apply_effects(released)

    def _spoke(self, node: Node) -> None:
        if node.breaker.is_open:
            node.breaker.spoke()
            self.placement.tried(node)

    def _judge(self, flight: Flight, verdict: Verdict) -> None:
        replica, now = flight.replica, self._now()
        node = replica.node
        said, was_tried = blame(verdict, committed=flight.committed), node.breaker.is_open
        match said:
            case "success":
                node.breaker.succeeded()
                replica.ran_at(flight.speed(now), flight.ttft)
            case "failure":
                node.breaker.failed(now, flight.attempt.begun)
            case "doubt" | "none":
                node.breaker.spared()
        if was_tried or node.breaker.is_open:
            self.placement.tried(node, pause=NEED_PAUSE if said == "failure" else 0.0)
        if said in ("failure", "doubt"):
            _log.warning("attempt_failed", node=node.id, verdict=verdict.kind, code=verdict.code)
        if verdict.kind == "preempted":
            self.preempted += 1
        elif verdict.kind == "busy" and replica.said_busy(flight.attempt.priority, now):
            self.placement.room_comes(replica.target, BUSY_SECONDS)
        elif verdict.kind == "lost" and not is_well(verdict):
            self._registry.lost(node.id, now)

    async def _sweep(self) -> None:
        last = self._now()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._now()
            slept, last = now - last > ASLEEP_SECONDS, now
            if slept:
                continue  # it was this process that stood still: read what came before judging
            for flight in list(self._flights.values()):
                flight.sign(now)
                if now < flight.check_at:
                    continue
                flight.apply(flight.attempt.late(now))
                flight.check_at = flight.attempt.due


__all__ = ["Answer", "DispatchLimits", "Dispatcher", "Link", "Request"]
