"""What a node does with what it hears: pure, events in, instructions out.

A job is refused in this order: wrong_session, paused, draining, not_shared, dedicated,
unknown_model, unsupported, loading, busy. Where all slots are taken and some of them by batch
requests, the youngest of those gives way to one that cannot wait. Time comes from the caller, in
seconds.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, get_args

from garage_ai.node.engines.port import Offer
from garage_ai.node.exchange import MAX_BODY, Exchange
from garage_ai.node.slots import Slots
from garage_ai.node.standing import Drainer, Hold, Standing
from garage_ai.node.step import Step, Totals
from garage_ai.wire import subjects
from garage_ai.wire.errors import Malformed, WireError
from garage_ai.wire.frames import (
    SIGN_SECONDS,
    VERSIONS,
    Cancel,
    Credit,
    Fail,
    FailureCode,
    Open,
    Packet,
    RefusalCode,
    Refused,
    Route,
)
from garage_ai.wire.ids import AttemptId, NodeId, SessionId
from garage_ai.wire.messages import SHARED_WITH, Dedicate, EngineState

MAX_TOMBSTONES: Final = 1024
"""Cancels remembered in case they overtook their job; far more than can be under way."""

GREET_SECONDS: Final = 0.002
"""How long Accepted may wait for the engine's first words, to share their packet.

Gateways wait a thousand times longer; an engine that is quick saves a message in three.
"""

MAX_HELD: Final = 8 * MAX_BODY
"""Bytes of all requests at a time: what a gateway may take of the owner's memory."""

BODY_SECONDS: Final = 30.0
"""Without a further packet of its body for so long a request is given up."""

ENGINE_SECONDS: Final = 300.0
"""Without a byte of the engine for so long a stream is given up: the longest prefill."""

GATEWAY_SECONDS: Final = 4 * SIGN_SECONDS
"""Without a word of the gateway for so long nobody is there to take the answer."""

HANDOVER_SECONDS: Final = 5.0
"""So long before what runs is stopped gateways hear of it, to let other nodes go on meanwhile."""

_HANDED_BACK: Final[frozenset[FailureCode]] = frozenset({"yielded", "shutdown"})
"""Codes of attempts that the owner takes back: another node goes on with them, nobody failed."""

_ROUTES: Final[dict[str, Route]] = {route: route for route in get_args(Route)}


