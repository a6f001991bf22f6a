"""`/api/v1`: nodes come and go, keys and tokens are made and revoked, usage is told."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from tests.parts.edge import Edge, running_edge
from tests.parts.played_network import DIGEST, NODE, node_view
from tests.parts.raw_http import Answer, ask
from tests.unit.wire.test_benchmarks import BENCHMARK

from garage_ai.accounts import OPERATOR, ExternalModels, KeyId, Nodes
from garage_ai.accounts.nodes import ROTATIONS
from garage_ai.ledger import Receipt
from garage_ai.storage import UsagePart, UsageRecord
from garage_ai.storage.tables import nodes
from garage_ai.wire.benchmarks import benchmark_text, sign_benchmark
from garage_ai.wire.enrolment import sign_enrolment, sign_proof
from garage_ai.wire.identity import NodeIdentity, make_rotation
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.regions import COUNTIES

pytestmark = pytest.mark.anyio

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


async def api(
    edge: Edge,
    method: str,
    path: str,
    body: object = None,
    *,
    key: bool = True,
    **headers: str,
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(
        edge,
        f"/api/v1{path}",
        method=method,
        headers=(edge.admin_bearer if key else {}) | named,
        json_body=body,
    )


def told(answer: Answer, status: int = 200) -> dict[str, Any]:
    assert answer.status == status, answer.body
    body: dict[str, Any] = json.loads(answer.body)
    return body


def new_identity() -> NodeIdentity:
    return NodeIdentity(KeyPair.generate(Role.USER))


async def nonce(edge: Edge) -> str:
    made: str = told(await api(edge, "POST", "/nonces", key=False))["nonce"]
    return made


async def new_token(edge: Edge, **fields: object) -> str:
    made: str = told(await api(edge, "POST", "/tokens", fields), 201)["token"]
    return made


async def enrol(edge: Edge, identity: NodeIdentity, token: str) -> Answer:
    request = sign_enrolment(identity, token, await nonce(edge), "Anna's PC")
    body = {name: getattr(request, name) for name in request.__struct_fields__}
    return await api(edge, "POST", "/nodes", body, key=False)


def fields_of(proof: Any) -> dict[str, Any]:
    return {name: getattr(proof, name) for name in proof.__struct_fields__}


async def test_a_node_comes(edge: Edge) -> None:
    """A token and a signature make a node; again they give the same one; others get nothing."""
    token, identity = await new_token(edge, region="SE-AB"), new_identity()
    enrolled = told(await enrol(edge, identity, token), 201)
    assert enrolled["region"] == "SE-AB"
    assert enrolled["urls"] == ["nats://127.0.0.1:1"]
    assert enrolled["member"] == OPERATOR
    assert edge.network.enrolled[0].id == enrolled["node"]
    again = told(await enrol(edge, identity, token), 201)
    assert again["node"] == enrolled["node"]
    stranger = await enrol(edge, new_identity(), token)
    assert (stranger.status, stranger.code) == (401, "token_used")


async def test_a_node_without_a_token(edge: Edge) -> None:
    """Made-up tokens are refused, and after twenty the address waits."""
    codes = {(await enrol(edge, new_identity(), "gaij_made_up")).code for _ in range(21)}
    assert codes == {"invalid_token", "too_many_failures"}


async def test_a_node_without_proof(edge: Edge) -> None:
    """A signature over something else, or an invented nonce, lets nobody in."""
    token, identity = await new_token(edge), new_identity()
    request = sign_enrolment(identity, token, await nonce(edge), "x")
    body = fields_of(request) | {"public_key": new_identity().public_key}
    assert (await api(edge, "POST", "/nodes", body, key=False)).code == "proof_refused"
    body = fields_of(request) | {"nonce": secrets.token_urlsafe(40)}
    assert (await api(edge, "POST", "/nodes", body, key=False)).code == "nonce_unusable"


async def test_a_node_that_changes_its_key_again_and_again(edge: Edge) -> None:
    """It is told when it may again, and nothing more is written down of it."""
    keys = [new_identity() for _ in range(ROTATIONS + 2)]
    node = NodeId(told(await enrol(edge, keys[0], await new_token(edge)), 201)["node"])
    answers = [
        await api(
            edge,
            "POST",
            f"/nodes/{node}/key",
            fields_of(make_rotation(node, await nonce(edge), old, new)),
            key=False,
        )
        for old, new in pairwise(keys)
    ]
    assert [each.status for each in answers] == [200] * ROTATIONS + [429]
    assert answers[-1].code == "too_many_rotations"
    assert 86_000 < int(answers[-1].headers["retry-after"]) <= 86_400
    assert len(edge.revoker.revoked) == ROTATIONS


async def test_a_node_changes_its_key_and_leaves(edge: Edge) -> None:
    """A key signs its successor in; the successor renews and leaves for good."""
    token, old, new = await new_token(edge), new_identity(), new_identity()
    node = NodeId(told(await enrol(edge, old, token), 201)["node"])
    rotation = fields_of(make_rotation(node, await nonce(edge), old, new))
    assert told(await api(edge, "POST", f"/nodes/{node}/key", rotation, key=False))["jwt"]
    assert edge.revoker.revoked == [old.public_key]
    stale = fields_of(sign_proof(old, "renew", node, await nonce(edge)))
    refused = await api(edge, "POST", f"/nodes/{node}/renew", stale, key=False)
    assert (refused.status, refused.code) == (401, "proof_refused")
    proof = fields_of(sign_proof(new, "renew", node, await nonce(edge)))
    assert told(await api(edge, "POST", f"/nodes/{node}/renew", proof, key=False))["jwt"]
    other = await api(edge, "POST", f"/nodes/{NODE}/renew", proof, key=False)
    assert other.code == "invalid_value"
    leave = fields_of(sign_proof(new, "leave", node, await nonce(edge)))
    assert (await api(edge, "POST", f"/nodes/{node}/leave", leave, key=False)).status == 204
    assert edge.network.removed == [node]
    gone = await api(edge, "POST", f"/nodes/{node}/renew", proof, key=False)
    assert (gone.status, gone.code) == (410, "node_gone")
    back = await enrol(edge, new, await new_token(edge))
    assert back.code == "node_removed"


async def test_a_node_hands_in_what_it_measured(edge: Edge) -> None:
    """Signed by its key it is kept, once; by another key, changed or misshapen it is refused."""
    identity = new_identity()
    node = NodeId(told(await enrol(edge, identity, await new_token(edge)), 201)["node"])
    path = f"/nodes/{node}/benchmarks"

    async def hand_in(signer: NodeIdentity = identity, **changes: str) -> Answer:
        signed = sign_benchmark(signer, node, await nonce(edge), BENCHMARK)
        return await api(edge, "POST", path, fields_of(signed) | changes, key=False)

    kept = told(await hand_in(), 201)
    assert kept["levels"][0]["decode"] == BENCHMARK.levels[0].decode
    assert (kept["gpus"], kept["load"]) == (["NVIDIA GeForce RTX 3090"], 2.5)
    assert told(await hand_in(), 201)["received_at"] == kept["received_at"]
    stranger = await hand_in(new_identity())
    assert (stranger.status, stranger.code) == (401, "proof_refused")
    assert (await hand_in(body="{}")).code == "proof_refused"
    assert (await hand_in(nonce=secrets.token_urlsafe(40))).code == "nonce_unusable"
    assert (await hand_in(node="nother")).code == "invalid_value"
    assert (await hand_in(body="x" * 20_000)).status == 400
    assert (await hand_in(body="\ud800")).status in (400, 401)
    told(await api(edge, "DELETE", f"/nodes/{node}"))
    assert (await hand_in()).code == "node_gone"


async def test_a_node_signs_nonsense(edge: Edge) -> None:
    """A good signature does not make a measurement of it."""
    identity = new_identity()
    node = NodeId(told(await enrol(edge, identity, await new_token(edge)), 201)["node"])
    for body in ("null", "[" * 2000, '{"version": 1}'):
        made = await nonce(edge)
        text = benchmark_text(node, made, body, identity.public_key)
        fields = {
            "node": node,
            "nonce": made,
            "body": body,
            "signature": identity.sign_text(text),
        }
        refused = await api(edge, "POST", f"/nodes/{node}/benchmarks", fields, key=False)
        assert (refused.status, refused.code) == (400, "bad_benchmark")


async def test_the_list_of_nodes_shows_what_they_measured(edge: Edge) -> None:
    """Beside each node, null where it has measured nothing."""
    assert told(await api(edge, "GET", f"/nodes/{NODE}"))["benchmark"] is None
    identity = new_identity()
    async with edge.storage.write() as connection:
        await connection.execute(
            insert(nodes).values(
                id=NODE,
                member_id=OPERATOR,
                name="garage",
                public_key=identity.public_key,
                trust="unverified",
                created_at=datetime.now(UTC),
            )
        )
    signed = sign_benchmark(identity, NODE, await nonce(edge), BENCHMARK)
    path = f"/nodes/{NODE}/benchmarks"
    told(await api(edge, "POST", path, fields_of(signed), key=False), 201)
    (shown,) = told(await api(edge, "GET", "/nodes"))["data"]
    assert shown["benchmark"]["model"] == BENCHMARK.model
    assert told(await api(edge, "GET", f"/nodes/{NODE}")) == shown


async def test_an_admin_moves_nodes(edge: Edge) -> None:
    """Nodes are listed, shown, drained, taken in again and removed."""
    assert [each["id"] for each in told(await api(edge, "GET", "/nodes"))["data"]] == [NODE]
    shown = told(await api(edge, "GET", f"/nodes/{NODE}"))
    assert shown["state"] == "ready"
    assert shown["models"][0]["name"] == "org/small"
    drained = told(await api(edge, "POST", f"/nodes/{NODE}/drain", {"reason": "night"}))
    assert drained["state"] == "draining"
    assert edge.network.drained == ["night"]
    assert told(await api(edge, "POST", f"/nodes/{NODE}/undrain"))["state"] == "ready"
    assert told(await api(edge, "POST", f"/nodes/{NODE}/drain"))["state"] == "draining"
    for method, path in (("GET", ""), ("POST", "/drain"), ("POST", "/undrain"), ("DELETE", "")):
        missing = await api(edge, method, f"/nodes/nowhere{path}")
        assert (missing.status, missing.code) == (404, "node_not_found")


async def test_an_admin_removes_a_node(edge: Edge) -> None:
    """A removed node's key is cut off."""
    identity = new_identity()
    node = told(await enrol(edge, identity, await new_token(edge)), 201)["node"]
    assert told(await api(edge, "DELETE", f"/nodes/{node}")) == {"id": node, "cut_off": True}
    assert edge.revoker.revoked == [identity.public_key]
    assert edge.network.removed == [node]


