"""Lines of results are OpenAI's, one line each, always with the same id."""

import json

from garage_ai.batch import BatchId
from garage_ai.batch.results import answered, unanswered

BATCH = BatchId("batch_1")


def test_an_answer_is_one_line() -> None:
    """An engine's JSON over several lines becomes one; another is not touched."""
    pretty = json.dumps({"choices": ["a\nb"]}, indent=2).encode()
    line = answered(BATCH, 1, "a", status=200, request_id="req_1", body=pretty)
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert read["response"] == {
        "status_code": 200,
        "request_id": "req_1",
        "body": {"choices": ["a\nb"]},
    }
    assert (read["custom_id"], read["error"]) == ("a", None)
    flat = b'{"x": 1.0e0}'
    assert flat in answered(BATCH, 1, "a", status=200, request_id="req_1", body=flat)


def test_text_readers_see_one_line_too() -> None:
    """What Python and the official client take for the end of a line is written as its escape."""
    said = "å\x85b\u2028c\u2029d"
    body = json.dumps({"x": said}, ensure_ascii=False).encode()
    line = answered(BATCH, 1, said, status=200, request_id="req_1", body=body).decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["response"]["body"] == {"x": said}
    assert json.loads(line)["custom_id"] == said
    assert "å" in line


def test_what_was_never_answered() -> None:
    """There is an error and no response."""
    read = json.loads(unanswered(BATCH, 2, "b", "batch_expired", "Too late."))
    assert read["response"] is None
    assert read["error"] == {"code": "batch_expired", "message": "Too late."}


def test_ids_are_those_of_the_line() -> None:
    """The same line of a batch has one id, whoever writes it; others have others."""
    ids = {
        json.loads(unanswered(batch, line, "c", "x", "y"))["id"]
        for batch in (BATCH, BatchId("batch_2"))
        for line in (1, 2)
        for _ in range(2)
    }
    assert len(ids) == 4
    assert all(each.startswith("batch_req_") for each in ids)
