"""Lists that a gateway gives page by page are shown whole."""

import json

import pytest
from tests.integration.cli.conftest import RIG, Cli, FakeGateway

KEY = {"id": "key_1", "name": "laptop", "scopes": [], "created_at": "2026-11-23T15:00:00Z"}
MEMBER = {"id": "mbr_1", "name": "Anna", "created_at": "2026-11-23T15:00:00Z"}
INVITE = {"id": "inv_1", "name": None, "uses": 1, "used": 0, "state": "open"}
INVITE |= {"expires_at": "2026-11-30T15:00:00Z"}

LISTS = [
    (("node", "list"), "/api/v1/nodes", RIG),
    (("member", "list"), "/api/v1/members", MEMBER),
    (("member", "invites"), "/api/v1/invites", INVITE),
    (("key", "list"), "/api/v1/keys", KEY),
]


@pytest.mark.parametrize(("command", "path", "one"), LISTS)
def test_every_page_is_asked_for(
    cli: Cli, gateway: FakeGateway, command: tuple[str, ...], path: str, one: dict[str, object]
) -> None:
    """Each from behind the last one's end, until there is no more."""
    gateway.pages[path] = [
        {"data": [one | {"id": "a"}, one | {"id": "b"}], "after": "b"},
        {"data": [one | {"id": "c"}], "after": "c"},
        {"data": [], "after": None},
    ]
    shown = cli(*command, "--json")
    assert shown.returncode == 0, shown.stderr
    assert [each["id"] for each in json.loads(shown.stdout)] == ["a", "b", "c"]
    asked = ["limit=1000", "limit=1000&after=b", "limit=1000&after=c"]
    assert gateway.paths == [f"GET {path}?{query}" for query in asked]


@pytest.mark.parametrize(("command", "path", "one"), LISTS)
def test_an_older_gateway_gives_all_at_once(
    cli: Cli, gateway: FakeGateway, command: tuple[str, ...], path: str, one: dict[str, object]
) -> None:
    """It knows nothing of pages, and says nothing of a next one."""
    gateway.pages[path] = [{"data": [one]}]
    shown = cli(*command, "--json")
    assert len(json.loads(shown.stdout)) == 1
    assert len(gateway.paths) == 1
