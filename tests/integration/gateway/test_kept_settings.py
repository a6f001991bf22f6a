"""The gateway's settings in the log of acts, from one start to the next."""

import json
from pathlib import Path

import pytest

from garage_ai.audit.service import AuditLog
from garage_ai.audit.settings_log import note_settings
from garage_ai.gateway.kept_settings import kept_settings
from garage_ai.settings import GatewaySettings
from garage_ai.storage import Storage, sqlite_url

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GatewaySettings.model_fields:
        monkeypatch.delenv(f"GAI_{name.upper()}", raising=False)


async def test_limits_opened_set_and_taken_away_are_told(tmp_path: Path) -> None:
    """At each start with others than before, also where they are only unset or set again."""
    starts = [
        GatewaySettings(limits_fail="open"),
        GatewaySettings(default_rpm=60, default_streams=4),
        GatewaySettings(),
        GatewaySettings(default_rpm=60),
        GatewaySettings(default_rpm=60),
    ]
    storage = await Storage.open(sqlite_url(tmp_path / "garage.db"))
    log = AuditLog(storage)
    told = [await note_settings(log, *kept_settings(each)) for each in starts]
    await storage.close()
    assert [None if each is None else json.loads(each.details) for each in told] == [
        {"limits_fail": "open"},
        {"limits_fail": "closed", "default_rpm": 60, "default_streams": 4},
        {"default_rpm": None, "default_streams": None},
        {"default_rpm": 60},
        None,
    ]
