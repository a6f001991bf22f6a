"""The lists of members, invites, keys, tokens and nodes: whole, or page by page."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.gateway.test_coordination import api, told
from tests.integration.gateway.test_members import come
from tests.parts.edge import Edge
from tests.parts.played_network import NODE

from garage_ai.accounts import EnrolmentTokens, Invites, KeyRing, Members
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

LISTS = {
    "/members": "member_not_found",
    "/invites": "invite_not_found",
    "/keys": "key_not_found",
    "/tokens": "token_not_found",
    "/nodes": "node_not_found",
}


async def fill(edge: Edge) -> None:
    """Make some of each at one moment, so that only their ids tell them apart."""
    made_at = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def now() -> datetime:
        return made_at

    ring = await KeyRing.open(edge.storage, clock=now)
    for number in range(6):
        await Members(edge.storage, now).add(f"member {number}")
        await Invites(edge.storage, now).create()
        await ring.create(f"key {number}")
        await EnrolmentTokens(edge.storage, now).create()
        edge.network.show(NodeId(f"nabcdefghijk{number}"))
    await ring.close()


def ids(body: dict[str, Any]) -> list[str]:
    return [each["id"] for each in body["data"]]


@pytest.mark.parametrize("path", LISTS)
async def test_pages_are_the_whole_list(edge: Edge, path: str) -> None:
    """Each is in one of them, in the same order; who asks for no page is given all."""
    await fill(edge)
    whole = told(await api(edge, "GET", path))
    assert len(whole["data"]) >= 6
    assert whole["after"] is None
    page = told(await api(edge, "GET", f"{path}?limit=2"))
    seen = page["data"]
    while page["after"] is not None:
        page = told(await api(edge, "GET", f"{path}?limit=2&after={page['after']}"))
        assert len(page["data"]) <= 2
        seen += page["data"]
    assert seen == whole["data"]
    assert len(set(ids(whole))) == len(whole["data"])
    first, *rest = ids(whole)
    assert ids(told(await api(edge, "GET", f"{path}?after={first}"))) == rest
    assert ids(told(await api(edge, "GET", f"{path}?limit=1000"))) == [first, *rest]


@pytest.mark.parametrize(("path", "code"), LISTS.items())
async def test_what_is_no_page_is_refused(edge: Edge, path: str, code: str) -> None:
    """An id that is not there, and pages of nothing or of too much."""
    missing = await api(edge, "GET", f"{path}?limit=2&after=nobody")
    assert (missing.status, missing.code) == (404, code)
    for limit in (0, 1001):
        assert (await api(edge, "GET", f"{path}?limit={limit}")).code == "invalid_value"


async def test_a_member_pages_through_its_own(edge: Edge) -> None:
    """And learns nothing of what is others', not even whether it is there."""
    await fill(edge)
    anna, bo = await come(edge, "Anna"), await come(edge, "Bo")
    for _ in range(2):
        told(await anna("POST", "/keys", {"name": "laptop"}), 201)
        told(await anna("POST", "/tokens", {}), 201)
    for path in ("/keys", "/tokens"):
        own = ids(told(await anna("GET", path)))
        first = told(await anna("GET", f"{path}?limit=1"))
        rest = told(await anna("GET", f"{path}?after={first['after']}"))
        assert ids(first) + ids(rest) == own
        assert (await bo("GET", f"{path}?after={own[0]}")).code == LISTS[path]
    assert (await anna("GET", f"/nodes?after={NODE}")).code == "node_not_found"
