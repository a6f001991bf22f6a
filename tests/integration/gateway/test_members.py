"""Members over HTTP: invited with nothing but a link, at home with what is theirs, then gone."""

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update
from tests.integration.gateway.test_coordination import api, enrol, new_identity, told
from tests.parts.edge import Edge
from tests.parts.money import NOON, A, B, grant, use
from tests.parts.played_network import NODE
from tests.parts.raw_http import Answer, ask
from tests.parts.tree import ROOT

from garage_ai.accounts import OPERATOR, Dimension, Invites, MemberId, StoredPools
from garage_ai.accounts.limit_models import Subject
from garage_ai.accounts.limit_pools import PoolId
from garage_ai.accounts.windows import Ask
from garage_ai.batch import Submission
from garage_ai.gateway.own_data import PAGE
from garage_ai.ledger import Ledger, escrow_account, member_account
from garage_ai.ledger.warmth import WarmHours
from garage_ai.storage import DatabaseUnreachable
from garage_ai.storage.tables import keys, leases, unaccounted
from garage_ai.wire.ids import NodeId

pytestmark = pytest.mark.anyio


class Person:
    """Somebody with a key of the own."""

    def __init__(self, edge: Edge, joined: dict[str, Any]) -> None:
        self.edge = edge
        self.id: str = joined["member"]["id"]
        self.key: str = joined["key"]["id"]
        self.secret: str = joined["secret"]

    async def __call__(self, method: str, path: str, body: object = None, **more: str) -> Answer:
        headers = {"authorization": f"Bearer {self.secret}"} | more
        return await ask(
            self.edge, f"/api/v1{path}", method=method, headers=headers, json_body=body
        )


async def come(edge: Edge, name: str) -> Person:
    """Invite somebody who comes."""
    secret = told(await api(edge, "POST", "/invites", {}), 201)["secret"]
    body = {"secret": secret, "name": name}
    return Person(edge, told(await api(edge, "POST", "/invites/accept", body, key=False), 201))


async def own_node(edge: Edge, person: Person) -> NodeId:
    """Enrol a node with a token that the person made."""
    token = told(await person("POST", "/tokens", {}), 201)["token"]
    node = NodeId(told(await enrol(edge, new_identity(), token), 201)["node"])
    edge.network.show(node, person.id)
    return node


async def test_an_invite_shows_one_command(edge: Edge) -> None:
    """The link opens in any browser, says what to type, and the secret was not sent."""
    page = await ask(edge, "/invite")
    assert page.status == 200
    assert "gai member accept" in page.body.decode()
    assert "start.sh" in page.body.decode()
    assert page.headers["content-type"].startswith("text/plain")


async def test_wrong_invites_are_counted(edge: Edge) -> None:
    """Guessing costs the same as with keys and tokens."""
    codes = set()
    for _ in range(21):
        body = {"secret": "gaim_made_up", "name": "x"}
        codes.add((await api(edge, "POST", "/invites/accept", body, key=False)).code)
    assert codes == {"invalid_invite", "too_many_failures"}


async def test_an_invite_is_told_once_and_ends(edge: Edge) -> None:
    """Made again by the same wish it has no secret; revoked it lets nobody in."""
    made = told(await api(edge, "POST", "/invites", {"uses": 2}, idempotency_key="a"), 201)
    again = told(await api(edge, "POST", "/invites", {"uses": 2}, idempotency_key="a"), 201)
    assert (again["id"], again["secret"]) == (made["id"], None)
    listed = await api(edge, "GET", "/invites")
    assert made["secret"].encode() not in listed.body
    assert told(await api(edge, "DELETE", f"/invites/{made['id']}"))["state"] == "revoked"
    body = {"secret": made["secret"], "name": "x"}
    refused = await api(edge, "POST", "/invites/accept", body, key=False)
    assert (refused.status, refused.code) == (401, "invite_revoked")


