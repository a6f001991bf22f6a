"""The agent's decisions: which jobs it takes, and what it does with the rest."""

import msgspec
import pytest

from garage_ai.node.core import (
    BODY_SECONDS,
    ENGINE_SECONDS,
    GATEWAY_SECONDS,
    HANDOVER_SECONDS,
    MAX_HELD,
    MAX_TOMBSTONES,
    Core,
    Hold,
    Step,
)
from garage_ai.node.engines.port import Offer
from garage_ai.node.exchange import MAX_BODY
from garage_ai.wire import subjects
from garage_ai.wire.frames import (
    MAX_DATA,
    Accepted,
    Alive,
    Cancel,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Leaving,
    Open,
    Packet,
    Refused,
    cancel_packet,
    credit_packet,
)
from garage_ai.wire.ids import AttemptId, Digest, GatewayId, NodeId, SessionId
from garage_ai.wire.messages import Share

NODE = NodeId("naaaaaaaaaaaa")
SESSION = SessionId("s1")
DIGEST = Digest("sha256:" + "a" * 64)
BODY = b'{"model":"m"}'
ASKERS = {"own", "member", "other", "", "neighbour"}


def offer(slots: int = 2, **more: object) -> Offer:
    return Offer("m", DIGEST, "m", slots=slots, **more)  # type: ignore[arg-type]


def ready(slots: int = 2) -> Core:
    core = Core(NODE, SESSION)
    core.engine_is("ready", "", [offer(slots)])
    return core


def opening(attempt: str = "a1", **changed: object) -> Open:
    usual = Open(
        version=1,
        session=SESSION,
        reply=subjects.reply(GatewayId("g1"), NODE, AttemptId(attempt)),
        route="chat",
        digest=DIGEST,
        stream=True,
        content_length=len(BODY),
        time_limit=60.0,
    )
    return msgspec.structs.replace(usual, **changed)


def job(name: str = "a1", **changed: object) -> Packet:
    return Packet(AttemptId(name), 0, (opening(name, **changed), Data(BODY), End()))


def frames(step: Step) -> list[Frame]:
    return [frame for _, packet in step.send for frame in packet.frames]


def refusal(step: Step) -> str:
    (frame,) = frames(step)
    assert isinstance(frame, Refused)
    return frame.code


def greeted(core: Core, packet: Packet, now: float) -> Step:
    """Take a packet, and say Accepted if it has not been said, as the shell does soon after."""
    step = core.job(packet, now)
    step.send += core.greet(now).send
    return step


def test_takes_a_job_and_runs_it() -> None:
    """A whole request in one packet is accepted at once, on its own reply subject, and run."""
    core = ready()
    step = greeted(core, job(), 0.0)
    assert frames(step) == [Accepted()]
    assert step.send[0][0] == "gai.v1.reply.g1.naaaaaaaaaaaa.a1"
    assert step.run is core.running[AttemptId("a1")]
    assert step.run.body == BODY


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"version": 2}, "unsupported"),
        ({"route": "images"}, "unsupported"),
        ({"content_length": MAX_BODY + 1}, "unsupported"),
        ({"session": "s0"}, "wrong_session"),
        ({"digest": "sha256:" + "b" * 64}, "unknown_model"),
    ],
)
def test_refuses_what_it_cannot_do(changed: dict[str, object], code: str) -> None:
    """A job for another version, route, session or model is refused with its reason."""
    core = ready()
    asked = msgspec.structs.replace(opening(), **changed)
    assert refusal(greeted(core, Packet(AttemptId("a1"), 0, (asked,)), 0.0)) == code
    assert core.running == {}
    assert core.totals.refused == 1


def test_refuses_a_route_the_model_does_not_take() -> None:
    """A chat model does not embed."""
    core = Core(NODE, SESSION)
    core.engine_is("ready", "", [offer(routes=frozenset({"chat"}))])
    assert refusal(greeted(core, job(route="embeddings"), 0.0)) == "unsupported"


def test_says_busy_when_no_slot_is_free() -> None:
    """Beyond the engine's slots a job is refused as busy; a slot that is freed takes the next."""
    core = ready(slots=1)
    first = greeted(core, job("a1"), 0.0).run
    assert first is not None
    assert core.full
    assert refusal(greeted(core, job("a2"), 0.0)) == "busy"
    core.answered(first)
    assert greeted(core, job("a3"), 0.0).run is not None


