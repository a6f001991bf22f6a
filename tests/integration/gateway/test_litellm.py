"""What LiteLLM proxies tell a gateway, on a real port: kept once, judged one by one."""

from typing import Any

import pytest
from tests.parts.edge import Edge
from tests.parts.http_caller import Answer, Caller

pytestmark = pytest.mark.anyio

CALL = {
    "call_id": "c1",
    "request_id": "req_1",
    "begun_at": "2026-11-01T12:00:00Z",
    "ended_at": "2026-11-01T12:00:01Z",
    "model": "mock",
    "route": "acompletion",
    "stream": True,
    "sent": True,
    "outcome": "ok",
    "prompt_tokens": 16,
    "completion_tokens": 5,
    "cost": "0.000026000000",
    "key_alias": "anna",
}
TOLD = "/api/v1/usage/litellm"
MAPPINGS = "/api/v1/litellm/mappings"


async def ask(edge: Edge, key: str, method: str, path: str, body: object = None) -> Answer:
    """Ask from a thread of its own: the edge runs in this loop."""
    import asyncio

    return await asyncio.to_thread(Caller(edge.url, key).ask, method, path, body)


async def tell(edge: Edge, *calls: object, key: str | None = None) -> list[dict[str, Any]]:
    """Tell calls, and give the results."""
    answer = await ask(edge, key or edge.admin, "POST", TOLD, {"calls": calls})
    assert answer.status == 200, answer.body
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_a_call_is_taken_once(edge: Edge) -> None:
    """However often it is told."""
    assert [each["result"] for each in await tell(edge, CALL, CALL)] == ["new", "known"]
    assert [each["result"] for each in await tell(edge, CALL)] == ["known"]


async def test_only_a_key_for_it_may_tell(edge: Edge) -> None:
    """A key for requests alone is refused; one with the scope `usage` does nothing else."""
    answer = await ask(edge, edge.user, "POST", TOLD, {"calls": [CALL]})
    assert answer.code == "insufficient_scope"
    made = await ask(edge, edge.admin, "POST", "/api/v1/keys", {"name": "p", "scopes": ["usage"]})
    key = made.json()["key"]
    assert (await tell(edge, CALL, key=key))[0]["result"] == "new"
    for method, path in (("GET", MAPPINGS), ("GET", f"{TOLD}/differences"), ("GET", "/v1/models")):
        assert (await ask(edge, key, method, path)).code == "insufficient_scope"


@pytest.mark.parametrize(
    "wrong",
    [
        {"call_id": ""},
        {"call_id": "x" * 129},
        {"call_id": "a b"},
        {"call_id": 5},
        {"outcome": "fine"},
        {"begun_at": "yesterday"},
        {"begun_at": "2026-11-01T12:00:00"},
        {"prompt_tokens": -1},
        {"completion_tokens": 2**53},
        {"cost": "1e9"},
        {"cost": 5},
        {"cost": "-1"},
        {"model": "x" * 256},
        {"key_alias": "a\x00b"},
        {"key_alias": "a\nb"},
        {"route": "a b"},
        {"request_id": "x" * 65},
    ],
)
async def test_an_unfit_call_keeps_no_other_out(edge: Edge, wrong: dict[str, object]) -> None:
    """It is refused with a reason; its neighbours are kept, in their order."""
    results = await tell(edge, CALL, CALL | {"call_id": "c2"} | wrong, CALL | {"call_id": "c3"})
    assert [each["result"] for each in results] == ["new", "refused", "new"]
    assert results[1]["reason"]


@pytest.mark.parametrize("call", [None, 5, "x", [], {}, {"call_id": "\ud800"}])
async def test_what_is_no_call_is_refused(edge: Edge, call: object) -> None:
    """Also in a shape that nobody foresaw."""
    assert [each["result"] for each in await tell(edge, call)] == ["refused"]


async def test_a_newer_callback_may_say_more(edge: Edge) -> None:
    """What is not known is ignored: proxies and gateways are not updated together."""
    assert (await tell(edge, CALL | {"colour": "blue"}))[0]["result"] == "new"


async def test_a_thousand_calls_are_a_group_and_no_more(edge: Edge) -> None:
    """More are refused whole."""
    calls = [CALL | {"call_id": f"c{number}"} for number in range(1000)]
    assert {each["result"] for each in await tell(edge, *calls)} == {"new"}
    answer = await ask(edge, edge.admin, "POST", TOLD, {"calls": [*calls, CALL]})
    assert (answer.status, answer.code) == (400, "invalid_value")


async def test_mappings_are_made_listed_and_removed(edge: Edge) -> None:
    """By an administrator, and told in the log."""
    made = await ask(edge, edge.admin, "POST", "/api/v1/members", {"name": "Anna"})
    asked = {"kind": "alias", "value": "anna", "member": made.json()["id"]}
    mapped = await ask(edge, edge.admin, "POST", MAPPINGS, asked)
    assert mapped.json() == asked | {"created_at": mapped.json()["created_at"]}
    assert (await ask(edge, edge.admin, "GET", MAPPINGS)).json()["data"] == [mapped.json()]
    path = f"{MAPPINGS}?kind=alias&value=anna"
    assert (await ask(edge, edge.admin, "DELETE", path)).json() == mapped.json()
    assert (await ask(edge, edge.admin, "DELETE", path)).code == "mapping_not_found"
    nobody = await ask(edge, edge.admin, "POST", MAPPINGS, asked | {"member": "mbr_nobody"})
    assert nobody.code == "member_not_found"


async def test_differences_are_given_page_by_page(edge: Edge) -> None:
    """A call that the gateway never saw is one."""
    await tell(edge, CALL)
    page = (await ask(edge, edge.admin, "GET", f"{TOLD}/differences")).json()
    assert page["counts"] == {"only_litellm": 1}
    [difference] = page["differences"]
    assert (difference["kind"], difference["call_id"]) == ("only_litellm", "c1")
    path = f"{TOLD}/differences?after={page['after']}"
    assert (await ask(edge, edge.admin, "GET", path)).json()["after"] is None
    for wrong in ("x", "calls:x", "calls:-1", "calls:" + "9" * 30):
        answer = await ask(edge, edge.admin, "GET", f"{TOLD}/differences?after={wrong}")
        assert answer.code == "invalid_value"


@pytest.mark.parametrize(
    ("given", "status"), [("c1", 200), ("x" * 128, 200), ("x" * 129, 400), ("\xe5", 400)]
)
async def test_a_request_bears_the_clients_name_for_it(edge: Edge, given: str, status: int) -> None:
    """OpenAI's header; what does not fit is refused."""
    import asyncio
    import http.client

    def send() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", edge.port)
        headers = edge.bearer | {"x-client-request-id": given}
        body = '{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        connection.request("POST", "/v1/chat/completions", body, headers)
        found = connection.getresponse().status
        connection.close()
        return found

    assert await asyncio.to_thread(send) == status
    assert [call.caller_id for call in edge.serving.calls] == ([given] if status == 200 else [])
