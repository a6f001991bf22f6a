"""The routes of limits, and what a key is shown that has some."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import Answer, ask

from garage_ai.accounts import OPERATOR, LimitSettings
from garage_ai.accounts.limit_fields import MAX_MODELS
from garage_ai.audit.service import Wanted

pytestmark = pytest.mark.anyio


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge whose members' keys have limits by default."""
    defaults = LimitSettings(rpm=60, streams=4)
    async with running_edge(tmp_path, default_limits=defaults) as running:
        yield running


async def api(edge: Edge, method: str, path: str, body: object = None) -> Answer:
    return await ask(
        edge, f"/api/v1{path}", method=method, headers=edge.admin_bearer, json_body=body
    )


async def told(
    edge: Edge, method: str, path: str, body: object = None, status: int = 200
) -> dict[str, Any]:
    answer = await api(edge, method, path, body)
    assert answer.status == status, answer.body
    shown: dict[str, Any] = json.loads(answer.body)
    return shown


async def make_key(edge: Edge, limits: Mapping[str, object], member: str = OPERATOR) -> Any:
    asked = {"name": "limited", "limits": limits, "member": member}
    return await told(edge, "POST", "/keys", asked, 201)


async def test_limits_are_set_and_shown(edge: Edge) -> None:
    """What is named is changed, null takes away, the rest stays; GAI are whole nGAI as text."""
    made = await make_key(edge, {"rpm": 5, "monthly_gai": "2500000000", "models": ["b", "a"]})
    assert made["limits"]["models"] == ["a", "b"]
    path = f"/keys/{made['id']}/limits"
    changed = await told(edge, "PATCH", path, {"rpm": None, "tpm": 0})
    assert (changed["rpm"], changed["tpm"], changed["monthly_gai"]) == (None, 0, "2500000000")
    shown = await told(edge, "GET", path)
    assert shown["limits"] == changed
    assert set(shown["used"].values()) == {0, "0"}
    [listed] = [k for k in (await told(edge, "GET", "/keys"))["data"] if k["id"] == made["id"]]
    assert listed["limits"] == changed


async def test_the_longest_list_of_models_stands_in_the_log_by_its_digest(edge: Edge) -> None:
    """As many names as may be, each as long as may be; a short list stands there as it is."""
    made = await make_key(edge, {})
    path = f"/keys/{made['id']}/limits"
    await told(edge, "PATCH", path, {"models": ["b", "a"]})
    names = [f"{number:03}å{'m' * 251}" for number in range(MAX_MODELS)]
    changed = await told(edge, "PATCH", path, {"models": names})
    assert changed["models"] == names
    newest, first = await edge.services.audit.latest(2, wanted=Wanted(action="key.limited"))
    written = json.dumps(names, separators=(",", ":"), ensure_ascii=False).encode()
    digest = hashlib.sha256(written).hexdigest()
    assert json.loads(newest.details) == {"models": f"100 names, sha256:{digest}"}
    assert json.loads(first.details)["models"] == '["a","b"]'


async def test_defaults_of_members_keys(edge: Edge) -> None:
    """Not given is not none: null takes the network's default away, silence leaves it."""
    member = (await told(edge, "POST", "/members", {"name": "Anna"}, 201))["id"]
    given = await make_key(edge, {"streams": None, "tpm": 10}, member)
    assert [given["limits"][name] for name in ("rpm", "tpm", "streams")] == [60, 10, None]
    assert (await make_key(edge, {}))["limits"]["rpm"] is None
    bearer = {"authorization": f"Bearer {given['key']}"}
    me = json.loads((await ask(edge, "/api/v1/me", headers=bearer)).body)
    assert me["key"]["limits"] == given["limits"]


async def test_who_comes_by_invite_has_the_defaults(edge: Edge) -> None:
    """From the first request on, as any other key of a member."""
    invite = await told(edge, "POST", "/invites", {}, 201)
    body = {"secret": invite["secret"], "name": "Anna"}
    joined = await told(edge, "POST", "/invites/accept", body, 201)
    assert [joined["key"]["limits"][name] for name in ("rpm", "tpm", "streams")] == [60, None, 4]


