"""`/api/v1/nodes/…/forfeit`: an administrator's, with a reason, once for each key."""

import json

import pytest
from tests.integration.gateway.test_coordination import enrol, new_identity, new_token, told
from tests.parts.edge import Edge
from tests.parts.money import ANNA, grant, use
from tests.parts.raw_http import Answer, ask

from garage_ai.ledger import POOL, Ledger, escrow_account, member_account
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio

HELD = 1_500_000_000


async def forfeit(
    edge: Edge, node: str, key: str | None = "k1", reason: str = "a lie", *, admin: bool = True
) -> Answer:
    headers = edge.admin_bearer if admin else edge.bearer
    extra = {} if key is None else {"idempotency-key": key}
    path = f"/api/v1/nodes/{node}/forfeit"
    body = {"reason": reason}
    return await ask(edge, path, method="POST", headers=headers | extra, json_body=body)


async def new_node(edge: Edge) -> str:
    """Enrol a node, of whose earnings something is held back."""
    enrolled = told(await enrol(edge, new_identity(), await new_token(edge)), 201)
    node = str(enrolled["node"])
    payer, held = member_account(ANNA), escrow_account(NodeId(node))
    await Ledger(edge.storage).post([grant("g", payer, 2 * HELD), use("u", payer, held, HELD)])
    return node


async def test_what_is_held_back_can_be_put_right(edge: Edge) -> None:
    """An adjustment finds the account of a node that there is."""
    account = escrow_account(NodeId(await new_node(edge)))
    body = {"account": account, "amount": "-1", "reason": "a slip"}
    headers = edge.admin_bearer | {"idempotency-key": "k1"}
    path = "/api/v1/ledger/adjustments"
    answer = await ask(edge, path, method="POST", headers=headers, json_body=body)
    assert told(answer, 201)["debit"] == account
    assert (await Ledger(edge.storage).balance(account)).amount == HELD - 1


async def test_what_is_held_back_goes_to_all(edge: Edge) -> None:
    """Told in nGAI; asked again it says the same, and the books know why."""
    node = await new_node(edge)
    for _ in range(2):
        answer = told(await forfeit(edge, node))
        assert answer == {"id": node, "amount": str(HELD)}
    page = await Ledger(edge.storage).statement(POOL)
    assert [(each.amount, each.note) for each in page.transfers] == [(HELD, "a lie")]
    other = await forfeit(edge, node, reason="another")
    assert (other.status, other.code) == (409, "transfer_conflict")


async def test_it_is_an_administrators_with_a_reason(edge: Edge) -> None:
    """Neither without a key of its own, nor of a node that never was."""
    node = await new_node(edge)
    refused = await forfeit(edge, node, admin=False)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    for reason in ("", "  ", "a\0b", "x" * 201):
        assert (await forfeit(edge, node, reason=reason)).code == "invalid_value", reason
    bare = await forfeit(edge, node, key=None)
    assert (bare.status, bare.code) == (400, "missing_required_parameter")
    missing = await forfeit(edge, "nnobody")
    assert (missing.status, json.loads(missing.body)["error"]["param"]) == (404, "node")
    assert (await Ledger(edge.storage).balance(POOL)).amount == 0