async def test_keys(edge: Edge) -> None:
    """A key is made, works, is listed without its secret, is revoked and works no more."""
    made = told(await api(edge, "POST", "/keys", {"name": "anna", "region": "SE-AB"}), 201)
    bearer = {"authorization": f"Bearer {made['key']}"}
    assert (await ask(edge, "/v1/models", headers=bearer)).status == 200
    me = told(await ask(edge, "/api/v1/me", headers=bearer))
    told_of = me["key"]
    assert (told_of["id"], told_of["scopes"]) == (made["id"], ["inference"])
    assert (told_of["region"], me["member"]["id"], me["keys"]) == ("SE-AB", OPERATOR, None)
    listed = await api(edge, "GET", "/keys")
    assert made["id"] in {each["id"] for each in told(listed)["data"]}
    assert made["key"].encode() not in listed.body
    assert told(await api(edge, "DELETE", f"/keys/{made['id']}"))["revoked_at"]
    refused = await ask(edge, "/v1/models", headers=bearer)
    assert (refused.status, refused.code) == (401, "revoked_api_key")
    assert (await api(edge, "DELETE", "/keys/key_none")).code == "key_not_found"


async def test_members(edge: Edge) -> None:
    """A member is made, listed, and keys, tokens and nodes can be its own."""
    anna = told(await api(edge, "POST", "/members", {"name": " Anna "}), 201)
    assert anna["name"] == "Anna"
    listed = told(await api(edge, "GET", "/members"))["data"]
    assert [each["id"] for each in listed] == [OPERATOR, anna["id"]]
    key = told(await api(edge, "POST", "/keys", {"name": "a", "member": anna["id"]}), 201)
    assert key["member"] == anna["id"]
    token = await new_token(edge, member=anna["id"])
    enrolled = told(await enrol(edge, new_identity(), token), 201)
    assert enrolled["member"] == anna["id"]
    assert (await api(edge, "POST", "/members", {"name": "\n"})).code == "invalid_field"
    nobody = await api(edge, "POST", "/tokens", {"member": "mbr_nobody"})
    assert (nobody.status, nobody.code) == (404, "member_not_found")


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
async def test_json_is_json_whatever_it_is_called(edge: Edge, kind: str | None) -> None:
    """A bare `curl -d` names another type, as /v1 takes it too; what is no JSON is told so."""
    headers = edge.admin_bearer | ({"content-type": kind} if kind else {})
    path = "/api/v1/keys"
    made = await ask(edge, path, method="POST", headers=headers, body=b'{"name": "bare"}')
    assert told(made, 201)["name"] == "bare"
    refused = await ask(edge, path, method="POST", headers=headers, body=b"name=bare")
    assert (refused.status, refused.code) == (400, "invalid_json")