async def test_a_key_sees_its_models(edge: Edge) -> None:
    """Others are not listed, and not found by name."""
    for names, seen in ((["org/small"], 2), (["other"], 0)):
        bearer = {"authorization": f"Bearer {(await make_key(edge, {'models': names}))['key']}"}
        listed = json.loads((await ask(edge, "/v1/models", headers=bearer)).body)
        assert len(listed["data"]) == seen
        one = await ask(edge, "/v1/models/org/small", headers=bearer)
        assert one.status == (200 if seen else 404)


async def test_a_key_sees_what_serves_its_member(edge: Edge) -> None:
    """Whose nodes are not everybody's is asked with the member that the key belongs to."""
    member = (await told(edge, "POST", "/members", {"name": "Anna"}, 201))["id"]
    bearer = {"authorization": f"Bearer {(await make_key(edge, {}, member))['key']}"}
    for path in ("/v1/models", "/v1/models/org/small"):
        edge.network.shown_to = None
        assert (await ask(edge, path, headers=bearer)).status == 200
        assert edge.network.shown_to == member


async def test_an_expired_key(edge: Edge) -> None:
    """It opens nothing any more, and is told so."""
    made = await make_key(edge, {"expires_at": "2020-01-01T00:00:00Z"})
    bearer = {"authorization": f"Bearer {made['key']}"}
    for path in ("/v1/models", "/api/v1/me"):
        answer = await ask(edge, path, headers=bearer)
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["code"] == "expired_api_key"


async def test_a_member_whose_time_is_over(edge: Edge) -> None:
    """All its keys are refused, also one made later; with more time they work again."""
    member = (await told(edge, "POST", "/members", {"name": "Anna"}, 201))["id"]
    path = f"/members/{member}/limits"
    far = {"expires_at": "2100-01-01T00:00:00Z"}
    made = [await make_key(edge, {}, member), await make_key(edge, far, member)]
    ended = await told(edge, "PATCH", path, {"expires_at": "2020-01-01T00:00:00Z"})
    assert ended["expires_at"] == "2020-01-01T00:00:00Z"
    made.append(await make_key(edge, far, member))
    bearers = [{"authorization": f"Bearer {each['key']}"} for each in made]
    for bearer in bearers:
        for asked in ("/v1/models", "/api/v1/me"):
            answer = await ask(edge, asked, headers=bearer)
            assert (answer.status, answer.code) == (401, "expired_api_key")
    await told(edge, "PATCH", path, far)
    for bearer in bearers:
        assert (await ask(edge, "/v1/models", headers=bearer)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/keys/key_none/limits", {"rpm": 1}, 404),
        ("/members/mbr_none/limits", {"rpm": 1}, 404),
        ("/keys/mbr_operator/limits", {"rpm": 1}, 404),
        ("/members/mbr_operator/limits", {"rpm": -1}, 400),
        ("/members/mbr_operator/limits", {"daily_gai": 5}, 400),
        ("/members/mbr_operator/limits", {"daily_gai": "1.5"}, 400),
        ("/members/mbr_operator/limits", {"expires_at": "2027-01-01T00:00:00Z"}, 409),
        ("/members/mbr_operator/limits", {"expires_at": "2027-01-01T00:00:00"}, 400),
        ("/members/mbr_operator/limits", {"regions": ["NO-03"]}, 400),
        ("/members/mbr_operator/limits", {"models": [""]}, 400),
    ],
)
async def test_what_cannot_be_set(edge: Edge, path: str, body: object, status: int) -> None:
    """A wrong value or owner is told, and nothing is changed."""
    await told(edge, "PATCH", path, body, status)
    await told(edge, "GET", path, status=status if status == 404 else 200)
    assert edge.services.limit_book.of(OPERATOR) == LimitSettings()


async def test_only_administrators_set_limits(edge: Edge) -> None:
    """A member's key cannot lift its own."""
    answer = await ask(
        edge,
        f"/api/v1/keys/{edge.user_id}/limits",
        method="PATCH",
        headers=edge.bearer,
        json_body={"rpm": None},
    )
    assert answer.status == 403