@pytest.mark.parametrize("state", ["loading", "failed", "stopped"])
def test_says_loading_while_the_engine_is_not_ready(state: str) -> None:
    """An engine that is not ready gets no work, and the reason is told."""
    core = ready()
    core.engine_is(state, "out of memory", core.offers)  # type: ignore[arg-type]
    step = greeted(core, job(), 0.0)
    assert refusal(step) == "loading"
    assert frames(step)[0].message == "out of memory"  # type: ignore[union-attr]


def test_an_engine_that_stood_still_for_the_owner_is_told_to_start_when_he_is_done() -> None:
    """The reason is not the pause that is over."""
    core = ready()
    core.hold("paused", "paused by its owner")
    core.engine_is("stopped", "", core.offers)
    assert core.reason == "paused by its owner"
    core.unhold()
    assert (core.state, core.reason) == ("ready", "the engine is starting")


def test_joins_until_the_engine_was_ready_once() -> None:
    """A node is joining until its engine is ready, and ready, if loading, when it has died."""
    core = Core(NODE, SESSION)
    assert core.state == "joining"
    core.engine_is("loading", "starting", [offer()])
    assert (core.state, core.reason) == ("joining", "starting")
    core.engine_is("ready", "", [offer()])
    assert (core.state, core.reason) == ("ready", "")
    core.engine_is("loading", "died", [offer()])
    assert (core.state, core.reason) == ("ready", "died")


def test_pauses_and_drains() -> None:
    """Paused and draining nodes refuse; each who drains must undrain for himself."""
    core = ready()
    core.paused = True
    assert core.state == "paused"
    assert refusal(greeted(core, job(), 0.0)) == "paused"
    core.paused = False
    core.drain("network", "maintenance")
    core.drain("owner", "game night")
    core.undrain("network")
    assert (core.state, core.reason) == ("draining", "game night")
    assert refusal(greeted(core, job(), 0.0)) == "draining"
    core.undrain("owner")
    assert frames(greeted(core, job(), 0.0)) == [Accepted()]


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_the_guard_holds_it_back(state: Hold) -> None:
    """With the guard's reason; what runs goes on, and afterwards work is taken again."""
    core = ready()
    core.job(job(), 1.0)
    core.hold(state, "a game is running")
    assert (core.state, core.reason) == (state, "a game is running")
    refused = core.job(job("a2"), 2.0)
    assert refusal(refused) == state
    assert "a1" in core.running
    core.hold("paused", "another game is running")
    assert core.reason == "another game is running"
    core.unhold()
    assert (core.state, core.reason) == ("ready", "")


def test_a_pause_is_told_as_one_while_the_guard_drains() -> None:
    """The owner's word is the code; the guard has the better reason."""
    core = ready()
    core.paused = True
    core.hold("draining", "paused by its owner until noon")
    assert core.reason == "paused by its owner until noon"
    assert refusal(core.job(job(), 1.0)) == "paused"


def test_finishes_what_runs_while_draining() -> None:
    """A drain stops no attempt."""
    core = ready()
    greeted(core, job(), 0.0)
    core.drain("network", "")
    assert core.tick(1.0).stop == []
    assert len(core.running) == 1


def test_answers_only_to_a_gateways_own_subject() -> None:
    """A job whose answer would go elsewhere is not even refused."""
    core = ready()
    for reply in ("gai.v1.reply.g1.nother.a1", "gai.v1.reply.g1.naaaaaaaaaaaa.a2", "x", "a.b.>"):
        step = greeted(core, job(reply=reply), 0.0)
        assert step.send == []
        assert step.ignored


def test_ignores_the_rest_of_a_request_it_refused() -> None:
    """Further packets of a job that is not known are ignored."""
    core = ready()
    step = greeted(core, Packet(AttemptId("a1"), 1, (Data(b"x"),)), 0.0)
    assert step.send == []
    assert step.ignored


