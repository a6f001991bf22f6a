"""Settings as they are read from the environment."""

import pytest

from garage_ai.settings import ClientSettings, GatewaySettings

GATEWAY, CLIENT = GatewaySettings.model_fields, ClientSettings.model_fields


@pytest.mark.parametrize("name", [*GATEWAY, *CLIENT])
def test_what_is_set_to_nothing_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files and unit files leave it: the default holds."""
    for each in (*GATEWAY, *CLIENT):
        monkeypatch.delenv(f"GAI_{each.upper()}", raising=False)
    kind = GatewaySettings if name in GATEWAY else ClientSettings
    default = getattr(kind(), name)
    monkeypatch.setenv(f"GAI_{name.upper()}", "")
    assert getattr(kind(), name) == default