async def test_a_member_looks_after_what_is_its_own(edge: Edge) -> None:
    """Keys, tokens and nodes of one's own, by the addresses that administrators use."""
    anna = await come(edge, "Anna")
    made = told(await anna("POST", "/keys", {"name": "laptop"}), 201)
    assert made["member"] == anna.id
    listed = told(await anna("GET", "/keys"))["data"]
    assert {each["id"] for each in listed} == {anna.key, made["id"]}
    assert told(await anna("DELETE", f"/keys/{made['id']}"))["revoked_at"]
    node = await own_node(edge, anna)
    assert [each["id"] for each in told(await anna("GET", "/nodes"))["data"]] == [node]
    assert told(await anna("GET", f"/nodes/{node}"))["member"] == anna.id
    told(await anna("POST", f"/nodes/{node}/drain"))
    told(await anna("POST", f"/nodes/{node}/undrain"))
    assert len(told(await anna("GET", "/tokens"))["data"]) == 1
    me = told(await anna("GET", "/me"))
    assert (me["member"]["name"], me["balance"]["account"]) == ("Anna", f"member:{anna.id}")
    assert (me["balance"]["reserved"], me["balance"]["available"] != "0") == ("0", True)
    assert [each["id"] for each in me["nodes"]] == [node]
    assert told(await anna("DELETE", f"/nodes/{node}"))["cut_off"] is True
    assert told(await anna("GET", "/usage"))["totals"] == []


async def test_who_looks_has_the_months_grant(edge: Edge) -> None:
    """What can be spent is shown before anything was; another's look gives nothing."""
    anna, bo = await come(edge, "Anna"), await come(edge, "Bo")
    me = told(await anna("GET", "/me"))["balance"]
    assert told(await anna("GET", "/ledger/balance")) == me
    [grant] = told(await anna("GET", "/ledger/statement"))["transfers"]
    assert (grant["kind"], grant["amount"]) == ("grant", me["available"])
    path = f"/ledger/balance?account=member:{bo.id}"
    assert told(await api(edge, "GET", path))["amount"] == "0"


async def test_what_is_others_is_not_there(edge: Edge) -> None:
    """404, not 403: an id tells a stranger nothing, not even that it exists."""
    anna, bo = await come(edge, "Anna"), await come(edge, "Bo")
    node = await own_node(edge, bo)
    token = told(await bo("GET", "/tokens"))["data"][0]["id"]
    for method, path, code in (
        ("DELETE", f"/keys/{bo.key}", "key_not_found"),
        ("DELETE", f"/keys/{edge.user_id}", "key_not_found"),
        ("DELETE", f"/tokens/{token}", "token_not_found"),
        ("GET", f"/nodes/{node}", "node_not_found"),
        ("POST", f"/nodes/{node}/drain", "node_not_found"),
        ("POST", f"/nodes/{NODE}/undrain", "node_not_found"),
        ("DELETE", f"/nodes/{node}", "node_not_found"),
    ):
        refused = await anna(method, path)
        assert (refused.status, refused.code) == (404, code), path
    for path, body in (("/keys", {"name": "x"}), ("/tokens", {})):
        for other in (bo.id, OPERATOR, "mbr_nobody"):
            refused = await anna("POST", path, body | {"member": other})
            assert (refused.status, refused.code) == (404, "member_not_found")
    assert told(await anna("GET", "/nodes"))["data"] == []
    assert node not in edge.network.removed


async def test_a_member_is_no_administrator(edge: Edge) -> None:
    """Neither by its key, nor by one that it makes, nor by a token."""
    anna = await come(edge, "Anna")
    for method, path, body in (
        ("GET", "/members", None),
        ("POST", "/members", {"name": "x"}),
        ("POST", "/invites", {}),
        ("GET", "/audit", None),
        ("POST", f"/nodes/{NODE}/admit", None),
        ("POST", f"/members/{anna.id}/resume", None),
        ("POST", "/keys", {"name": "x", "scopes": ["admin"]}),
        ("POST", "/keys", {"name": "x", "scopes": ["inference", "usage"]}),
        ("POST", "/tokens", {"bare_allowed": True}),
        ("PATCH", f"/keys/{anna.key}/limits", {"rpm": None}),
    ):
        refused = await anna(method, path, body)
        assert (refused.status, refused.code) == (403, "insufficient_scope"), path
    bound = {"name": "SE", "member": anna.id, "scopes": ["member"], "region": "SE-AB"}
    anna.secret = told(await api(edge, "POST", "/keys", bound), 201)["key"]
    assert told(await anna("POST", "/keys", {"name": "x"}), 201)["region"] == "SE-AB"
    elsewhere = await anna("POST", "/keys", {"name": "x", "region": "SE-C"})
    assert (elsewhere.status, elsewhere.code) == (403, "region_forbidden")


