"""The core under any order of events: slots are never oversold, every attempt ends once."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from garage_ai.node.core import Core, Step
from garage_ai.node.engines.port import Offer
from garage_ai.node.exchange import Exchange
from garage_ai.wire import subjects
from garage_ai.wire.frames import (
    Data,
    End,
    Fail,
    Open,
    Packet,
    Refused,
    cancel_packet,
    credit_packet,
)
from garage_ai.wire.ids import AttemptId, Digest, GatewayId, NodeId, SessionId
from garage_ai.wire.window import Receiver

NODE = NodeId("n1")
SESSION = SessionId("s1")
DIGEST = Digest("sha256:" + "a" * 64)
SLOTS = 2
ATTEMPTS = [AttemptId(f"a{number}") for number in range(5)]

attempts = st.sampled_from(ATTEMPTS)


class Node(RuleBasedStateMachine):
    """A core, and beside it what a gateway and an engine would see."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Core(NODE, SESSION)
        self.core.engine_is("ready", "", [Offer("m", DIGEST, "m", slots=SLOTS)])
        self.now = 0.0
        self.engine: dict[AttemptId, Exchange] = {}
        self.stopping: dict[AttemptId, str] = {}
        self.answers: dict[AttemptId, Receiver] = {}
        self.ended: set[AttemptId] = set()
        self.given_way: set[AttemptId] = set()

    def apply(self, step: Step) -> None:
        for subject, packet in step.send:
            assert subject.endswith(packet.attempt)
            receiver = self.answers.setdefault(packet.attempt, Receiver(1 << 30))
            for frame in receiver.accept(packet):
                assert packet.attempt not in self.ended, "a frame after the last one"
                if isinstance(frame, Refused | Fail | End):
                    self.ended.add(packet.attempt)
        if step.run is not None:
            assert step.run.id not in self.engine, "started twice"
            self.engine[step.run.id] = step.run
        for exchange, code in step.stop:
            assert exchange.id in self.engine, "an engine stopped that does not run"
            if code == "preempted":
                assert exchange.born is not None, "a chat gave way"
                assert exchange.id not in self.given_way, "one gave way twice"
                self.given_way.add(exchange.id)
            self.stopping[exchange.id] = code

    def fresh(self, attempt: AttemptId) -> bool:
        """Attempt ids are used again only when the last use is over, as gateways do."""
        if attempt in self.core.running or attempt in self.engine:
            return False
        self.ended.discard(attempt)
        self.given_way.discard(attempt)
        self.answers.pop(attempt, None)
        return True

    @rule(
        attempt=attempts,
        size=st.integers(0, 200),
        whole=st.booleans(),
        stream=st.booleans(),
        age=st.none() | st.floats(0, 100),
    )
    def job(
        self, attempt: AttemptId, size: int, whole: bool, stream: bool, age: float | None
    ) -> None:
        self.fresh(attempt)
        opening = Open(
            1,
            SESSION,
            subjects.reply(GatewayId("g"), NODE, attempt),
            "chat",
            DIGEST,
            stream,
            size,
            60.0,
            batch_age=age,
        )
        body = (Data(b"x" * size), End()) if whole else (Data(b"x" * (size // 2)),)
        self.apply(self.core.job(Packet(attempt, 0, (opening, *body)), self.now))

    @rule(attempt=attempts, seq=st.integers(-1, 3), size=st.integers(0, 200), end=st.booleans())
    def more(self, attempt: AttemptId, seq: int, size: int, end: bool) -> None:
        frames = (Data(b"x" * size), *((End(),) if end else ()))
        self.apply(self.core.job(Packet(attempt, seq, frames), self.now))

    @rule(attempt=attempts)
    def cancel(self, attempt: AttemptId) -> None:
        self.apply(self.core.cancel(cancel_packet(attempt, ""), self.now))

    @rule(attempt=attempts, consumed=st.integers(0, 10))
    def credit(self, attempt: AttemptId, consumed: int) -> None:
        _, step = self.core.credit(credit_packet(attempt, consumed), self.now)
        self.apply(step)

    @rule(seconds=st.floats(0.1, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.apply(self.core.tick(self.now))

    @rule(paused=st.booleans())
    def owner(self, paused: bool) -> None:
        self.core.paused = paused

    @rule(on=st.booleans())
    def network(self, on: bool) -> None:
        self.core.drain("network", "") if on else self.core.undrain("network")

    @rule(up=st.booleans())
    def engine_state(self, up: bool) -> None:
        self.core.engine_is("ready" if up else "loading", "", self.core.offers)

    @precondition(lambda self: bool(self.engine))
    @rule(data=st.data())
    def engine_answers(self, data: st.DataObject) -> None:
        exchange = self.engine.pop(data.draw(st.sampled_from(sorted(self.engine))))
        if exchange.phase == "over":
            return
        self.core.answered(exchange)
        packet = exchange.pack(self.now, End())
        exchange.end()
        self.stopping.pop(exchange.id, None)
        self.apply(Step(send=[(exchange.reply, packet)]))

    @precondition(lambda self: bool(self.stopping))
    @rule(data=st.data())
    def engine_has_stopped(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.stopping)))
        code = self.stopping.pop(attempt)
        exchange = self.engine.pop(attempt)
        self.apply(self.core.failed(exchange, code, "", self.now))

    @precondition(lambda self: bool(self.engine))
    @rule(data=st.data())
    def engine_dies(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.engine)))
        self.stopping.pop(attempt, None)
        self.apply(self.core.failed(self.engine.pop(attempt), "engine_lost", "", self.now))

    @invariant()
    def slots_are_never_oversold(self) -> None:
        going = self.given_way & set(self.core.running)
        assert len(self.core.running) - len(going) <= SLOTS
        assert len(set(self.engine) - self.given_way) <= SLOTS
        assert sum(each.born is None for each in self.core.running.values()) <= SLOTS

    @invariant()
    def what_runs_has_not_ended(self) -> None:
        for attempt in self.core.running:
            assert attempt not in self.ended

    @invariant()
    def books_balance(self) -> None:
        totals = self.core.totals
        over = totals.answered + totals.failed + totals.cancelled + totals.yielded
        over += totals.preempted
        assert over >= totals.accepted - len(self.core.running)

    def teardown(self) -> None:
        """Stopping everything leaves nothing behind."""
        self.apply(self.core.stop_all("shutdown", self.now))
        for attempt in list(self.engine):
            exchange = self.engine.pop(attempt)
            self.apply(self.core.failed(exchange, "shutdown", "", self.now))
        assert self.core.running == {}


TestNode = Node.TestCase