@pytest.mark.parametrize("path", ["/keys", "/tokens"])
async def test_a_region_is_a_county(edge: Edge, path: str) -> None:
    """Any of the 21 counties will do, and nothing that only looks like one."""
    named = {"name": "a"} if path == "/keys" else {}
    for county in COUNTIES:
        told(await api(edge, "POST", path, named | {"region": county}), 201)
    assert len(COUNTIES) == 21
    for wrong in ("SE-XX", "NO-03", "se-ab", "SE"):
        refused = await api(edge, "POST", path, named | {"region": wrong})
        assert (refused.status, refused.code) == (400, "invalid_value")
        error = json.loads(refused.body)["error"]
        assert error["param"] == "region"
        assert "'SE-AB'" in error["message"]


async def test_admin_only(edge: Edge) -> None:
    """A user's key opens nothing here but the page about itself."""
    for method, path in (
        ("GET", "/nodes"),
        ("GET", f"/nodes/{NODE}"),
        ("DELETE", f"/nodes/{NODE}"),
        ("POST", f"/nodes/{NODE}/drain"),
        ("GET", "/members"),
        ("POST", "/members"),
        ("GET", "/keys"),
        ("DELETE", "/keys/key_1"),
        ("GET", "/tokens"),
        ("GET", "/models"),
        ("GET", "/usage"),
    ):
        answer = await api(edge, method, path, key=False, **edge.bearer)
        assert (answer.status, answer.code) == (403, "insufficient_scope"), path
        answer = await api(edge, method, path, key=False)
        assert (answer.status, answer.headers["www-authenticate"][:6]) == (401, "Bearer"), path
    assert edge.network.removed == []