async def test_a_key_with_limits_makes_none_without(edge: Edge) -> None:
    """What an administrator set for a key is not shaken off by making another."""
    anna = await come(edge, "Anna")
    told(await api(edge, "PATCH", f"/keys/{anna.key}/limits", {"rpm": 7}))
    assert told(await anna("POST", "/keys", {"name": "x"}), 201)["limits"]["rpm"] == 7
    refused = await anna("POST", "/keys", {"name": "x", "limits": {"rpm": 70}})
    assert (refused.status, refused.code) == (403, "insufficient_scope")


async def test_a_suspended_member_is_told_so(edge: Edge) -> None:
    """At once, on /v1 and /api/v1, and its nodes are taken out; resumed, all is as before."""
    anna = await come(edge, "Anna")
    node = await own_node(edge, anna)
    told(await api(edge, "POST", f"/members/{anna.id}/suspend"))
    bearer = {"authorization": f"Bearer {anna.secret}"}
    for path in ("/v1/models", "/api/v1/me"):
        refused = await ask(edge, path, headers=bearer)
        assert (refused.status, refused.code) == (403, "member_suspended")
    assert [each.suspended for each in edge.network.enrolled if each.id == node][-1]
    told(await api(edge, "POST", f"/members/{anna.id}/resume"))
    assert (await ask(edge, "/v1/models", headers=bearer)).status == 200
    assert not [each.suspended for each in edge.network.enrolled if each.id == node][-1]


async def test_a_suspended_member_enrols_nothing(edge: Edge) -> None:
    """Neither the node that was taken out, by its old token once more, nor a new one."""
    anna = await come(edge, "Anna")
    identity, used = new_identity(), told(await anna("POST", "/tokens", {}), 201)["token"]
    told(await enrol(edge, identity, used), 201)
    fresh = told(await anna("POST", "/tokens", {}), 201)["token"]
    told(await api(edge, "POST", f"/members/{anna.id}/suspend"))
    before = len(edge.network.enrolled)
    for who, token in ((identity, used), (new_identity(), fresh)):
        refused = await enrol(edge, who, token)
        assert (refused.status, refused.code) == (403, "member_suspended")
    assert len(edge.network.enrolled) == before
    told(await api(edge, "POST", f"/members/{anna.id}/resume"))
    told(await enrol(edge, new_identity(), fresh), 201)


async def test_an_admin_key_is_revoked_by_such_a_key_alone(edge: Edge) -> None:
    """A member's key of the operator sees it, and may not end it."""
    plain = told(await api(edge, "POST", "/keys", {"name": "laptop", "scopes": ["member"]}), 201)
    other = told(await api(edge, "POST", "/keys", {"name": "other", "scopes": ["admin"]}), 201)
    bearer = {"authorization": f"Bearer {plain['key']}"}
    refused = await ask(edge, f"/api/v1/keys/{other['id']}", method="DELETE", headers=bearer)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    told(await api(edge, "DELETE", f"/keys/{other['id']}"))


async def test_everything_is_taken_along_and_then_erased(edge: Edge) -> None:
    """The export has all of it; afterwards the key is dead, the node cut off, the name gone."""
    anna = await come(edge, "Anna")
    node = await own_node(edge, anna)
    account = member_account(MemberId(anna.id))
    booked = [grant(f"g{number:04}", account, number + 1) for number in range(2 * PAGE + 1)]
    await Ledger(edge.storage).post([*booked, grant("other", A, 7)])
    key = edge.services.keys.authenticate(anna.secret)
    async with await edge.services.files.upload(key, "mine.jsonl") as upload:
        file = await upload.keep()
    await edge.services.batches.submit(key, Submission(file.id, "/v1/embeddings"))
    mapping = {"kind": "user", "value": "anna@example.org", "member": anna.id}
    told(await api(edge, "POST", "/litellm/mappings", mapping))
    export = told(await anna("GET", "/me/export"))
    assert export["member"]["name"] == "Anna"
    assert [each["id"] for each in export["ledger"]] == [each.id for each in booked]
    assert [each["amount"] for each in export["ledger"][:2]] == ["1", "2"]
    assert [each["id"] for each in export["nodes"]] == [node]
    assert [each["value"] for each in export["mappings"]] == ["anna@example.org"]
    assert export["litellm"] == []
    assert [each["filename"] for each in export["files"]] == ["mine.jsonl"]
    assert [each["input_file_id"] for each in export["batches"]] == [file.id]
    assert {each["action"] for each in export["audit"]} == {
        "invite.accepted",
        "token.made",
        "node.enrolled",
        "file.added",
        "batch.submitted",
        "proxy.mapped",
    }
    assert anna.secret not in json.dumps(export)
    wrong = await anna("DELETE", "/me", {"name": "Bo"})
    assert (wrong.status, wrong.code) == (409, "not_confirmed")
    assert edge.network.removed == []
    assert told(await anna("DELETE", "/me", {"name": "Anna"}))["state"] == "erased"
    assert edge.network.removed == [node]
    refused = await anna("GET", "/me")
    assert (refused.status, refused.code) == (401, "revoked_api_key")
    assert b"Anna" not in (await api(edge, "GET", "/members")).body


