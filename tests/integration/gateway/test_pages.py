"""Health, metrics, the description and the plain pages; and browsers from elsewhere."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import ask, chat

from garage_ai.accounts import KeyRing
from garage_ai.gateway.errors import PROBLEMS

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example"


async def test_health(edge: Edge) -> None:
    """The gateway lives whether it has nodes or not, and is ready when one serves."""
    assert (await ask(edge, "/health/ready")).status == 200
    edge.network.ready = False
    assert (await ask(edge, "/health/live")).status == 200
    answer = await ask(edge, "/health/ready")
    assert (answer.status, answer.code) == (503, "not_ready")
    assert answer.headers["retry-after"] == "5"


async def test_readiness_tells_of_the_database(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it known keys are served, so the gateway stays ready and says what is missing."""
    assert json.loads((await ask(edge, "/health/ready")).body)["database"] == "reachable"
    monkeypatch.setattr(KeyRing, "reachable", False)
    answer = await ask(edge, "/health/ready")
    assert (answer.status, json.loads(answer.body)["database"]) == (200, "away")


async def test_metrics(edge: Edge) -> None:
    """Metrics need no key and name neither keys nor nodes."""
    await ask(edge, "/v1/models", headers={"authorization": "Bearer gai_x"})
    answer = await ask(edge, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"gai_auth_failures_total 1.0" in answer.body
    assert b'gai_nodes{state="ready"} 1.0' in answer.body
    assert b"nabcdefghijkl" not in answer.body


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_plain_pages(edge: Edge, path: str) -> None:
    """Pages load nothing from anywhere else, and the policy sees to it."""
    answer = await ask(edge, path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"//" not in answer.body.replace(b"</", b"").replace(b"// ", b"")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_description(edge: Edge) -> None:
    """The description holds all routes, every code, and only references that lead somewhere."""
    answer = await ask(edge, "/openapi.json")
    api = json.loads(answer.body)
    assert {"/v1/chat/completions", "/api/v1/nodes", "/health/live"} <= set(api["paths"])
    assert {row["code"] for row in api["x-error-codes"]} == set(PROBLEMS)
    schemas = api["components"]["schemas"]
    references = _references(api)
    assert references
    assert {each.removeprefix("#/components/schemas/") for each in references} <= set(schemas)
    assert "422" not in {
        status
        for operations in api["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    properties = api["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"][
        "application/json"
    ]["schema"]["properties"]
    assert "temperature" in properties
    assert "cache_salt" not in properties


def _references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(each) for each in value))
    return set()


@pytest.fixture
async def open_edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge that one origin may call from a browser."""
    async with running_edge(tmp_path, cors_origins=(ORIGIN,)) as running:
        yield running


async def test_cors(open_edge: Edge) -> None:
    """A browser page of an allowed origin may ask, stream and read errors; no other may."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    path = "/v1/chat/completions"
    preflight = await ask(open_edge, path, method="OPTIONS", headers={"origin": ORIGIN, **asked})
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["x-request-id"].startswith("req_")
    for model, status in (("garage-chat", 200), ("missing", 404)):
        answer = await ask(
            open_edge,
            path,
            method="POST",
            headers=open_edge.bearer | {"origin": ORIGIN},
            json_body=chat(model, stream=True),
        )
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
    bare = await ask(open_edge, path, method="OPTIONS", headers={"origin": ORIGIN})
    assert (bare.status, bare.headers["x-request-id"][:4]) == (405, "req_")
    other = await ask(open_edge, "/health/live", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    refused = await ask(
        open_edge, path, method="OPTIONS", headers={"origin": "https://evil.example", **asked}
    )
    assert refused.status == 400


async def test_every_method_may_be_asked_from_a_page(open_edge: Edge) -> None:
    """A browser asks before each; what the API has and is not let in nobody could use there."""
    api = json.loads((await ask(open_edge, "/openapi.json")).body)
    methods = {method.upper() for each in api["paths"].values() for method in each}
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= methods
    for method in methods:
        asked = {"origin": ORIGIN, "access-control-request-method": method}
        preflight = await ask(open_edge, "/api/v1/prices", method="OPTIONS", headers=asked)
        assert (preflight.status, method) == (200, method)


async def test_no_cors(edge: Edge) -> None:
    """Without the setting no origin is let in."""
    answer = await ask(edge, "/health/live", headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
