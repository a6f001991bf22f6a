"""Two volunteers with the same model: what goes wrong with one, the client does not see."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.conftest import MakeLent
from tests.parts.http_caller import Answer
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def both(make_lent: MakeLent) -> tuple[Lent, Lent]:
    """Two volunteers in the yard."""
    return make_lent("one"), make_lent("two")


FAULTS: list[dict[str, object]] = [
    {"fail_every": 1, "fail_status": 500},
    {"fail_every": 1, "fail_status": 401},
    {"cut_after": 0},
    {"garbage_after": 0},
]


def test_a_bad_engine_among_two(both: tuple[Lent, Lent]) -> None:
    """Until the first content the other is asked: streams all come from the good one."""
    bad, good = both
    key = good.product.new_key()
    http = good.http.with_key(key["key"])

    def asked(lent: Lent) -> bool:
        """Read a stream, and tell whether the engine had a part in it."""
        before = lent.engine.state()["seen"]
        with http.stream(MODEL) as stream:
            assert stream.rest().done
        return lent.engine.state()["seen"] > before

    for fault in FAULTS:
        bad.engine.set(**fault)
        eventually("a request that was moved", lambda: asked(bad))
        bad.engine.reset()
        eventually("a good answer of both", lambda: asked(bad))
    eventually("records", lambda: _tries(good, key["id"]).count(2) == len(FAULTS))


def _tries(lent: Lent, key_id: str) -> list[int]:
    return [record["attempts"] for record in lent.product.records(key_id)]


def test_a_node_that_dies_before_the_first_content(both: tuple[Lent, Lent]) -> None:
    """Requests that wait on it are asked again of the other, in time and once each."""
    dying, other = both
    before = other.engine.state()["seen"]
    # However late this looks and kills: nothing of the one that dies is answered before.
    dying.engine.set(first_byte_delay=60.0)
    other.engine.set(first_byte_delay=1.0)

    def ask(_: int) -> Answer:
        return other.http.chat(MODEL, max_tokens=3)

    def both_at_work() -> bool:
        return dying.engine.state()["running"] > 0 and other.engine.state()["seen"] > before

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, number) for number in range(6)]
        eventually("work on both", both_at_work, 20)
        dying.node.program.signal(signal.SIGKILL)
        dying.node.program.process.wait(30)
        done = [answer.result() for answer in answers]
    assert [answer.status for answer in done] == [200] * 6
    assert {answer.headers["x-gai-node"] for answer in done} == {other.node.id}


def test_a_busy_node_is_no_failure(make_lent: MakeLent) -> None:
    """More requests than one has slots for go to the other, and the rest wait their turn."""
    small, large = make_lent("small", slots=1), make_lent("large", slots=3)
    for lent in (small, large):
        lent.engine.set(first_byte_delay=0.2)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: small.http.chat(MODEL), range(12)))
    assert [answer.status for answer in answers] == [200] * 12
    assert small.engine.state()["peak_running"] == 1
    assert large.engine.state()["peak_running"] == 3
    assert small.engine.state()["served"] + large.engine.state()["served"] >= 12