async def test_a_node_that_came_elsewhere_is_cut_off_too(edge: Edge) -> None:
    """The books know it before this gateway hears of it."""
    anna, identity = await come(edge, "Anna"), new_identity()
    token = told(await anna("POST", "/tokens", {}), 201)["token"]
    node = told(await enrol(edge, identity, token), 201)["node"]
    assert told(await anna("GET", "/nodes"))["data"] == []
    told(await anna("DELETE", "/me", {"name": "Anna"}))
    assert (edge.revoker.revoked, edge.network.removed) == ([identity.public_key], [node])


async def test_the_export_has_what_is_kept_beside_the_books(edge: Edge) -> None:
    """Invites taken and given, limits and their use, rewards, and what is lent of the balance."""
    made = told(await api(edge, "POST", "/invites", {"name": "Anna"}), 201)
    body = {"secret": made["secret"]}
    anna = Person(edge, told(await api(edge, "POST", "/invites/accept", body, key=False), 201))
    given = await Invites(edge.storage).create(MemberId(anna.id), "Bo")
    limits = {"models": ["only-this"], "daily_gai": "7"}
    told(await api(edge, "PATCH", f"/keys/{anna.key}/limits", limits))
    pool = PoolId(Subject(anna.id), Dimension.DAILY_TOKENS)
    ask_of_pool = Ask("gw", 10, used=3, held=0, room=0, want=0, need=0)
    await StoredPools(edge.storage).exchange({pool: ask_of_pool})
    node, account = await own_node(edge, anna), member_account(MemberId(anna.id))
    warm = WarmHours(edge.storage)
    warm.saw([node], NOON)
    await warm.keep()
    told(await anna("GET", "/me"))  # whoever comes has the month's grant
    held = [use(name, account, escrow_account(at), 5) for name, at in (("own", node), ("as", NODE))]
    bert = grant("berts", B, 9)
    others = [use(name, B, each.credit, 2) for name, each in zip(("b1", "b2"), held, strict=True)]
    await Ledger(edge.storage).post([bert, *held, *others])
    lent = {"gateway": "gw", "payer": account, "amount": 4}
    async with edge.storage.write() as connection:
        lease = {"id": "lse_1", "settled": 1, "expires_at": NOON, "state": "expired"}
        await connection.execute(insert(leases).values(lent | lease))
        rest = {"lease": "lse_1", "amount": 3, "at": NOON}
        await connection.execute(insert(unaccounted).values(lent | rest))

    export = told(await anna("GET", "/me/export"))

    assert [each["id"] for each in export["invites"]] == [given.invite.id]
    assert [(each["id"], each["name"]) for each in export["invited"]] == [(made["id"], "Anna")]
    told_of = {each["of"]: each for each in export["limits"]}
    assert told_of[anna.key]["limits"]["models"] == ["only-this"]
    assert told_of[anna.key]["limits"]["daily_gai"] == "7"
    assert told_of[anna.id]["used"]["daily_tokens"] == 3
    assert [(each["node"], each["minutes"]) for each in export["warm_hours"]] == [(node, [0])]
    [reward] = export["rewards"]
    assert (reward["kind"], reward["credit"]) == ("grant", account)
    assert {each["id"] for each in export["ledger"]} == {reward["id"], "own", "as", "b1"}
    assert len(export["ledger"]) == 4
    assert [(each["id"], each["settled"]) for each in export["leases"]] == [("lse_1", "1")]
    assert [(each["lease"], each["amount"]) for each in export["unaccounted"]] == [("lse_1", "3")]