class Core(Standing):
    """Slots, states and attempts of one agent."""

    def __init__(self, node: NodeId, session: SessionId, *, paused: bool = False) -> None:
        super().__init__(paused=paused)
        self.session = session
        self._slots = Slots()
        self.running = self._slots.held
        self.totals = Totals()
        self.offers: tuple[Offer, ...] = ()
        self._node = node
        self._by_digest: dict[str, Offer] = {}
        self._tombstones: OrderedDict[AttemptId, None] = OrderedDict()
        self._fresh: list[Exchange] = []

    # --- state

    @property
    def face(self) -> object:
        """What gateways are told at once when it changes."""
        full = self._slots.full
        return (
            self.state,
            full,
            full and self._slots.gives_way,
            self.engine_told,
            self.offers,
            self.reason,
            self.share,
            self.dedication.job,
        )

    @property
    def slots(self) -> int:
        """Requests the engine runs at a time."""
        return self._slots.count

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return self._slots.full

    def load(self, offer: Offer) -> tuple[int, int]:
        """Count what runs of a model, and what of it would give way."""
        return self._slots.load(offer.digest)

    def engine_is(self, state: EngineState, reason: str, offers: Iterable[Offer]) -> None:
        """Take note of the engine's state and of what it serves."""
        self.engine = state
        self.engine_reason = reason
        self.offers = tuple(offers)
        self._by_digest = {offer.digest: offer for offer in self.offers}
        self._slots.count = max((offer.slots for offer in self.offers), default=0)
        self._served = self._served or state == "ready"

    def dedicate(self, asked: Dedicate, now: float) -> None:
        """Give the node to one job alone, where nothing speaks against it."""
        lent = self.share == "all" or asked.asker in SHARED_WITH[self.share]
        if self.takes_work and lent and asked.digest in self._by_digest:
            self.dedication.ask(asked.job, asked.seconds, now)

    # --- work

    def job(self, packet: Packet, now: float) -> Step:
        """Take a packet of a request."""
        step = Step()
        exchange = self.running.get(packet.attempt)
        if exchange is None:
            self._open(packet, now, step)
        else:
            self._feed(exchange, packet, now, step)
        return step

    @property
    def greets(self) -> bool:
        """Whether `greet` is to be called, `GREET_SECONDS` from now at the latest."""
        return bool(self._fresh)

    def greet(self, now: float) -> Step:
        """Say Accepted for new attempts whose engine has not said anything yet."""
        step = Step()
        fresh, self._fresh = self._fresh, []
        for exchange in fresh:
            if not exchange.greeted and exchange.phase != "over":
                step.send.append((exchange.reply, exchange.pack(now)))
        return step

    def credit(self, packet: Packet, now: float) -> tuple[Exchange | None, Step]:
        """Take the gateway's word for how much it has taken; give the exchange it is about."""
        step = Step()
        exchange = self.running.get(packet.attempt)
        if exchange is None:
            return None, step
        exchange.last_gateway = now
        for frame in packet.frames:
            if isinstance(frame, Credit):
                try:
                    exchange.credited(frame.consumed)
                except WireError as error:
                    self._broken(exchange, error, now, step)
        return exchange, step

    def cancel(self, packet: Packet, now: float) -> Step:
        """Stop an attempt, now or when its job comes."""
        step = Step()
        if not any(isinstance(frame, Cancel) for frame in packet.frames):
            step.ignored = "no cancel in it"
            return step
        exchange = self.running.get(packet.attempt)
        if exchange is None:
            self._bury(packet.attempt)
        else:
            self._stop(exchange, "cancelled", "", now, step)
        return step

    def tick(self, now: float) -> Step:
        """Say that attempts live, or will soon be stopped; stop those whose time is up.

        To be called twice a second.
        """
        step = Step()
        for exchange in list(self.running.values()):
            late = self._late(exchange, now)
            if late:
                self._stop(exchange, "engine_timeout", late, now, step)
                continue
            if exchange.phase == "running" and now - exchange.last_gateway > GATEWAY_SECONDS:
                self._stop(exchange, "gateway_silent", "", now, step)
                continue
            sign = exchange.leaving(now) if self._leaves_soon(now) else None
            sign = sign or exchange.alive(now)
            if sign is not None:
                step.send.append((exchange.reply, sign))
        return step

    def stop_all(self, code: str, now: float) -> Step:
        """Stop every attempt with one code: `yielded` to the owner, `shutdown` of the process."""
        step = Step()
        for exchange in list(self.running.values()):
            self._stop(exchange, code, "", now, step)
        return step

    def answered(self, exchange: Exchange) -> None:
        """Free the slot of an attempt whose engine has said all; to be called before it is told."""
        if self._slots.free(exchange):
            self.totals.answered += 1

    def failed(self, exchange: Exchange, code: str, words: str, now: float) -> Step:
        """Free the slot of an attempt that ended without a whole answer, and say so."""
        step = Step()
        failure = exchange.fail(now, code, words)
        if failure is not None:
            step.send.append((exchange.reply, failure))
        if not self._slots.free(exchange):
            return step
        if code == "cancelled":
            self.totals.cancelled += 1
        elif code in _HANDED_BACK:
            self.totals.yielded += 1
        elif code == "preempted":
            self.totals.preempted += 1
        else:
            self.totals.failed += 1
        return step

    def _open(self, packet: Packet, now: float, step: Step) -> None:
        opening = packet.frames[0] if packet.frames else None
        if not isinstance(opening, Open):
            # The rest of a request that was refused or has failed; whoever sent it knows.
            step.ignored = "not the beginning of a request"
            return
        if not self._is_ours(opening.reply, packet.attempt):
            step.ignored = "an answer would go elsewhere than to a gateway's own subject"
            return
        refusal = self._refusal(packet, opening)
        if refusal is not None:
            self.totals.refused += 1
            step.send.append((opening.reply, Packet(packet.attempt, 0, (refusal,))))
            return
        offer = self._by_digest[opening.digest]
        route = _ROUTES[opening.route]
        exchange = Exchange(packet.attempt, opening, route, offer, now)
        if packet.attempt in self._tombstones:
            self._tell_cancelled(exchange, now, step)
            return
        if self.full:
            self._stop(self._slots.make_room(), "preempted", "", now, step)
        self._slots.hold(exchange)
        self.totals.accepted += 1
        self._fresh.append(exchange)
        self._feed(exchange, packet, now, step)

    def _is_ours(self, reply: str, attempt: AttemptId) -> bool:
        try:
            return subjects.parse_reply(reply) == (self._node, attempt)
        except Malformed:
            return False

    def _refusal(self, packet: Packet, opening: Open) -> Refused | None:
        code = self._refusal_code(packet, opening)
        if code is None:
            return None
        words = self.reason if code in ("paused", "draining", "loading") else ""
        return Refused(code, words[:500])

    def _refusal_code(self, packet: Packet, opening: Open) -> RefusalCode | None:
        if opening.version not in VERSIONS or opening.route not in _ROUTES or packet.seq != 0:
            return "unsupported"
        if opening.session != self.session:
            return "wrong_session"
        if not self.takes_work:
            return "paused" if self.paused or self.state == "paused" else "draining"
        # Who is not told who asks has not heard yet that it matters, or is too old to say.
        if self.share != "all" and opening.asker not in SHARED_WITH[self.share]:
            return "not_shared"
        if opening.job != self.dedication.job:
            return "dedicated"
        offer = self._by_digest.get(opening.digest)
        return "unknown_model" if offer is None else self._refusal_by(offer, opening)

    def _refusal_by(self, offer: Offer, opening: Open) -> RefusalCode | None:
        if opening.route not in offer.routes or opening.content_length > MAX_BODY:
            return "unsupported"
        if self.engine_told != "ready":
            return "loading"
        if opening.content_length + sum(each.size for each in self.running.values()) > MAX_HELD:
            return "busy"
        waits = opening.batch_age is not None or not self._slots.gives_way
        return "busy" if self.full and waits else None

    def _feed(self, exchange: Exchange, packet: Packet, now: float, step: Step) -> None:
        running = exchange.phase == "running"
        try:
            credit = exchange.take(packet, now)
        except WireError as error:
            self._broken(exchange, error, now, step)
            return
        if credit is not None:
            step.send.append((exchange.reply, exchange.pack(now, credit)))
        if exchange.phase == "running" and not running:
            step.run = exchange

    def _broken(self, exchange: Exchange, error: WireError, now: float, step: Step) -> None:
        self._stop(exchange, error.code, str(error), now, step)

    def _stop(self, exchange: Exchange, code: str, words: str, now: float, step: Step) -> None:
        """Stop an attempt: the one that runs is told through its engine, the other at once."""
        if exchange.phase == "over":
            return
        if exchange.phase != "receiving":
            step.stop.append((exchange, code))
            return
        step.send += self.failed(exchange, code, words, now).send

    def _tell_cancelled(self, exchange: Exchange, now: float, step: Step) -> None:
        del self._tombstones[exchange.id]
        exchange.phase = "over"
        self.totals.cancelled += 1
        packet = exchange.pack(now, Fail("cancelled"))
        step.send.append((exchange.reply, packet))

    def _bury(self, attempt: AttemptId) -> None:
        self._tombstones[attempt] = None
        if len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _leaves_soon(self, now: float) -> bool:
        planned = (self.leaves_at, self.dedication.leaves_at)
        return any(at is not None and now >= at - HANDOVER_SECONDS for at in planned)

    def _late(self, exchange: Exchange, now: float) -> str:
        if now >= exchange.deadline:
            return "the time given for this request is over"
        if exchange.phase == "receiving" and now - exchange.last_heard > BODY_SECONDS:
            return "the rest of the request did not come"
        if exchange.hears_engine and now - exchange.last_heard > ENGINE_SECONDS:
            return "the engine has said nothing for too long"
        return ""


__all__ = ["GREET_SECONDS", "HANDOVER_SECONDS", "Core", "Drainer", "Hold", "Step", "Totals"]
