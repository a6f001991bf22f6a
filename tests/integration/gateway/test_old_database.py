"""A database that an old version filled serves on, with all that was in it."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import Answer, ask

from garage_ai.accounts import Nodes
from garage_ai.storage import Storage, sqlite_url
from garage_ai.storage.upkeep import examine

pytestmark = pytest.mark.anyio

OLD: Final = Path(__file__).parents[2] / "recorded" / "database" / "0001.sql"
ADMIN: Final = "gai_0xcYEOloWm33iJUCPxz8LCziQl3bhx1q1YuGIE"
LAPTOP: Final = "gai_o97IIUrZCAQ5Dd9nceMw0kDQEtJ28rMV2N9JSs"
OLD_PHONE: Final = "gai_8FCvaxpFfLNVgy7AJvAIxmf7bgqIsuSF4bKxSW"
ANNA, BO = "mbr_U7wXiXad3eUkRxS6", "mbr_Flb42EvMN27vpHr9"
MODEL: Final = "SmolLM2-135M-Instruct"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gateway's folder as the old version left it."""
    with closing(sqlite3.connect(tmp_path / "edge.db")) as database:
        database.executescript(OLD.read_text("utf-8"))
    key = tmp_path / "admin.key"
    key.touch(mode=0o600)
    key.write_text(f"{ADMIN}\n")
    return tmp_path


@pytest.fixture
async def edge(folder: Path) -> AsyncIterator[Edge]:
    """An edge that is opened on it."""
    async with running_edge(folder) as running:
        yield running


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def shown(edge: Edge, path: str) -> Any:
    answer = await ask(edge, f"/api/v1{path}", headers=bearer(ADMIN))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def test_members_keys_and_tokens_are_there(edge: Edge) -> None:
    """Under their ids, with their names, and in the state that they were in."""
    members = {each["id"]: each["name"] for each in (await shown(edge, "/members"))["data"]}
    assert members[ANNA] == "Anna Åkesson"
    assert members[BO] == "Bo"
    keys = {each["name"]: each for each in (await shown(edge, "/keys"))["data"]}
    assert (keys["laptop"]["member"], keys["laptop"]["region"]) == (ANNA, "SE-AB")
    assert keys["laptop"]["last_used_at"].startswith("2026-11-25T14:00:00")
    states = {name: keys[name]["revoked_at"] is None for name in ("laptop", "old phone")}
    assert states == {"laptop": True, "old phone": False}
    assert keys["open-webui"]["limits"]["rpm"] is None
    tokens = (await shown(edge, "/tokens"))["data"]
    assert sorted(each["member"] for each in tokens) == sorted([ANNA, BO, BO])
    listed = (await shown(edge, "/models"))["claims"]
    claims = {each["name"]: each["approved_at"] for each in listed}
    assert claims["anna/own"] is not None
    assert claims[MODEL] is None


async def test_old_keys_open_what_they_opened(edge: Edge) -> None:
    """The administrator's too, which stands in its file; one that was revoked opens nothing."""

    async def models(key: str) -> Answer:
        return await ask(edge, "/v1/models", headers=bearer(key))

    assert (await models(LAPTOP)).status == (await models(ADMIN)).status == 200
    refused = await models(OLD_PHONE)
    assert (refused.status, refused.code) == (401, "revoked_api_key")


async def test_what_was_used_is_counted(edge: Edge) -> None:
    """By member, also where an engine told no tokens."""
    totals = (await shown(edge, "/usage?by=member&since=2026-11-01T00:00:00Z"))["totals"]
    by_member = {each["group"]: each for each in totals}
    assert (by_member[ANNA]["requests"], by_member[ANNA]["completion_tokens"]) == (5, 600)
    assert by_member[BO]["requests"] == 3
    balance = await shown(edge, f"/ledger/balance?account=member:{ANNA}")
    assert balance["amount"] == "0"


async def test_nodes_are_as_they_were(edge: Edge) -> None:
    """One with the key that it changed to, let in as it was; the other removed for good."""
    nodes = Nodes(edge.storage)
    [pc] = await nodes.list()
    [rig] = await nodes.list(removed=True)
    assert (pc.name, pc.member, pc.region, pc.trust) == ("Anna's PC", ANNA, "SE-AB", "unsandboxed")
    assert (len(pc.retired_keys), pc.bare_allowed_at) == (1, pc.created_at)
    assert (rig.name, rig.member) == ("rig", BO)


async def test_the_database_is_sound_afterwards(folder: Path) -> None:
    """Every row, every reference, and the shape of every table."""
    url = sqlite_url(folder / "edge.db")
    await (await Storage.open(url)).close()
    found = await examine(url)
    assert found.problems == ()
    assert (found.rows["usage"], found.rows["keys"], found.rows["members"]) == (8, 4, 3)
