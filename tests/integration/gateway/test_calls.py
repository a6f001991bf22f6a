"""One member's calls beside the models leave the database's time to the others."""

import pytest
from tests.parts.edge import Edge
from tests.parts.raw_http import Answer, ask

from garage_ai.gateway.auth import MAX_CHANGES, WINDOW_SECONDS

pytestmark = pytest.mark.anyio


async def call(edge: Edge, bearer: dict[str, str], path: str, method: str = "POST") -> Answer:
    return await ask(edge, path, method=method, headers=bearer)


async def test_a_member_that_calls_without_end_is_told_to_wait(edge: Edge) -> None:
    """Each path that changes something counts, uploads too; who only reads goes on."""
    member = await edge.services.members.add("Anna")
    issued = await edge.services.keys.create("a", member.id, ("inference", "member"))
    own = {"authorization": f"Bearer {issued.secret}"}
    for _ in range(MAX_CHANGES):
        assert (await call(edge, own, "/api/v1/nodes/nod_none/drain")).code == "node_not_found"
    for path in ("/api/v1/nodes/nod_none/drain", "/v1/batches/bat_none/cancel", "/v1/files"):
        refused = await call(edge, own, path)
        assert (refused.status, refused.code) == (429, "rate_limit_exceeded"), path
        assert 0 < int(refused.headers["retry-after"]) <= WINDOW_SECONDS
    assert (await call(edge, own, "/api/v1/me", "GET")).status == 200
    assert (await call(edge, edge.bearer, "/v1/batches/bat_none/cancel")).status == 404