def test_gathers_a_body_of_several_packets() -> None:
    """A long body comes in packets, is credited as it comes and runs when it is whole."""
    core = ready()
    part = b"x" * MAX_DATA
    size = 5 * MAX_DATA
    attempt = AttemptId("a1")
    sent = [greeted(core, Packet(attempt, 0, (opening(content_length=size), Data(part))), 0.0)]
    sent += [greeted(core, Packet(attempt, seq, (Data(part),)), 0.0) for seq in (1, 2, 3)]
    assert all(step.run is None for step in sent)
    last = greeted(core, Packet(attempt, 4, (Data(part), End())), 0.0)
    assert last.run is not None
    assert last.run.body == part * 5
    told = [frame for step in sent for frame in frames(step)]
    assert told == [Accepted(), Credit(2 * MAX_DATA), Credit(4 * MAX_DATA)]
    numbers = [packet.seq for step in sent for _, packet in step.send]
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Packet(AttemptId("a1"), 2, (Data(b"x"),)), "frame_lost"),
        (Packet(AttemptId("a1"), 0, (Data(b"x"),)), "frame_repeated"),
        (Packet(AttemptId("a1"), 1, (Data(b"x" * 200),)), "too_many_bytes"),
        (Packet(AttemptId("a1"), 1, (Data(b"x"), End())), "too_many_bytes"),
        (Packet(AttemptId("a1"), 1, (Alive(),)), "out_of_turn"),
        (Packet(AttemptId("a1"), -1, (Data(b"x"),)), "out_of_turn"),
    ],
)
def test_gives_up_a_request_whose_packets_break_the_order(packet: Packet, code: str) -> None:
    """A gap, a repetition or a wrong size ends the attempt with its code and frees the slot."""
    core = ready()
    greeted(core, Packet(AttemptId("a1"), 0, (opening(content_length=100), Data(b"x" * 50))), 0.0)
    step = greeted(core, packet, 0.0)
    (failure,) = frames(step)
    assert isinstance(failure, Fail)
    assert failure.code == code
    assert core.running == {}


def test_stops_an_answer_whose_request_goes_on() -> None:
    """A packet after the end of a body stops the engine, once."""
    core = ready()
    exchange = greeted(core, job(), 0.0).run
    step = greeted(core, Packet(AttemptId("a1"), 1, (Data(b"x"),)), 0.0)
    assert step.run is None
    assert step.stop == [(exchange, "too_many_bytes")]


def test_runs_a_request_only_once() -> None:
    """An empty packet in the right place does not start the engine again."""
    core = ready()
    greeted(core, job(), 0.0)
    assert greeted(core, Packet(AttemptId("a1"), 1, ()), 0.0).run is None


def test_cancel_stops_the_engine() -> None:
    """A cancel asks for the engine's stop; the failure is told when that is done."""
    core = ready()
    exchange = greeted(core, job(), 0.0).run
    assert exchange is not None
    step = core.cancel(cancel_packet(AttemptId("a1"), "gone"), 1.0)
    assert step.stop == [(exchange, "cancelled")]
    assert step.send == []
    assert frames(core.failed(exchange, "cancelled", "", 1.1)) == [Fail("cancelled")]
    assert core.totals.cancelled == 1
    assert core.running == {}


def test_cancel_of_a_body_under_way_ends_it_at_once() -> None:
    """No engine runs yet, so there is nothing to wait for."""
    core = ready()
    greeted(core, Packet(AttemptId("a1"), 0, (opening(content_length=100), Data(b"x"))), 0.0)
    assert frames(core.cancel(cancel_packet(AttemptId("a1"), ""), 0.0)) == [Fail("cancelled")]
    assert core.running == {}


def test_cancel_that_overtook_its_job() -> None:
    """A job that comes after its cancel takes no slot and starts no engine."""
    core = ready()
    core.cancel(cancel_packet(AttemptId("a1"), ""), 0.0)
    step = greeted(core, job("a1"), 0.1)
    assert frames(step) == [Accepted(), Fail("cancelled")]
    assert step.run is None
    assert core.running == {}
    assert greeted(core, job("a1"), 0.2).run is not None


def test_remembers_a_bounded_number_of_cancels() -> None:
    """The oldest of many cancels is forgotten."""
    core = ready()
    for number in range(MAX_TOMBSTONES + 1):
        core.cancel(cancel_packet(AttemptId(f"a{number}"), ""), 0.0)
    assert greeted(core, job("a0"), 0.0).run is not None
    assert greeted(core, job("a1"), 0.0).run is None


def test_a_packet_that_is_no_cancel_changes_nothing() -> None:
    """Only a Cancel frame cancels."""
    core = ready()
    greeted(core, job(), 0.0)
    step = core.cancel(credit_packet(AttemptId("a1"), 0), 0.0)
    assert step.ignored
    assert len(core.running) == 1


