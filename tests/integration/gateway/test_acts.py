"""Every route that changes something leaves exactly one entry in the log, by whoever asked."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import insert
from tests.integration.gateway.test_coordination import (
    api,
    enrol,
    fields_of,
    new_identity,
    new_token,
    nonce,
    told,
)
from tests.parts.edge import Edge
from tests.parts.manifests import as_json, own_manifest
from tests.parts.played_network import NODE
from tests.parts.raw_http import ask

from garage_ai.accounts import OPERATOR, ExternalModels, Members
from garage_ai.audit.models import GATEWAY, Action, Recorded
from garage_ai.audit.service import AuditLog
from garage_ai.gateway.coordination import create_coordination
from garage_ai.gateway.openapi import describe
from garage_ai.storage.tables import audit
from garage_ai.wire.enrolment import sign_enrolment, sign_proof
from garage_ai.wire.identity import NodeIdentity, make_rotation
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

IMAGE: Final = "sha256:" + "9" * 64

NO_ENTRY: Final = {
    "POST /v1/chat/completions": "use, which has a record of its own",
    "POST /v1/completions": "use, which has a record of its own",
    "POST /v1/embeddings": "use, which has a record of its own",
    "POST /api/v1/usage/litellm": "use, which has a record of its own",
    "POST /api/v1/line": "nothing is kept",
    "POST /api/v1/nonces": "nothing is kept",
    "POST /api/v1/nodes/{node}/renew": "nothing is kept; what a node may do is not changed",
    "POST /api/v1/nodes/{node}/benchmarks": "kept as it was signed, which is its own evidence",
}

BY_CLIENT: Final = frozenset(
    {
        "POST /v1/files",
        "DELETE /v1/files/{file_id}",
        "POST /v1/batches",
        "POST /v1/batches/{batch_id}/cancel",
    }
)
"""Whose entries `test_batches.test_acts_are_in_the_log` reads, after the official client."""


@dataclass(frozen=True)
class Act:
    """A request that changes something, and what the log is to say of it."""

    path: str
    body: object
    action: Action
    actor: str = "key"
    actor_member: str | None = OPERATOR
    bearer: str | None = None
    idempotency_key: str | None = None


Ready = Callable[[Edge], Awaitable[Act]]


async def new_member(edge: Edge) -> str:
    made: str = told(await api(edge, "POST", "/members", {"name": "Anna"}), 201)["id"]
    return made


async def new_node(edge: Edge) -> tuple[NodeId, NodeIdentity]:
    identity = new_identity()
    enrolled = told(await enrol(edge, identity, await new_token(edge)), 201)
    return NodeId(enrolled["node"]), identity


async def make_member(_: Edge) -> Act:
    return Act("/members", {"name": "Bo"}, Action.MEMBER_MADE)


async def suspend(edge: Edge) -> Act:
    return Act(f"/members/{await new_member(edge)}/suspend", None, Action.MEMBER_SUSPENDED)


async def resume(edge: Edge) -> Act:
    path = f"/members/{await new_member(edge)}"
    told(await api(edge, "POST", f"{path}/suspend"))
    return Act(f"{path}/resume", None, Action.MEMBER_RESUMED)


async def new_invite(edge: Edge) -> dict[str, Any]:
    return told(await api(edge, "POST", "/invites", {"name": "Anna"}), 201)


async def invite(_: Edge) -> Act:
    return Act("/invites", {}, Action.INVITE_MADE)


async def revoke_invite(edge: Edge) -> Act:
    return Act(f"/invites/{(await new_invite(edge))['id']}", None, Action.INVITE_REVOKED)


async def accept(edge: Edge) -> Act:
    secret = (await new_invite(edge))["secret"]
    return Act("/invites/accept", {"secret": secret}, Action.INVITE_ACCEPTED, "invite")


async def erase(edge: Edge) -> Act:
    secret = (await new_invite(edge))["secret"]
    joined = told(await api(edge, "POST", "/invites/accept", {"secret": secret}), 201)
    member = joined["member"]["id"]
    return Act("/me", {"name": "Anna"}, Action.MEMBER_ERASED, "key", member, joined["secret"])


async def make_key(_: Edge) -> Act:
    return Act("/keys", {"name": "laptop"}, Action.KEY_MADE)


async def revoke_key(edge: Edge) -> Act:
    return Act(f"/keys/{edge.user_id}", None, Action.KEY_REVOKED)


async def make_token(_: Edge) -> Act:
    return Act("/tokens", {"region": "SE-AB"}, Action.TOKEN_MADE)


async def revoke_token(edge: Edge) -> Act:
    made = told(await api(edge, "POST", "/tokens", {}), 201)
    return Act(f"/tokens/{made['id']}", None, Action.TOKEN_REVOKED)


async def enrol_node(edge: Edge) -> Act:
    request = sign_enrolment(new_identity(), await new_token(edge), await nonce(edge), "PC")
    return Act("/nodes", fields_of(request), Action.NODE_ENROLLED, "node")


async def rotate(edge: Edge) -> Act:
    node, identity = await new_node(edge)
    rotation = make_rotation(node, await nonce(edge), identity, new_identity())
    return Act(f"/nodes/{node}/key", fields_of(rotation), Action.NODE_ROTATED, "node")


async def leave(edge: Edge) -> Act:
    node, identity = await new_node(edge)
    proof = fields_of(sign_proof(identity, "leave", node, await nonce(edge)))
    return Act(f"/nodes/{node}/leave", proof, Action.NODE_REMOVED, "node")


async def drain(_: Edge) -> Act:
    return Act(f"/nodes/{NODE}/drain", {"reason": "night"}, Action.NODE_DRAINED)


async def undrain(_: Edge) -> Act:
    return Act(f"/nodes/{NODE}/undrain", None, Action.NODE_UNDRAINED)


async def admit(edge: Edge) -> Act:
    node, _ = await new_node(edge)
    edge.network.show(node)
    return Act(f"/nodes/{node}/admit", None, Action.NODE_ADMITTED)


async def forfeit(edge: Edge) -> Act:
    node, _ = await new_node(edge)
    body = {"reason": "another model"}
    path = f"/nodes/{node}/forfeit"
    return Act(path, body, Action.NODE_FORFEITED, idempotency_key="found-1")


async def remove(edge: Edge) -> Act:
    node, _ = await new_node(edge)
    return Act(f"/nodes/{node}", None, Action.NODE_REMOVED)


async def approve_image(_: Edge) -> Act:
    return Act(f"/images/{IMAGE}/approve", {"note": "tried"}, Action.IMAGE_APPROVED)


async def revoke_image(_: Edge) -> Act:
    return Act(f"/images/{IMAGE}/revoke", None, Action.IMAGE_REVOKED)


async def approve_model(edge: Edge) -> Act:
    member = (await Members(edge.storage).add("Anna")).id
    digest = Digest("sha256:" + "1" * 64)
    await ExternalModels(edge.storage).claim("org/own", member, digest, in_catalogue=True)
    body = {"name": "org/own", "member": member}
    return Act("/models/approve", body, Action.MODEL_APPROVED)


async def add_manifest(_: Edge) -> Act:
    return Act("/manifests", as_json(own_manifest()), Action.MANIFEST_ADDED)


async def remove_manifest(edge: Edge) -> Act:
    made = own_manifest()
    told(await api(edge, "POST", "/manifests", as_json(made)))
    return Act(f"/manifests/{made.name}", None, Action.MANIFEST_REMOVED)


async def limit_key(edge: Edge) -> Act:
    return Act(f"/keys/{edge.user_id}/limits", {"rpm": 60}, Action.KEY_LIMITED)


async def limit_member(edge: Edge) -> Act:
    path = f"/members/{await new_member(edge)}/limits"
    return Act(path, {"rpm": 60}, Action.MEMBER_LIMITED)


async def adjust(_: Edge) -> Act:
    body = {"account": "member:mbr_operator", "amount": "1000", "reason": "a prize"}
    return Act("/ledger/adjustments", body, Action.LEDGER_ADJUSTED, idempotency_key="prize-1")


async def set_price(_: Edge) -> Act:
    return Act("/prices", {"model": "own", "prompt": "1", "completion": "2"}, Action.PRICE_SET)


async def map_calls(edge: Edge) -> Act:
    body = {"kind": "team", "value": "physics", "member": await new_member(edge)}
    return Act("/litellm/mappings", body, Action.PROXY_MAPPED)


async def unmap_calls(edge: Edge) -> Act:
    act = await map_calls(edge)
    told(await api(edge, "POST", act.path, act.body))
    return Act(f"{act.path}?kind=team&value=physics", None, Action.PROXY_MAPPED)


ACTS: Final[dict[str, Ready]] = {
    "POST /api/v1/members": make_member,
    "POST /api/v1/members/{member}/suspend": suspend,
    "POST /api/v1/members/{member}/resume": resume,
    "POST /api/v1/invites": invite,
    "POST /api/v1/invites/accept": accept,
    "DELETE /api/v1/invites/{invite}": revoke_invite,
    "DELETE /api/v1/me": erase,
    "POST /api/v1/keys": make_key,
    "DELETE /api/v1/keys/{key_id}": revoke_key,
    "PATCH /api/v1/keys/{key}/limits": limit_key,
    "PATCH /api/v1/members/{member}/limits": limit_member,
    "POST /api/v1/tokens": make_token,
    "DELETE /api/v1/tokens/{token}": revoke_token,
    "POST /api/v1/nodes": enrol_node,
    "POST /api/v1/nodes/{node}/key": rotate,
    "POST /api/v1/nodes/{node}/leave": leave,
    "POST /api/v1/nodes/{node}/drain": drain,
    "POST /api/v1/nodes/{node}/undrain": undrain,
    "POST /api/v1/nodes/{node}/admit": admit,
    "POST /api/v1/nodes/{node}/forfeit": forfeit,
    "DELETE /api/v1/nodes/{node}": remove,
    "POST /api/v1/images/{digest}/approve": approve_image,
    "POST /api/v1/images/{digest}/revoke": revoke_image,
    "POST /api/v1/models/approve": approve_model,
    "POST /api/v1/manifests": add_manifest,
    "DELETE /api/v1/manifests/{name}": remove_manifest,
    "POST /api/v1/ledger/adjustments": adjust,
    "PUT /api/v1/prices": set_price,
    "POST /api/v1/litellm/mappings": map_calls,
    "DELETE /api/v1/litellm/mappings": unmap_calls,
}


async def entries(edge: Edge) -> list[Recorded]:
    return list(await AuditLog(edge.storage).following())


async def test_every_route_that_changes_something_is_here(edge: Edge) -> None:
    """Whoever adds a route says here which entry it leaves, or why it leaves none."""
    described = describe(create_coordination(edge.services, None))  # type: ignore[arg-type]
    changing = {
        f"{method.upper()} {path}"
        for path, operations in described["paths"].items()
        for method in operations
        if method in ("post", "put", "patch", "delete")
    }
    assert changing == ACTS.keys() | NO_ENTRY.keys() | BY_CLIENT


@pytest.mark.parametrize("route", ACTS)
async def test_an_act_leaves_exactly_one_entry(edge: Edge, route: str) -> None:
    """With who did it, what, and to what; and the log is whole afterwards."""
    act = await ACTS[route](edge)
    before = await entries(edge)
    method = route.split(maxsplit=1)[0]
    headers = {"authorization": f"Bearer {act.bearer or edge.admin}"}
    if act.idempotency_key is not None:
        headers["idempotency-key"] = act.idempotency_key
    path = f"/api/v1{act.path}"
    answer = await ask(edge, path, method=method, headers=headers, json_body=act.body)
    assert answer.status in (200, 201, 204), answer.body
    after = await entries(edge)
    (entry,) = after[len(before) :]
    assert (entry.action, entry.actor) == (act.action, act.actor)
    assert (entry.actor_member, entry.actor_id is not None) == (act.actor_member, True)
    assert (await AuditLog(edge.storage).verify("O" * 56)).is_whole


@pytest.mark.parametrize(
    "route", ["DELETE /api/v1/keys/{key_id}", "POST /api/v1/members/{member}/suspend"]
)
async def test_an_act_that_changes_nothing_leaves_no_entry(edge: Edge, route: str) -> None:
    """The same once more is no second act."""
    act = await ACTS[route](edge)
    method = route.split(maxsplit=1)[0]
    told(await api(edge, method, act.path, act.body))
    before = await entries(edge)
    told(await api(edge, method, act.path, act.body))
    assert await entries(edge) == before


async def test_a_keys_limits_are_told_with_it(edge: Edge) -> None:
    """What it may use from its first moment on is known by no later entry."""
    asked = {"name": "narrow", "limits": {"models": ["b", "a"], "rpm": 3}}
    told(await api(edge, "POST", "/keys", asked), 201)
    entry = (await entries(edge))[-1]
    details = json.loads(entry.details)
    assert (details["models"], details["rpm"]) == ('["a","b"]', 3)


async def test_the_start_leaves_its_entries(edge: Edge) -> None:
    """The admin key and the settings are the gateway's own doing."""
    first = (await entries(edge))[0]
    assert (first.action, first.actor) == (Action.ADMIN_KEY_MADE, GATEWAY.kind)


