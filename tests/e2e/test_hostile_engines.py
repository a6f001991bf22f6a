"""An engine that answers anything at all, behind a real agent."""

import pytest
from tests.e2e.conftest import MAX_ANSWER
from tests.parts.http_caller import Answer
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

LATER = 3
"""Content events that go out before the fault strikes."""

STATUS = {"engine_rejected": 400}
"""What is more than is taken may be what was asked for: then its client is to ask for less."""


def heals(lent: Lent) -> None:
    """See that an engine that is well again serves at once, and that nothing hangs on."""
    lent.engine.reset()
    assert lent.http.chat(MODEL).status == 200
    eventually("an idle engine", lent.engine.is_idle)
    eventually("an idle node", lambda: lent.node.seen["inflight"] == 0)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"garbage_after": 0}, "bad_node_reply"),
        ({"bad_json_after": 0}, "bad_node_reply"),
        ({"cut_after": 0}, "engine_error"),
        ({"oversized_event": 2_000_000}, "engine_rejected"),
        ({"fail_every": 1, "fail_status": 500}, "engine_error"),
        ({"fail_every": 1, "fail_status": 401}, "engine_error"),
        ({"fail_every": 1, "fail_status": 403}, "engine_error"),
        ({"fail_every": 1, "fail_status": 429}, "engine_error"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_fault_before_the_first_content(lent: Lent, fault: dict[str, object], code: str) -> None:
    """It is a whole error answer with the documented code, though a stream was asked for."""
    lent.engine.set(**fault)
    with lent.http.stream(MODEL) as stream:
        answer = Answer(stream.status, stream.headers, stream.whole())
    assert (answer.status, answer.code) == (STATUS.get(code, 502), code)
    assert answer.headers["content-type"] == "application/json"
    heals(lent)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"garbage_after": LATER}, "bad_node_reply"),
        ({"bad_json_after": LATER}, "bad_node_reply"),
        ({"cut_after": LATER}, "engine_error"),
    ],
    ids=["garbage", "bad_json", "cut"],
)
def test_a_fault_after_content(lent: Lent, fault: dict[str, object], code: str) -> None:
    """What came before it stands; then comes an error event and the end, without [DONE]."""
    lent.engine.set(chunk_delay=0.01, **fault)
    with lent.http.stream(MODEL) as stream:
        ending = stream.rest()
    assert ending.text == " w0 w1 w2"
    assert (ending.error, ending.done, ending.broken) == (code, False, False)
    heals(lent)


def test_a_stream_without_its_last_word(lent: Lent) -> None:
    """An engine that forgets [DONE] but has finished has given a whole answer."""
    lent.engine.set(no_done=True)
    with lent.http.stream(MODEL) as stream:
        ending = stream.rest()
    assert ending.done
    assert ending.error is None


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"bad_json": True}, "bad_node_reply"),
        ({"huge_body": MAX_ANSWER * 3}, "engine_rejected"),
        ({"cut_after": 0}, "engine_error"),
        ({"fail_every": 1, "fail_status": 500}, "engine_error"),
        ({"fail_every": 1, "fail_status": 401}, "engine_error"),
        ({"fail_every": 1, "fail_status": 429}, "engine_error"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_fault_of_a_whole_answer(lent: Lent, fault: dict[str, object], code: str) -> None:
    """It is an error answer, and nothing of the fault reaches the client."""
    lent.engine.set(**fault)
    answer = lent.http.chat(MODEL)
    assert (answer.status, answer.code) == (STATUS.get(code, 502), code)
    assert b"filler" not in answer.body
    heals(lent)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_an_engine_that_turns_the_node_away_trips_no_breaker(lent: Lent, status: int) -> None:
    """After many such refusals the node is asked as before."""
    lent.engine.set(fail_every=1, fail_status=status)
    for _ in range(8):
        assert lent.http.chat(MODEL).code == "engine_error"
    assert lent.engine.state()["failed"] == 8
    heals(lent)


def test_an_engine_that_dies(own: Lent) -> None:
    """Its streams end in an error event, new ones are errors; started again, it serves."""
    own.engine.set(chunk_delay=0.01, chunks=10_000)
    with own.http.stream(MODEL) as stream:
        stream.content()
        own.engine.program.process.kill()
        ending = stream.rest()
    assert ending.error == "engine_error"
    assert not ending.done
    dead = own.http.chat(MODEL)
    assert (dead.status, dead.code) in {
        (502, "engine_error"),
        (503, "no_node"),
        (503, "model_loading"),
    }
    own.engine.stop()
    own.engine.start()
    own.node.serving()