def test_says_alive_while_the_engine_thinks() -> None:
    """After half a second without a packet the ticker sends a sign of life, in order."""
    core = ready()
    greeted(core, job(), 0.0)
    assert core.tick(0.4).send == []
    (packet,) = [packet for _, packet in core.tick(0.5).send]
    assert packet == Packet(AttemptId("a1"), 1, (Alive(),))
    assert core.tick(0.9).send == []
    assert len(core.tick(1.0).send) == 1


def test_time_limit_stops_the_engine() -> None:
    """The time a gateway gives is kept."""
    core = ready()
    exchange = greeted(core, job(time_limit=10.0), 0.0).run
    assert core.tick(9.9).stop == []
    assert core.tick(10.0).stop == [(exchange, "engine_timeout")]


def test_a_body_that_does_not_come_is_given_up() -> None:
    """A gateway that dies during an upload does not hold a slot for ever."""
    core = ready()
    greeted(core, Packet(AttemptId("a1"), 0, (opening(content_length=100), Data(b"x"))), 0.0)
    (failure,) = frames(core.tick(BODY_SECONDS + 0.1))
    assert isinstance(failure, Fail)
    assert core.running == {}


def test_a_silent_stream_is_given_up_unless_it_is_the_gateway_that_waits() -> None:
    """Silence of the engine ends a stream; a client that reads slowly does not."""
    core = ready()
    exchange = greeted(core, job(time_limit=5000.0), 0.0).run
    assert exchange is not None
    exchange.blocked = True
    core.credit(credit_packet(exchange.id, 0), ENGINE_SECONDS)
    assert core.tick(ENGINE_SECONDS + 1).stop == []
    exchange.blocked = False
    assert core.tick(ENGINE_SECONDS + 1).stop == [(exchange, "engine_timeout")]


def test_a_batch_answer_may_take_all_its_time_for_its_first_word() -> None:
    """Its prompt may wait long in a full card; once it speaks, silence ends it as any stream."""
    core = ready()
    exchange = greeted(core, job(time_limit=5000.0, batch_age=0.0), 0.0).run
    assert exchange is not None
    core.credit(credit_packet(exchange.id, 0), ENGINE_SECONDS)
    assert core.tick(ENGINE_SECONDS + 1).stop == []
    exchange.pack(ENGINE_SECONDS + 1, Data(b"x"))
    assert core.tick(ENGINE_SECONDS + 1).stop == [(exchange, "engine_timeout")]


def test_a_plain_answer_may_take_all_its_time() -> None:
    """An engine says nothing until a plain answer is ready."""
    core = ready()
    greeted(core, job(stream=False, time_limit=5000.0), 0.0)
    core.credit(credit_packet(AttemptId("a1"), 0), ENGINE_SECONDS)
    assert core.tick(ENGINE_SECONDS + 1).stop == []


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_for_nobody_is_given_up(stream: bool) -> None:
    """A gateway that died does not hold a slot: those that live say so."""
    core = ready()
    exchange = greeted(core, job(stream=stream, time_limit=5000.0), 0.0).run
    assert exchange is not None
    core.credit(credit_packet(exchange.id, 0), 15.0)
    assert core.tick(15.0 + GATEWAY_SECONDS).stop == []
    assert core.tick(15.1 + GATEWAY_SECONDS).stop == [(exchange, "gateway_silent")]


def test_credit_for_more_than_was_sent_stops_the_attempt() -> None:
    """A gateway that claims too much breaks the protocol."""
    core = ready()
    exchange = greeted(core, job(), 0.0).run
    known, step = core.credit(credit_packet(AttemptId("a1"), 1), 0.0)
    assert known is exchange
    assert step.stop == [(exchange, "out_of_turn")]


def test_credit_for_an_unknown_attempt_is_nothing() -> None:
    """A credit may come after the end."""
    core = ready()
    known, step = core.credit(credit_packet(AttemptId("a9"), 1), 0.0)
    assert known is None
    assert step == Step()


