"""Which settings the log of acts tells of."""

from pathlib import Path

import pytest

from garage_ai.gateway.kept_settings import kept_settings
from garage_ai.settings import GatewaySettings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GatewaySettings.model_fields:
        monkeypatch.delenv(f"GAI_{name.upper()}", raising=False)


def test_rules_are_told_and_what_they_were() -> None:
    """Bounds and switches, by their names."""
    now, defaults = kept_settings(GatewaySettings(allow_unsandboxed=True, min_agent="0.2.0"))
    changed = {name: value for name, value in now.items() if value != defaults[name]}
    assert changed == {"allow_unsandboxed": True, "min_agent": "0.2.0"}


def test_no_place_and_no_secret_is_told() -> None:
    """A database's address holds a password; folders and addresses are nobody's business."""
    settings = GatewaySettings(
        database_url="postgresql://garage:secret@10.0.0.7/garage",
        nats_urls="nats://10.0.0.8:4222",
        host="10.0.0.9",
        port=8443,
        data_dir=Path("/srv/garage"),
        cors_origins="https://example.org",
    )
    now, defaults = kept_settings(settings)
    assert now == defaults
    assert not [value for value in now.values() if isinstance(value, str) and "10.0" in value]
    assert {"database_url", "host", "port", "data_dir", "nats_urls"}.isdisjoint(now)
