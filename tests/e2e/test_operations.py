"""What an operator sees of a running network: health, metrics, nodes."""

import re
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import MakeLent
from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually


def metrics(lent: Lent) -> dict[str, float]:
    """Read the metrics, by name with labels."""
    text = lent.http.get("/metrics").body.decode()
    return {
        found[1]: float(found[2])
        for found in re.finditer(r"^([^#\s].*) (\S+)$", text, re.MULTILINE)
    }


REFUSED = 'gai_http_errors_total{code="model_not_found"}'


def counted(lent: Lent, refused: float = 0.0) -> dict[str, float]:
    """Read the metrics once all that was delivered has been counted.

    A text that took long to make is given again for a while: one that counts `refused` requests
    was made after they were.
    """

    def look() -> dict[str, float]:
        seen = metrics(lent)
        new = not seen["gai_counts_waiting"] and seen.get(REFUSED, 0.0) >= refused
        return seen if new else {}

    return eventually("all is counted", look)


def test_metrics_after_traffic(lent: Lent) -> None:
    """Requests, tokens, first-token times, errors and nodes are counted; nobody is named."""
    earlier = counted(lent)
    lent.http.chat("nonesuch")
    # So that what the tests before asked for, and this one's fixture, is in it.
    before = counted(lent, earlier.get(REFUSED, 0.0) + 1)
    lent.http.chat(MODEL, max_tokens=4)
    with lent.http.stream(MODEL) as stream:
        stream.rest()
    lent.http.chat("nonesuch")
    after = counted(lent, before[REFUSED] + 1)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    kind = f'gai_priority="chat",gen_ai_operation_name="chat",gen_ai_request_model="{MODEL}"'
    ok = f'{{error_type="",{kind}}}'
    assert grown(f"gen_ai_server_request_duration_seconds_count{ok}") == 2
    first = f"{{{kind}}}"
    # Of the stream alone: when a plain answer had its first token is not seen.
    assert grown(f"gen_ai_server_time_to_first_token_seconds_count{first}") == 1
    put_out = f'{{{kind},gen_ai_token_type="output"}}'
    assert grown(f"gen_ai_client_token_usage_sum{put_out}") == 4 + 32
    assert grown(REFUSED) == 1
    assert after['gai_nodes{state="ready"}'] == 1
    assert after["gai_requests_running"] == 0
    text = lent.http.get("/metrics").body.decode()
    assert lent.node.id not in text
    assert "nonesuch" not in text


def test_ready_says_whether_a_node_serves(own: Lent) -> None:
    """200 with a node that serves, 503 without, 200 again when it is back; live all the while."""
    lent = own
    assert lent.http.get("/health/ready").status == 200
    assert lent.node.stop() == 0
    eventually("503", lambda: lent.http.get("/health/ready").status == 503)
    unready = lent.http.get("/health/ready")
    assert unready.code == "not_ready"
    assert int(unready.headers["retry-after"]) > 0
    assert lent.http.get("/health/live").status == 200
    gone = lent.http.chat(MODEL)
    assert (gone.status, gone.code) == (503, "no_node")
    assert int(gone.headers["retry-after"]) > 0
    assert lent.node.seen["state"] == "gone"
    lent.node.run()
    eventually("200", lambda: lent.http.get("/health/ready").status == 200)
    assert lent.http.chat(MODEL).status == 200


def test_a_node_is_drained_and_taken_back(lent: Lent) -> None:
    """A drained node finishes what it does, takes nothing new, and works again when told."""
    node = lent.node.id
    lent.engine.set(chunk_delay=0.02, chunks=40)
    with lent.http.stream(MODEL) as stream:
        stream.content()
        drained = lent.http.ask("POST", f"/api/v1/nodes/{node}/drain", {"reason": "to be moved"})
        assert drained.json()["state"] == "draining"
        refused = lent.http.chat(MODEL)
        assert (refused.status, refused.code) == (503, "no_node")
        assert stream.rest().done
    eventually("the owner's copy", lambda: "to be moved" in lent.node.seen["reason"])
    lent.http.ask("POST", f"/api/v1/nodes/{node}/undrain")
    lent.product.serves(MODEL)


def test_a_busy_node_lets_requests_wait(make_lent: MakeLent) -> None:
    """Beyond its slots requests queue and are served in their turn; the engine never has more."""
    lent = make_lent(slots=2)
    lent.engine.set(first_byte_delay=0.1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: lent.http.chat(MODEL), range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    assert lent.engine.state()["peak_running"] == 2