async def test_the_page_on_data_names_the_parts_of_the_export(edge: Edge) -> None:
    """No part without its tables, and none that is not there."""
    export = told(await (await come(edge, "Anna"))("GET", "/me/export"))
    page = (ROOT / "docs/explanation/data.md").read_text()
    table = page.partition("| part of the export |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(export)


async def test_a_key_sees_when_it_was_last_used(edge: Edge) -> None:
    """As it is kept, and not as it was when this gateway read it."""
    anna = await come(edge, "Anna")
    plain = told(await anna("POST", "/keys", {"name": "plain"}), 201)
    moment = datetime(2100, 1, 1, tzinfo=UTC)  # later than any that is written meanwhile
    async with edge.storage.write() as connection:
        await connection.execute(update(keys).values(last_used_at=moment))
    for secret in (anna.secret, plain["key"]):
        seen = told(await ask(edge, "/api/v1/me", headers={"authorization": f"Bearer {secret}"}))
        assert datetime.fromisoformat(seen["key"]["last_used_at"]) == moment


async def test_the_operator_is_not_erased(edge: Edge) -> None:
    """Not even by the admin key, whose last one cannot revoke itself either."""
    name = told(await api(edge, "GET", "/me"))["member"]["name"]
    refused = await api(edge, "DELETE", "/me", {"name": name})
    assert (refused.status, refused.code) == (409, "operator_needed")
    admin = told(await api(edge, "GET", "/me"))["key"]["id"]
    locked = await api(edge, "DELETE", f"/keys/{admin}")
    assert (locked.status, locked.code) == (409, "last_admin_key")


async def test_who_alone_administers_the_network_is_not_erased(edge: Edge) -> None:
    """Nobody could let anybody in then; nothing is begun, and it is done once there is another."""
    anna = await come(edge, "Anna")
    node = await own_node(edge, anna)
    asked = {"name": "hers", "member": anna.id, "scopes": ["admin"]}
    hers = told(await api(edge, "POST", "/keys", asked), 201)
    first = told(await api(edge, "GET", "/me"))["key"]["id"]
    told(await api(edge, "DELETE", f"/keys/{first}"))
    admin = {"authorization": f"Bearer {hers['key']}"}
    for bearer in ({"authorization": f"Bearer {anna.secret}"}, admin):
        refused = await ask(
            edge, "/api/v1/me", method="DELETE", headers=bearer, json_body={"name": "Anna"}
        )
        assert (refused.status, refused.code) == (409, "last_admin_key")
    assert edge.network.removed == []
    assert [each["id"] for each in told(await anna("GET", "/nodes"))["data"]] == [node]
    other = {"name": "another", "scopes": ["admin"]}
    told(await ask(edge, "/api/v1/keys", method="POST", headers=admin, json_body=other), 201)
    assert told(await anna("DELETE", "/me", {"name": "Anna"}))["state"] == "erased"
    assert edge.network.removed == [node]


async def test_a_secret_is_told_though_the_database_goes_away(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, so nothing that may fail stands between its making and its owner."""

    async def away() -> None:
        raise DatabaseUnreachable("gone since")

    secret = told(await api(edge, "POST", "/invites", {}), 201)["secret"]
    body = {"secret": secret, "name": "Anna"}
    with monkeypatch.context() as gone:
        gone.setattr(edge.services.limit_book, "refresh", away)
        gone.setattr(edge.services.keys, "refresh", away)
        anna = Person(edge, told(await api(edge, "POST", "/invites/accept", body, key=False), 201))
        made = told(await api(edge, "POST", "/keys", {"name": "laptop"}), 201)
    assert made["key"]
    await edge.services.keys.refresh()
    assert told(await anna("GET", "/me"))["member"]["name"] == "Anna"


async def test_two_who_take_the_same_link(edge: Edge) -> None:
    """One comes, the other is told that somebody has."""
    secret = told(await api(edge, "POST", "/invites", {}), 201)["secret"]
    body = {"secret": secret, "name": "Anna"}
    both = await asyncio.gather(
        *(api(edge, "POST", "/invites/accept", body, key=False) for _ in range(2))
    )
    assert sorted(each.status for each in both) == [201, 401]
