"""Settings as they are read from the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from garage_ai.ledger.models import GAI
from garage_ai.ledger.rules import MAX_AMOUNT
from garage_ai.settings import ClientSettings, GatewaySettings
from garage_ai.wire.frames import VERSION, Open, Packet, decode, encode
from garage_ai.wire.ids import AttemptId, Digest, SessionId

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


def test_a_folder_may_lie_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit file and an option with `=` leave the `~` as it is; no folder of that name is made."""
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("GAI_DATA_DIR", "~/net")
    assert GatewaySettings().data_dir == Path("/home/anna/net")
    monkeypatch.setenv("GAI_DATA_DIR", "~nobody-of-that-name/net")
    with pytest.raises(ValidationError, match="no such user"):
        GatewaySettings()


@pytest.mark.parametrize("name", ["authority_dir", "tls_cert", "tls_key", "tls_ca"])
def test_every_path_may_lie_in_the_home(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder called `~` would get keys of its own, which no node knows."""
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv(f"GAI_{name.upper()}", "~/keys")
    assert getattr(GatewaySettings(), name) == Path("/home/anna/keys")


def test_a_grant_is_in_gai(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in nGAI is refused at the start: the books would take none, and no member had any."""
    monkeypatch.setenv("GAI_GRANT", str(MAX_AMOUNT // GAI))
    assert GatewaySettings().grant == MAX_AMOUNT // GAI
    monkeypatch.setenv("GAI_GRANT", "5000000000")
    with pytest.raises(ValidationError, match="less than or equal to 100000000"):
        GatewaySettings()


def test_no_request_may_run_longer_than_a_node_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no node could read any: each would be silent, and taken for lost."""
    monkeypatch.setenv("GAI_TOTAL_SECONDS", "86400")
    longest = GatewaySettings().total_seconds
    job = Open(VERSION, SessionId("s"), "reply", "chat", Digest(""), True, 0, longest)
    packet = Packet(AttemptId("a"), 0, (job,))
    assert decode(encode(packet)) == packet
    monkeypatch.setenv("GAI_TOTAL_SECONDS", "86401")
    with pytest.raises(ValidationError, match="less than or equal to 86400"):
        GatewaySettings()