async def test_an_administrator_reads_the_log(edge: Edge) -> None:
    """Newest first, page by page, by filters, and oldest first for whoever checks it."""
    for name in ("one", "two", "three"):
        told(await api(edge, "POST", "/keys", {"name": name}), 201)
    page = told(await api(edge, "GET", "/audit?action=key&limit=2"))
    assert [each["action"] for each in page["data"]] == ["key.made", "key.made"]
    older = told(await api(edge, "GET", f"/audit?action=key.made&before={page['before']}"))
    assert [each["seq"] for each in older["data"]] == [3, 2]
    assert older["before"] is None
    onward = told(await api(edge, "GET", "/audit?after=1&limit=1&actor=key"))
    assert [each["seq"] for each in onward["data"]] == [3]
    assert "three" not in json.dumps(page)
    unsigned = await api(edge, "GET", "/audit/head")
    assert (unsigned.status, unsigned.code) == (404, "nothing_signed")
    refused = await ask(edge, "/api/v1/audit", headers=edge.bearer)
    assert (refused.status, refused.code) == (403, "insufficient_scope")


async def test_all_heads_are_given_to_whoever_checks(edge: Edge) -> None:
    """Page by page, with the key that is the gateway's own, whatever the heads name."""
    log = AuditLog(edge.storage)
    own, stranger = edge.services.audit_key, KeyPair.generate(Role.OPERATOR)
    for name in ("one", "two", "three"):
        told(await api(edge, "POST", "/keys", {"name": name}), 201)
        await log.sign(stranger)
    first = told(await api(edge, "GET", "/audit/heads?limit=2"))
    rest = told(await api(edge, "GET", f"/audit/heads?limit=2&before={first['before']}"))
    heads = [*first["data"], *rest["data"]]
    sizes = [head["size"] for head in heads]
    assert (sizes, rest["before"]) == (sorted(sizes, reverse=True), None)
    assert len(heads) == 3
    assert {head["public_key"] for head in heads} == {stranger.public}
    assert first["public_key"] == rest["public_key"] == own != stranger.public
    assert first["remembered"] is None
    refused = await ask(edge, "/api/v1/audit/heads", headers=edge.bearer)
    assert (refused.status, refused.code) == (403, "insufficient_scope")


@pytest.mark.parametrize("seq", [0, -(2**63)])
async def test_an_entry_below_the_first_is_shown(edge: Edge, seq: int) -> None:
    """What another hand put there does not hide behind its number."""
    values = {name: getattr((await entries(edge))[0], name) for name in audit.c.keys()}  # noqa: SIM118
    async with edge.storage.write() as connection:
        await connection.execute(insert(audit).values(values | {"seq": seq}))
    shown = told(await api(edge, "GET", "/audit?limit=1&before=1"))
    assert [each["seq"] for each in shown["data"]] == [seq]
    assert told(await api(edge, "GET", f"/audit?before={shown['before']}"))["data"] == []
