"""An attempt never raises and always ends, whatever a node says."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.network.answer import Request
from garage_ai.network.attempt import OUT_OF_TIME, Attempt, Limits, Step, Verdict
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.plain_replies import reader_for
from garage_ai.network.replies import DONE
from garage_ai.wire.frames import (
    UNNUMBERED,
    Accepted,
    Alive,
    Cancel,
    Credit,
    Data,
    End,
    Fail,
    Frame,
    Head,
    Open,
    Packet,
    Refused,
)
from garage_ai.wire.ids import AttemptId, Digest, NodeId
from garage_ai.wire.window import WINDOW

LIMITS = Limits(accepted=3.0, first_byte=10.0, silence=5.0, total=60.0)
OPENING = Open(1, "s", "r", "chat", Digest("sha256:" + "0" * 64), True, 0, 60.0)
WORD = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'

frames: st.SearchStrategy[Frame] = st.one_of(
    st.just(Accepted()),
    st.just(Alive()),
    st.just(End()),
    st.builds(Head, st.integers(100, 599), st.just("text/event-stream")),
    st.builds(Data, st.binary(max_size=50) | st.sampled_from([WORD, STOP, DONE, WORD + STOP])),
    st.builds(Refused, st.sampled_from(["busy", "draining", "???"])),
    st.builds(Fail, st.sampled_from(["engine_lost", "yielded", "cancelled", "???"])),
    st.builds(Credit, st.integers(0, 1 << 40)),
    st.just(Cancel()),
)


def attempt(body: bytes = b"{}", *, stream: bool = True, limits: Limits = LIMITS) -> Attempt:
    """Begin an attempt."""
    reader = reader_for("chat", stream=stream, include_usage=False, max_bytes=1000)
    return Attempt(
        AttemptId("a"),
        NodeId("n"),
        body=body,
        reader=reader,
        limits=limits,
        max_answer=1 << 20,
        now=0.0,
    )


def test_a_request_that_has_no_time_left_is_no_silence_of_the_node() -> None:
    """What is left for another try may be less than a node has for its first word."""
    tried = attempt(limits=replace(LIMITS, total=LIMITS.accepted / 2))
    tried.start(OPENING)
    assert tried.late(LIMITS.accepted / 2).verdict == Verdict(
        "timeout", "the answer took too long", OUT_OF_TIME
    )


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.lists(frames, max_size=4)), max_size=15),
    st.booleans(),
)
def test_any_frames_in_any_order(packets: list[tuple[int, list[Frame]]], stream: bool) -> None:
    """Nothing is raised, at most one verdict is given, and nothing follows it."""
    tried = attempt(stream=stream)
    tried.start(OPENING)
    verdicts, seq = 0, 0
    for number, (slip, said) in enumerate(packets):
        numbered = UNNUMBERED if slip == -1 else seq + slip
        step = tried.received(Packet(AttemptId("a"), numbered, tuple(said)), now=float(number) / 10)
        seq += numbered == seq
        if verdicts:
            assert step == Step()
        verdicts += step.verdict is not None
    assert verdicts <= 1
    late = tried.late(1000.0)
    assert (late.verdict is not None) == (verdicts == 0)


@given(st.lists(st.floats(0, 7), min_size=1, max_size=30))
def test_limits_fall_when_they_are_due_and_not_before(pauses: list[float]) -> None:
    """Acceptance, silence, first byte and total: the first one passed ends the attempt."""
    tried = attempt()
    tried.start(OPENING)
    now, last, seq = 0.0, 0.0, 0
    for pause in pauses:
        now += pause
        accepted_late = seq == 0 and now >= LIMITS.accepted
        silent = now >= last + LIMITS.silence
        no_content = seq > 0 and now >= LIMITS.first_byte
        verdict = tried.late(now).verdict
        assert (verdict is not None) == (accepted_late or silent or no_content)
        if verdict is not None:
            assert verdict.kind == ("lost" if accepted_late or silent else "timeout")
            return
        tried.received(Packet(AttemptId("a"), seq, (Alive() if seq else Accepted(),)), now)
        last, seq = now, seq + 1


def test_a_plain_answer_has_the_whole_time_and_not_the_first_bytes() -> None:
    """It comes in one piece at its end, so a long one is late only when the total is over."""
    tried = attempt(stream=False)
    tried.start(OPENING)
    for seq in range(int(LIMITS.total)):
        frame: Frame = Alive() if seq else Accepted()
        assert tried.late(float(seq)).verdict is None
        tried.received(Packet(AttemptId("a"), seq, (frame,)), float(seq))
    verdict = tried.late(LIMITS.total).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.code) == ("timeout", "total")


def test_a_batch_answer_has_the_whole_time_for_its_first_byte() -> None:
    """Though it is heard as a stream: a prompt on a full card is no failure; a dead node is one."""
    request = Request("chat", "m", b"", stream=True, include_usage=True, priority="batch")
    limits = DispatchLimits(attempt=LIMITS).of(request)
    tried = attempt(limits=limits)
    tried.start(OPENING)
    for seq in range(int(LIMITS.total)):
        frame: Frame = Alive() if seq else Accepted()
        assert tried.late(float(seq)).verdict is None
        tried.received(Packet(AttemptId("a"), seq, (frame,)), float(seq))
    assert tried.due == LIMITS.total
    said = (Head(200, "text/event-stream"), Data(WORD))
    tried.received(Packet(AttemptId("a"), int(LIMITS.total), said), LIMITS.total - 0.5)
    assert tried.late(LIMITS.total + 1).verdict is None
    assert tried.late(LIMITS.total + LIMITS.silence).verdict == Verdict(
        "lost", "the node is silent", "silence"
    )


@given(st.integers(0, 4 * WINDOW), st.integers(1, WINDOW))
def test_a_body_goes_out_whole_and_within_the_window(size: int, chunk: int) -> None:
    """Whatever credit comes, the body arrives once, in order, ended once."""
    body = bytes(n % 251 for n in range(1000)) * (size // 1000 + 1)
    body = body[:size]
    tried = attempt(body)
    sent = list(tried.start(OPENING).send)
    tried.received(Packet(AttemptId("a"), 0, (Accepted(),)), 0.0)
    # Byte by byte is enough of a small body; of a large one it would take for ever.
    chunk = max(chunk, size // 500)
    got, credited, seq = bytearray(), 0, 1
    while True:
        for packet in sent:
            got += b"".join(frame.body for frame in packet.frames if isinstance(frame, Data))
        assert len(got) - credited <= WINDOW
        if any(isinstance(frame, End) for packet in sent for frame in packet.frames):
            break
        credited = min(len(got), credited + chunk)
        sent = tried.received(Packet(AttemptId("a"), seq, (Credit(credited),)), 0.0).send
        seq += 1
    assert got == body


@given(st.integers(100, 599))
def test_only_success_is_an_answer(status: int) -> None:
    """What is said under any other status is a complaint, and never reaches the client."""
    trial = attempt()
    step = trial.received(
        Packet(AttemptId("a"), 0, (Accepted(), Head(status, "text/event-stream"))), 1.0
    )
    step = trial.received(Packet(AttemptId("a"), 1, (Data(WORD),)), 1.0)
    given_out = b"".join(out for out, _ in step.deliver)
    assert given_out == (WORD if 200 <= status < 300 else b"")
