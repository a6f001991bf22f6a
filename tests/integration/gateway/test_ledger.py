"""`/api/v1/ledger`: who sees which account, and that nothing is entered twice."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from tests.parts.edge import Edge, running_edge
from tests.parts.money import ANNA, NOON, A, grant, use
from tests.parts.played_network import NODE
from tests.parts.raw_http import Answer, ask

from garage_ai.ledger import Ledger, member_account
from garage_ai.storage import OPERATOR
from garage_ai.storage.tables import members, nodes

pytestmark = pytest.mark.anyio

OWN = member_account(OPERATOR)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path) as running:
        books = Ledger(running.storage)
        async with running.storage.write() as connection:
            row = {"id": ANNA, "name": "Anna", "created_at": NOON}
            await connection.execute(insert(members).values(**row))
        await books.post([grant("g1", OWN, 10_000_000_000), use("u1", OWN, A, 1_500_000_000)])
        yield running


async def get(edge: Edge, path: str, *, admin: bool = False) -> Answer:
    headers = edge.admin_bearer if admin else edge.bearer
    return await ask(edge, f"/api/v1/ledger{path}", headers=headers)


async def adjust(edge: Edge, key: str, **body: str) -> Answer:
    headers = edge.admin_bearer | {"idempotency-key": key}
    path = "/api/v1/ledger/adjustments"
    return await ask(edge, path, method="POST", headers=headers, json_body=body)


def told(answer: Answer, status: int = 200) -> dict[str, Any]:
    assert answer.status == status, answer.body
    body: dict[str, Any] = json.loads(answer.body)
    return body


async def test_a_member_sees_the_own_account(edge: Edge) -> None:
    """With any key, by default; amounts are text."""
    assert told(await get(edge, "/balance")) == {
        "account": OWN,
        "amount": "8500000000",
        "reserved": "0",
        "available": "8500000000",
        "available_gai": "8.500000000",
    }
    page = told(await get(edge, f"/statement?limit=1&account={OWN}"))
    [newest] = page["transfers"]
    assert (newest["id"], newest["amount"], newest["credit"]) == ("u1", "1500000000", A)
    rest = told(await get(edge, f"/statement?before={page['before']}"))
    assert ([each["id"] for each in rest["transfers"]], rest["before"]) == (["g1"], None)


async def test_a_member_sees_what_is_held_back_of_an_own_node(edge: Edge) -> None:
    """Also of one that was removed; of nobody else's."""
    async with edge.storage.write() as connection:
        for node, member, removed in ((NODE, OPERATOR, NOON), ("nother", ANNA, None)):
            row = {"id": node, "member_id": member, "name": node, "public_key": f"U{node}"}
            moments = {"created_at": NOON, "removed_at": removed}
            await connection.execute(insert(nodes).values(**row, **moments, trust="unverified"))
    assert told(await get(edge, f"/balance?account=escrow:{NODE}"))["amount"] == "0"
    assert told(await get(edge, f"/statement?account=escrow:{NODE}"))["transfers"] == []
    refused = told(await get(edge, "/balance?account=escrow:nother"), 403)
    assert refused["error"]["code"] == "insufficient_scope"


async def test_another_account_is_the_administrators(edge: Edge) -> None:
    """Members do not see each other's."""
    for path in (f"/balance?account={A}", f"/statement?account={A}"):
        assert told(await get(edge, path), 403)["error"]["code"] == "insufficient_scope"
        assert told(await get(edge, path, admin=True))["account"] == A
    answer = told(await get(edge, "/balance?account=nobody", admin=True), 400)
    assert answer["error"]["code"] == "invalid_transfer"
    for path in ("/verify", f"/export?account={A}"):
        assert told(await get(edge, path), 403)["error"]["code"] == "insufficient_scope"


async def test_an_adjustment_is_entered_once(edge: Edge) -> None:
    """Its key is the idempotency key; below zero takes, and never more than there is."""
    for _ in range(2):
        made = told(await adjust(edge, "k1", account=A, amount="-500000000", reason="a slip"), 201)
        assert (made["id"], made["debit"], made["note"]) == ("adjustment:k1", A, "a slip")
    assert told(await get(edge, f"/balance?account={A}", admin=True))["amount"] == "1000000000"
    other = await adjust(edge, "k1", account=A, amount="500000000", reason="a slip")
    assert told(other, 409)["error"]["code"] == "transfer_conflict"
    much = await adjust(edge, "k2", account=A, amount="-1000000001", reason="too much")
    assert told(much, 409)["error"]["code"] == "overdraft"
    nobody = await adjust(edge, "k3", account="nobody", amount="1", reason="why")
    assert told(nobody, 400)["error"]["code"] == "invalid_transfer"
    stranger = await adjust(edge, "k4", account="member:mbr_typo", amount="1", reason="why")
    assert told(stranger, 404)["error"]["code"] == "member_not_found"
    no_node = await adjust(edge, "k5", account="escrow:ntypo", amount="1", reason="why")
    assert told(no_node, 404)["error"]["code"] == "node_not_found"
    no_key = {"account": A, "amount": "1", "reason": "why"}
    path = "/api/v1/ledger/adjustments"
    bare = await ask(edge, path, method="POST", headers=edge.admin_bearer, json_body=no_key)
    assert told(bare, 400)["error"]["code"] == "missing_required_parameter"


async def test_the_books_are_verified_and_exported(edge: Edge) -> None:
    """In three forms; what is found is told."""
    seen = told(await get(edge, "/verify", admin=True))
    assert (seen["sound"], seen["transfers"], seen["findings"]) == (True, 2, [])
    bean = await get(edge, "/export", admin=True)
    assert b"Assets:Member:Mbr-anna  1.500000000 GAI" in bean.body
    table = await get(edge, "/export?format=csv", admin=True)
    assert table.body.splitlines()[0].startswith(b"id,at,kind")
    rows = json.loads((await get(edge, "/export?format=json", admin=True)).body)
    assert [row["id"] for row in rows] == ["g1", "u1"]
    of_anna = await get(edge, f"/export?format=json&account={A}", admin=True)
    assert [row["id"] for row in json.loads(of_anna.body)] == ["u1"]


async def test_a_member_takes_the_own_entries_along(edge: Edge) -> None:
    """By default, and in every form; what others did is not among them."""
    strangers = [grant("g2", A, 5)]
    await Ledger(edge.storage).post(strangers)
    for path in ("/export?format=json", f"/export?format=json&account={OWN}"):
        rows = json.loads((await get(edge, path)).body)
        assert [row["id"] for row in rows] == ["g1", "u1"]
    assert b'"g2"' not in (await get(edge, "/export")).body
    assert ANNA in A
