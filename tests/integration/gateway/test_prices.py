"""`/api/v1/prices`: read with any key, set by an administrator, and never changed in place."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.gateway.test_coordination import api, told
from tests.parts.edge import Edge

from garage_ai.audit.service import AuditLog
from garage_ai.catalog import DEFAULT_MODEL, Catalog, digest_of
from garage_ai.ledger.tariff import usual_price

pytestmark = pytest.mark.anyio

NEW = {"model": "theirs", "prompt": "5", "completion": "70"}


async def listed(edge: Edge, path: str = "/prices") -> dict[str, Any]:
    answer: dict[str, Any] = told(await api(edge, "GET", path))
    return answer


async def test_every_model_of_the_catalogue_has_a_price(edge: Edge) -> None:
    """By its digest, and one for all others; nobody set them."""
    data = (await listed(edge))["data"]
    shown = {each["model"]: each for each in data}
    manifest = Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    assert shown[str(digest_of(manifest))]["note"] == DEFAULT_MODEL
    assert shown["*"]["completion"] == str(usual_price().completion)
    assert {each["set_by"] for each in data} == {None}


async def test_any_key_may_read_them(edge: Edge) -> None:
    """A price is no secret; to set one takes an administrator."""
    bearer = edge.bearer["authorization"]
    for path in ("/prices", "/prices/history"):
        assert (await api(edge, "GET", path, authorization=bearer)).status == 200
    assert (await api(edge, "PUT", "/prices", NEW, authorization=bearer)).status == 403
    assert (await api(edge, "GET", "/prices", key=False)).status == 401


async def test_a_price_is_set_with_notice(edge: Edge) -> None:
    """It is listed as coming and told in the history, with who set it; the log has it too."""
    made = told(await api(edge, "PUT", "/prices", NEW | {"note": "half"}))
    assert (made["prompt"], made["completion"], made["note"]) == ("5", "70", "half")
    assert (made["model"], made["name"]) == ("theirs", None)
    assert made["set_by"] == "mbr_operator"
    answer = await listed(edge)
    assert [each["id"] for each in answer["coming"]] == [made["id"]]
    assert "theirs" not in {each["model"] for each in answer["data"]}
    history = (await listed(edge, "/prices/history?model=theirs"))["data"]
    assert history == [made]
    entry, *_ = await AuditLog(edge.storage).latest()
    assert (entry.action, entry.subject) == ("price.set", "theirs")


async def test_a_name_of_the_catalogue_means_its_manifest(edge: Edge) -> None:
    """Whoever prices it by name prices what that is."""
    made = told(await api(edge, "PUT", "/prices", NEW | {"model": DEFAULT_MODEL}))
    assert made["model"].startswith("sha256:")
    assert made["name"] == DEFAULT_MODEL
    history = (await listed(edge, f"/prices/history?model={DEFAULT_MODEL}"))["data"]
    assert [each["set_by"] for each in history] == ["mbr_operator", None]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": "-1"}, "invalid_value"),
        ({"prompt": "1.5"}, "invalid_value"),
        ({"prompt": 5}, "invalid_value"),
        ({"completion": "9999999999999"}, "invalid_price"),
        ({"model": ""}, "invalid_value"),
        ({"model": "garage-chat"}, "invalid_price"),
        ({"effective_from": "2026-01-01T00:00:00Z"}, "price_too_soon"),
    ],
)
async def test_what_is_no_price_is_refused(edge: Edge, change: dict[str, Any], code: str) -> None:
    """Each with its code, and nothing is added."""
    answer = await api(edge, "PUT", "/prices", NEW | change)
    assert told(answer, 400)["error"]["code"] == code
    assert (await listed(edge))["coming"] == []


async def test_a_price_may_be_set_for_later(edge: Edge) -> None:
    """From a moment that is named."""
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    made = told(await api(edge, "PUT", "/prices", NEW | {"effective_from": later}))
    assert datetime.fromisoformat(made["effective_from"]) == datetime.fromisoformat(later)
