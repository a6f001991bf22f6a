"""`/api/v1/manifests`: what the network knows, shown to nodes without a key, added by an admin."""

from typing import Any

import msgspec
import pytest
from tests.integration.gateway.test_coordination import api, told
from tests.parts.edge import Edge
from tests.parts.manifests import as_json, own_manifest
from tests.parts.raw_http import ask

from garage_ai.catalog import DEFAULT_MODEL, InFolder, ModelFile, decode_manifest, digest_of
from garage_ai.gateway.app import MAX_MANIFEST_BODY

pytestmark = pytest.mark.anyio

OWN = own_manifest()


async def listed(edge: Edge) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = told(await api(edge, "GET", "/manifests", key=False))["data"]
    return data


async def test_what_is_shipped_is_shown_without_a_key(edge: Edge) -> None:
    """Nobody added it; it is the whole manifest, by which a node can fetch and check."""
    [only] = await listed(edge)
    assert (only["name"], only["added_at"]) == (DEFAULT_MODEL, None)
    one = told(await api(edge, "GET", f"/manifests/{DEFAULT_MODEL}", key=False))
    assert one == only
    assert digest_of(decode_manifest(msgspec.json.encode(one["manifest"]))) == one["digest"]


async def test_an_administrator_adds_a_model(edge: Edge) -> None:
    """It is there at once, and added again it is the same."""
    added = told(await api(edge, "POST", "/manifests", as_json(OWN)))
    assert (added["digest"], added["name"]) == (digest_of(OWN), OWN.name)
    assert added["manifest"] == as_json(OWN)
    assert added["added_at"] is not None
    assert told(await api(edge, "POST", "/manifests", as_json(OWN))) == added
    assert (await listed(edge))[1] == added
    assert told(await api(edge, "GET", f"/manifests/{OWN.name}", key=False)) == added


async def test_an_administrator_removes_a_model(edge: Edge) -> None:
    """It is shown one last time, then nothing is there."""
    added = told(await api(edge, "POST", "/manifests", as_json(OWN)))
    assert told(await api(edge, "DELETE", f"/manifests/{OWN.name}")) == added
    for method in ("GET", "DELETE"):
        answer = await api(edge, method, f"/manifests/{OWN.name}")
        assert (answer.status, answer.code) == (404, "model_not_found")
    kept = await api(edge, "DELETE", f"/manifests/{DEFAULT_MODEL}")
    assert (kept.status, kept.code) == (409, "conflict")
    assert len(await listed(edge)) == 1


async def test_a_price_by_name_is_the_models(edge: Edge) -> None:
    """As soon as its manifest is known."""
    price = {"model": OWN.name, "prompt": "5", "completion": "70"}
    told(await api(edge, "POST", "/manifests", as_json(OWN)))
    assert told(await api(edge, "PUT", "/prices", price))["model"] == digest_of(OWN)
    history = told(await api(edge, "GET", f"/prices/history?model={OWN.name}"))["data"]
    assert [each["prompt"] for each in history] == ["5"]


async def test_only_administrators_change_it(edge: Edge) -> None:
    """A user's key may not, and none may not."""
    for method, path in (("POST", "/manifests"), ("DELETE", f"/manifests/{OWN.name}")):
        bearer = edge.bearer["authorization"]
        assert (await api(edge, method, path, as_json(OWN), authorization=bearer)).status == 403
        assert (await api(edge, method, path, as_json(OWN), key=False)).status == 401


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": []}, "files"),
        ({"strange": 1}, "strange"),
        ({"sources": []}, "https and huggingface"),
        ({"sources": [{"type": "path", "folder": "/srv"}]}, "https and huggingface"),
        ({"sources": [{"type": "package", "package": "os"}]}, "https and huggingface"),
        ({"sources": [{"type": "https", "base": "http://models.example"}]}, "sources"),
        ({"name": "org/model"}, "name"),
    ],
)
async def test_what_is_no_manifest_is_refused(
    edge: Edge, change: dict[str, Any], said: str
) -> None:
    """With what is wrong, and nothing is added."""
    answer = await api(edge, "POST", "/manifests", as_json(OWN) | change)
    assert (answer.status, answer.code) == (400, "invalid_manifest")
    assert said in told(answer, 400)["error"]["message"]
    assert len(await listed(edge)) == 1


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'"\xff"', b"[" * 100_000, b"null"])
async def test_what_is_no_json_is_refused(edge: Edge, body: bytes) -> None:
    """By the same code."""
    headers = edge.admin_bearer
    answer = await ask(edge, "/api/v1/manifests", method="POST", headers=headers, body=body)
    assert (answer.status, answer.code) == (400, "invalid_manifest")


async def test_a_name_is_one_models(edge: Edge) -> None:
    """Another digest under it is told so."""
    told(await api(edge, "POST", "/manifests", as_json(OWN)))
    for taken in (own_manifest(licence="MIT"), own_manifest("garage-chat")):
        answer = await api(edge, "POST", "/manifests", as_json(taken))
        assert (answer.status, answer.code) == (409, "manifest_exists")


async def test_a_model_of_many_files_fits(edge: Edge) -> None:
    """A thousand files with long names; a mebibyte is the most that is read."""
    folder = "x" * 150
    files = tuple(
        ModelFile(path=f"{folder}/{number}.safetensors", size=1, sha256="0" * 64)
        for number in range(1000)
    )
    big = own_manifest("big", files=files)
    told(await api(edge, "POST", "/manifests", as_json(big)))
    body = msgspec.json.encode(big).ljust(MAX_MANIFEST_BODY + 1)
    headers = edge.admin_bearer
    answer = await ask(edge, "/api/v1/manifests", method="POST", headers=headers, body=body)
    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_a_folder_of_one_machine_is_not_shown(edge: Edge) -> None:
    """It could not be added in the first place."""
    here = own_manifest(sources=(InFolder("/srv/models"),))
    assert (await api(edge, "POST", "/manifests", as_json(here))).status == 400
    assert "/srv" not in str(await listed(edge))