async def test_idempotency(edge: Edge) -> None:
    """The same key with the same request makes one thing; with another request it is refused."""
    first = told(await api(edge, "POST", "/keys", {"name": "a"}, idempotency_key="i1"), 201)
    again = told(await api(edge, "POST", "/keys", {"name": "a"}, idempotency_key="i1"), 201)
    assert (again["id"], again["key"]) == (first["id"], None)
    other = await api(edge, "POST", "/keys", {"name": "b"}, idempotency_key="i1")
    assert (other.status, other.code) == (409, "idempotency_conflict")
    token = told(await api(edge, "POST", "/tokens", {}, idempotency_key="i1"), 201)
    same = told(await api(edge, "POST", "/tokens", {}, idempotency_key="i1"), 201)
    assert (same["id"], same["token"]) == (token["id"], None)


async def test_tokens(edge: Edge) -> None:
    """A token is made, listed without its secret, revoked, and enrols nobody then."""
    made = told(await api(edge, "POST", "/tokens", {"ttl": 60}), 201)
    assert made["state"] == "open"
    listed = await api(edge, "GET", "/tokens")
    assert made["token"].encode() not in listed.body
    assert told(await api(edge, "DELETE", f"/tokens/{made['id']}"))["state"] == "revoked"
    assert (await enrol(edge, new_identity(), made["token"])).code == "token_revoked"
    assert (await api(edge, "DELETE", "/tokens/tok_none")).code == "token_not_found"


