"""Every failure comes in OpenAI's envelope, with its code and the request's id."""

import json

import pytest
from tests.parts.edge import Edge
from tests.parts.raw_http import Answer, ask, chat

pytestmark = pytest.mark.anyio


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """The module's edge, with no calls noted."""
    shared_edge.serving.forget()
    return shared_edge


def check(answer: Answer, status: int, code: str) -> None:
    """Compare an error with what the table says."""
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1", 404, "unsupported_endpoint"),
        ("POST", "/v1/images/generations", 404, "unsupported_endpoint"),
        ("GET", "/v1/assistants", 404, "unsupported_endpoint"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PATCH", "/v1/models/garage-chat", 405, "method_not_allowed"),
        ("POST", "/health/live", 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("PUT", "/api/v1/nodes", 405, "method_not_allowed"),
        ("GET", "/api/v1", 404, "not_found"),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
    ],
)
async def test_paths_and_methods(
    edge: Edge, method: str, path: str, status: int, code: str
) -> None:
    """What is not there, or not for this method, is told so."""
    answer = await ask(edge, path, method=method, headers=edge.admin_bearer)
    check(answer, status, code)
    assert ("allow" in answer.headers) is (status == 405)


async def test_a_model_that_is_not_there_is_named_as_such(edge: Edge) -> None:
    """`param` says `model`, as for a chat with it."""
    answer = await ask(edge, "/v1/models/nope", headers=edge.bearer)
    assert json.loads(answer.body)["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("missing", 404, "model_not_found"),
        ("nobody", 503, "no_node"),
        ("broken", 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refused_by_serving(
    edge: Edge, model: str, status: int, code: str, stream: bool
) -> None:
    """What serving refuses has its status, whether a stream was asked for or not."""
    body = chat(model, stream=stream, cache_salt="x")
    answer = await ask(
        edge, "/v1/chat/completions", method="POST", headers=edge.bearer, json_body=body
    )
    check(answer, status, code)
    assert b"secret" not in answer.body
    assert answer.headers.get("retry-after") == ("3" if model == "nobody" else None)


async def test_dropped_fields_are_named(edge: Edge) -> None:
    """What was left out is named, in answers and in refusals."""
    for model, status in (("garage-chat", 200), ("nobody", 503)):
        answer = await ask(
            edge,
            "/v1/chat/completions",
            method="POST",
            headers=edge.bearer,
            json_body=chat(model, cache_salt="x", priority=1),
        )
        assert answer.status == status
        assert answer.headers["x-gai-dropped"] == "cache_salt,priority"
    assert b"cache_salt" not in edge.serving.calls[0].body


async def test_bad_json(edge: Edge) -> None:
    """A body that is no JSON is a 400 on every route."""
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/api/v1/keys"):
        answer = await ask(
            edge,
            path,
            method="POST",
            headers=edge.admin_bearer | {"content-type": "application/json"},
            body=b"{oops",
        )
        check(answer, 400, "invalid_json")


async def test_no_422(edge: Edge) -> None:
    """What FastAPI would call unprocessable is a 400 that names the field."""
    answer = await ask(
        edge, "/api/v1/keys", method="POST", headers=edge.admin_bearer, json_body={"name": 1}
    )
    check(answer, 400, "invalid_value")
    assert json.loads(answer.body)["error"]["param"] == "name"
    answer = await ask(edge, "/api/v1/keys", method="POST", headers=edge.admin_bearer, json_body={})
    check(answer, 400, "missing_required_parameter")
    answer = await ask(edge, "/api/v1/usage?limit=-1", headers=edge.admin_bearer)
    check(answer, 400, "invalid_value")


async def test_faults_are_told_by_their_id_alone(edge: Edge) -> None:
    """A fault's answer holds the request id and nothing of the exception."""
    answer = await ask(
        edge,
        "/v1/chat/completions",
        method="POST",
        headers=edge.bearer,
        json_body=chat("broken"),
    )
    assert answer.headers["x-request-id"] in json.loads(answer.body)["error"]["message"]
    metrics = await ask(edge, "/metrics")
    assert b'gai_http_errors_total{code="internal_error"}' in metrics.body


async def test_bad_region(edge: Edge) -> None:
    """A region header that names none is refused; a good one reaches serving."""
    for region, status in (("Stockholm", 400), ("SE-XX", 400), ("SE-AB", 200)):
        answer = await ask(
            edge,
            "/v1/chat/completions",
            method="POST",
            headers=edge.bearer | {"x-gai-region": region},
            json_body=chat(),
        )
        assert answer.status == status
    assert [call.region for call in edge.serving.calls] == ["SE-AB"]


async def test_a_node_cannot_split_an_answer(edge: Edge) -> None:
    """What a node says of itself is made harmless in headers."""
    answer = await ask(
        edge, "/v1/chat/completions", method="POST", headers=edge.bearer, json_body=chat("odd")
    )
    assert answer.status == 200
    assert answer.headers["x-gai-region"] == "a??set-cookie: x"
    assert "set-cookie" not in answer.headers


async def test_answer_headers(edge: Edge) -> None:
    """An answer of a node says which node, where, how trusted, and is not buffered."""
    answer = await ask(
        edge,
        "/v1/chat/completions",
        method="POST",
        headers=edge.bearer,
        json_body=chat(stream=True),
    )
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-gai-node"] == "nabcdefghijkl"
    assert answer.headers["x-gai-region"] == "SE-AB"
    assert answer.headers["x-gai-trust"] == "unverified"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"] == edge.serving.calls[0].request_id
    assert answer.body.endswith(b"data: [DONE]\n\n")