def test_stop_all_ends_every_attempt() -> None:
    """At the end of the process running engines are stopped and uploads answered."""
    core = ready()
    running = greeted(core, job("a1"), 0.0).run
    greeted(core, Packet(AttemptId("a2"), 0, (opening("a2", content_length=100), Data(b"x"))), 0.0)
    step = core.stop_all("shutdown", 0.0)
    assert step.stop == [(running, "shutdown")]
    assert frames(step) == [Fail("shutdown")]


@pytest.mark.parametrize("code", ["yielded", "shutdown"])
def test_what_the_owner_takes_back_is_no_failure(code: str) -> None:
    """The gateway is told so by name, and the slot is free."""
    core = ready()
    running = greeted(core, job("a1"), 0.0).run
    assert running is not None
    assert core.stop_all(code, 0.0).stop == [(running, code)]
    assert frames(core.failed(running, code, "", 0.0)) == [Fail(code)]
    assert (core.totals.yielded, core.totals.failed, core.running) == (1, 0, {})


def test_a_failure_is_told_once() -> None:
    """An attempt that is over has nothing more to say."""
    core = ready()
    exchange = greeted(core, job(), 0.0).run
    assert exchange is not None
    assert frames(core.failed(exchange, "engine_lost", "", 0.0)) == [Fail("engine_lost")]
    assert core.failed(exchange, "cancelled", "", 0.0).send == []
    assert (core.totals.failed, core.totals.cancelled) == (1, 0)


def test_cancel_after_the_end_is_nothing() -> None:
    """A cancel that crosses the end of an answer stops nothing."""
    core = ready()
    exchange = greeted(core, job(), 0.0).run
    assert exchange is not None
    core.answered(exchange)
    exchange.end()
    step = core.cancel(Packet(AttemptId("a1"), -1, (Cancel(""),)), 0.0)
    assert step.stop == []
    assert core.totals.answered == 1


def test_accepted_rides_along_with_an_engine_that_is_quick() -> None:
    """What the engine says first begins with Accepted; nothing is left to be said after."""
    core = ready()
    exchange = core.job(job(), 0.0).run
    assert exchange is not None
    assert core.greets
    assert exchange.pack(0.0, Head(200, "application/json")).frames == (
        Accepted(),
        Head(200, "application/json"),
    )
    assert frames(core.greet(0.001)) == []
    assert not core.greets


@pytest.mark.parametrize(
    ("share", "taken"),
    [
        ("all", {"own", "member", "other", "", "neighbour"}),
        ("members", {"own", "member"}),
        ("own", {"own"}),
    ],
)
def test_takes_work_only_of_whom_its_owner_lets_in(share: Share, taken: set[str]) -> None:
    """A gateway that does not say who asks does not know that it matters."""
    core = ready(slots=8)
    core.share = share
    steps = {who: core.job(job(who or "nobody", asker=who), 0.0) for who in sorted(ASKERS)}
    assert {who for who, step in steps.items() if step.run is not None} == taken
    refused = {refusal(step) for who, step in steps.items() if step.run is None}
    assert refused <= {"not_shared"}


def test_says_that_it_leaves_while_others_can_go_on() -> None:
    """Streams are told from a few seconds before they are stopped; a plain answer is not."""
    core = ready()
    for name, stream in (("a1", True), ("a2", False)):
        greeted(core, job(name, stream=stream), 0.0)
    core.leaves_at = 20.0
    early = core.tick(20.0 - HANDOVER_SECONDS - 0.1)
    assert {type(frame) for frame in frames(early)} == {Alive}
    late = core.tick(20.0 - HANDOVER_SECONDS + 0.5)
    assert [(packet.attempt, type(packet.frames[0])) for _, packet in late.send] == [
        ("a1", Leaving),
        ("a2", Alive),
    ]
    core.unhold()
    assert {type(frame) for frame in frames(core.tick(16.5))} == {Alive}


def test_requests_take_no_more_of_the_owners_memory_than_is_said() -> None:
    """However many slots there are, and whatever a gateway sends."""
    core = ready(slots=4096)
    large = MAX_HELD // MAX_BODY
    for number in range(large + 1):
        name = f"a{number}"
        begun = opening(name, content_length=MAX_BODY)
        step = greeted(core, Packet(AttemptId(name), 0, (begun, Data(b"x"))), 0.0)
    assert refusal(step) == "busy"
    assert len(core.running) == large
    core.cancel(cancel_packet(AttemptId("a0"), ""), 0.0)
    assert greeted(core, job("b"), 0.0).run is not None
