"""`gai key limit` and `gai member limit`, against a gateway that answers."""

import json

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway


def test_a_key_with_limits(cli: Cli, gateway: FakeGateway) -> None:
    """Only what is said is sent; GAI go as whole nGAI, a moment with its zone."""
    words = ("--rpm", "60", "--streams", "0", "--daily-gai", "1.5", "--model", "a", "--model", "b")
    cli("key", "create", "--name", "k", *words, "--expires", "2027-01-01T00:00:00Z")
    assert gateway.asked[-1]["limits"] == {
        "rpm": 60,
        "streams": 0,
        "daily_gai": "1500000000",
        "models": ["a", "b"],
        "expires_at": "2027-01-01T00:00:00+00:00",
    }


def test_one_region_binds_and_several_are_a_choice(cli: Cli, gateway: FakeGateway) -> None:
    """A single county is the key's own, as it always was."""
    cli("key", "create", "--name", "k", "--region", "SE-AB")
    assert (gateway.asked[-1]["region"], "limits" in gateway.asked[-1]) == ("SE-AB", False)
    cli("key", "create", "--name", "k", "--region", "SE-AB", "--region", "SE-C")
    assert gateway.asked[-1]["limits"] == {"regions": ["SE-AB", "SE-C"]}


def test_limits_are_changed(cli: Cli, gateway: FakeGateway) -> None:
    """What is not named stays; `off` takes a limit away, which is not the same as 0."""
    done = cli("key", "limit", "key_1", "--rpm", "0", "--tpm", "off", "--region", "off")
    assert done.returncode == 0, done.stderr
    assert gateway.paths == ["PATCH /api/v1/keys/key_1/limits"]
    assert gateway.asked == [{"rpm": 0, "tpm": None, "regions": None}]
    cli("member", "limit", "mbr_1", "--monthly-tokens", "1000000")
    assert gateway.asked[-1] == {"monthly_tokens": 1_000_000}
    cli("member", "limit", "mbr_1", "--expires", "2027-01-01T00:00:00Z")
    assert gateway.asked[-1] == {"expires_at": "2027-01-01T00:00:00+00:00"}


def test_limits_are_shown(cli: Cli) -> None:
    """With no option a table of what is allowed and what is used of it; --json as it came."""
    shown = cli("key", "limit", "key_1").stdout.splitlines()
    assert shown[0].split() == ["limit", "allowed", "used"]
    assert shown[1].split() == ["requests", "a", "minute", "60", "7"]
    cells = [line.split() for line in shown]
    assert ["GAI", "a", "day", "1.5", "0.25"] in cells
    assert ["tokens", "a", "minute", "no", "limit", "0"] in cells
    assert json.loads(cli("key", "limit", "key_1", "--json").stdout)["used"]["requests"] == 7


@pytest.mark.parametrize(
    "words",
    [("--rpm", "-1"), ("--tpm", "many"), ("--daily-gai", "0.0000000001"), ("--expires", "soon")],
)
def test_what_is_no_limit(cli: Cli, words: tuple[str, str]) -> None:
    """Wrong values are wrong use, and nothing is asked."""
    assert cli("key", "limit", "key_1", *words).returncode == 2
