"""What was asked and what is written down of it: the same, one for one."""

from typing import Any

from tests.parts.lent_engine import MODEL, Lent
from tests.parts.waiting import eventually


def test_one_record_for_each_request_however_it_ended(lent: Lent) -> None:
    """Whole, streamed, aborted, refused and failed requests are each in usage exactly once."""
    key = lent.product.new_key()
    http = lent.http.with_key(key["key"])
    expected: dict[str, str] = {}

    def whole(outcome: str, model: str = MODEL) -> None:
        expected[http.chat(model, max_tokens=3).headers["x-request-id"]] = outcome

    def streamed(outcome: str, *, leave: bool = False) -> None:
        with http.stream(MODEL) as stream:
            expected[stream.headers["x-request-id"]] = outcome
            if leave:
                stream.content()
            else:
                stream.rest()

    whole("ok")
    streamed("ok")
    whole("model_not_found", "nonesuch")
    lent.engine.set(fail_every=1)
    whole("engine_error")
    lent.engine.set(fail_every=0, chunk_delay=0.01, cut_after=3)
    streamed("engine_error")
    lent.engine.set(cut_after=None, chunks=10_000)
    streamed("client_closed", leave=True)

    def written() -> list[dict[str, Any]]:
        records = lent.product.records(key["id"])
        return records if len(records) >= len(expected) else []

    # Each is written when it is counted, so that two may change places.
    written_at = eventually("the records", written, 20)
    records = sorted(written_at, key=lambda each: str(each["at"]), reverse=True)
    assert {each["request_id"]: each["outcome"] for each in records} == expected
    assert len(records) == len(expected)
    first = records[-1]
    assert (first["route"], first["model"], first["stream"]) == ("chat", MODEL, False)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (16, 3)
    assert first["node"] == lent.node.id
    assert first["digest"].startswith("sha256:")
    assert first["ttft_s"] is None
    assert 0 < records[-2]["ttft_s"] <= records[-2]["duration_s"]
    assert first["attempts"] == 1
    aborted = records[0]
    assert aborted["content_events"] >= 1
    assert aborted["completion_tokens"] is None
    # No later group brings any of them a second time.
    whole("ok")
    eventually("the next record", lambda: len(lent.product.records(key["id"])) == 7)


def test_a_request_that_never_gets_in_is_no_usage(lent: Lent) -> None:
    """What fails before admission - a bad key, a bad body - belongs to nobody."""
    key = lent.product.new_key()
    http = lent.http.with_key(key["key"])
    assert http.ask("POST", "/v1/chat/completions", b"{").status == 400
    assert http.get("/v1/models").status == 200
    assert http.chat(MODEL).status == 200
    eventually("a record", lambda: len(lent.product.records(key["id"])) == 1)


def test_sums_agree_with_the_records(lent: Lent) -> None:
    """The totals by key are the sums over that key's records."""
    key = lent.product.new_key()
    http = lent.http.with_key(key["key"])
    for number in range(1, 5):
        assert http.chat(MODEL, max_tokens=number).status == 200
    eventually("the records", lambda: len(lent.product.records(key["id"])) == 4)
    totals = lent.http.get("/api/v1/usage?by=key&limit=0").json()["totals"]
    [mine] = [total for total in totals if total["group"] == key["id"]]
    assert mine["requests"] == 4
    assert mine["completion_tokens"] == 1 + 2 + 3 + 4
    assert mine["prompt_tokens"] == 4 * 16
    listed = lent.http.get("/api/v1/keys").json()["data"]
    [shown] = [each for each in listed if each["id"] == key["id"]]
    assert "key" not in shown
    eventually("a last use", lambda: _last_used(lent, key["id"]) is not None)


def _last_used(lent: Lent, key_id: str) -> str | None:
    listed = lent.http.get("/api/v1/keys").json()["data"]
    [shown] = [each for each in listed if each["id"] == key_id]
    moment: str | None = shown["last_used_at"]
    return moment
