"""What an administrator sends to those who are to come in: keys, tokens and invites."""

import json

import pytest
from tests.integration.cli.conftest import Cli, FakeGateway, error


def test_a_token_comes_with_the_line_that_takes_it(cli: Cli, gateway: FakeGateway) -> None:
    """A volunteer has start.sh and no `gai`; programs are told what people are."""
    made = cli("node", "token")
    assert made.stdout == "gaij_new\n"
    line = f"until 2026-11-24 15:00; on that PC:  ./start.sh join {gateway.url} TOKEN\n"
    assert line in made.stderr
    assert json.loads(cli("node", "token", "--json").stdout) == {
        "id": "tok_1",
        "token": "gaij_new",
        "gateway": gateway.url,
        "expires_at": "2026-11-24T15:00:00Z",
    }


def test_an_invite_says_until_when(cli: Cli, gateway: FakeGateway) -> None:
    """To programs as to people."""
    made = cli("member", "invite")
    link = f"{gateway.url}/invite#gaim_new"
    assert made.stdout == f"{link}\n"
    assert "Good until 2026-11-30 15:00" in made.stderr
    told = json.loads(cli("member", "invite", "--json").stdout)
    assert (told["link"], told["expires_at"]) == (link, "2026-11-30T15:00:00Z")


@pytest.mark.parametrize("command", ["node token", "member invite"])
def test_an_address_of_this_machine_alone_is_said_to_be_one(cli: Cli, command: str) -> None:
    """Sent to a friend it would lead to the friend's own PC."""
    assert "Other PCs do not reach that address" in cli(*command.split()).stderr


def test_whose_keys_are_whose(cli: Cli, gateway: FakeGateway) -> None:
    """A key whose time is over is not called active."""
    anna = {"id": "key_1", "name": "laptop", "member": "mbr_anna", "region": "SE-AB"}
    ends = [{"expires_at": moment} for moment in (None, "2020-01-01T00:00:00Z")]
    gateway.pages["/api/v1/keys"] = [{"data": [anna | {"limits": limits} for limits in ends]}]
    _, active, over = (row.split() for row in cli("key", "list").stdout.splitlines())
    assert active[-2:] == ["active", "mbr_anna"]
    assert over[-2:] == ["expired", "mbr_anna"]


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "member_suspended", "another key changes nothing"),
        (401, "expired_api_key", "for more time"),
        (403, "model_forbidden", "`gai models` shows"),
        (429, "insufficient_quota", "gai ledger balance"),
        (400, "context_length_exceeded", "/reset"),
    ],
)
def test_what_a_newcomer_runs_into_comes_with_advice(
    cli: Cli, gateway: FakeGateway, status: int, code: str, advice: str
) -> None:
    """Nobody is sent to look at a key that is good."""
    gateway.refusal = (status, error("No.", code), {})
    ended = cli("chat", "Hi there")
    assert advice in ended.stderr.splitlines()[1]