@pytest.fixture
async def with_ca(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge of a network with its own CA."""
    async with running_edge(tmp_path, ca=CA, ca_fingerprint="f" * 64) as running:
        yield running


async def test_own_ca(with_ca: Edge) -> None:
    """The CA is handed out to anyone, and its fingerprint travels in tokens that still work."""
    answer = await api(with_ca, "GET", "/ca.pem", key=False)
    assert (answer.status, answer.body) == (200, CA.encode())
    token = await new_token(with_ca)
    assert token.endswith("." + "f" * 64)
    assert told(await enrol(with_ca, new_identity(), token), 201)


async def test_a_node_is_admitted_as_it_is(edge: Edge) -> None:
    """An administrator lets a node serve without a whole sandbox; a stranger cannot be let in."""
    token = told(await api(edge, "POST", "/tokens", {"bare_allowed": True}), 201)
    assert token["bare_allowed_at"] is not None
    plain = told(await api(edge, "POST", "/tokens", {}), 201)
    assert plain["bare_allowed_at"] is None
    node = told(await enrol(edge, new_identity(), plain["token"]), 201)["node"]
    edge.network.others.append(replace(node_view("joining"), id=NodeId(node)))
    told(await api(edge, "POST", f"/nodes/{node}/admit"))
    assert edge.network.enrolled[-1].bare_allowed
    assert (await Nodes(edge.storage).get(NodeId(node))).bare_allowed_at is not None
    missing = await api(edge, "POST", "/nodes/nnobody/admit")
    assert missing.code == "node_not_found"


async def test_no_ca(edge: Edge) -> None:
    """A network without its own CA says so."""
    assert (await api(edge, "GET", "/ca.pem", key=False)).code == "no_own_ca"


async def test_models_and_claims(edge: Edge) -> None:
    """Claims to a name that is taken wait for an admin, who approves one."""
    claims = ExternalModels(edge.storage)
    await claims.claim("org/small", OPERATOR, Digest(DIGEST), in_catalogue=True)
    listed = told(await api(edge, "GET", "/models"))
    assert [each["name"] for each in listed["data"]] == ["garage-chat", "org/small"]
    assert listed["claims"][0]["state"] == "pending"
    body = {"name": "org/small", "member": OPERATOR}
    assert told(await api(edge, "POST", "/models/approve", body))["state"] == "approved"
    assert edge.network.compared == 1
    missing = await api(edge, "POST", "/models/approve", body | {"name": "none"})
    assert missing.code == "claim_not_found"


async def test_usage(edge: Edge) -> None:
    """Usage is added up and listed, page by page."""
    for number in range(3):
        edge.usage.put(
            Receipt(
                UsageRecord(
                    request_id=f"req_{number}",
                    at=datetime.now(UTC),
                    member=OPERATOR,
                    key_id=KeyId(edge.user_id),
                    route="chat",
                    model="small",
                    digest=DIGEST,
                    node=None,
                    outcome="ok",
                    stream=False,
                    prompt_tokens=10,
                    completion_tokens=5,
                    content_events=0,
                    bytes_out=100,
                    ttft_s=0.1,
                    duration_s=0.2,
                    attempts=1,
                    parts=(UsagePart("n1", DIGEST, 10, 5, 5, "ok", 0.5),) if number == 2 else (),
                )
            )
        )
    await edge.usage.close()
    page = told(await api(edge, "GET", "/usage?by=model&limit=2"))
    assert page["totals"][0]["group"] == "small"
    assert page["totals"][0]["prompt_tokens"] == 30
    assert [each["request_id"] for each in page["records"]] == ["req_2", "req_1"]
    assert [len(each["parts"]) for each in page["records"]] == [1, 0]
    assert page["records"][0]["parts"][0]["gap_s"] == 0.5
    rest = told(await api(edge, "GET", f"/usage?before={page['before']}"))
    assert [each["request_id"] for each in rest["records"]] == ["req_0"]
    assert rest["before"] is None
    none = told(await api(edge, "GET", "/usage?until=2001-01-01T00:00:00Z&limit=0"))
    assert (none["totals"], none["records"]) == ([], [])
