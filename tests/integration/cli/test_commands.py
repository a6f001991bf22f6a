"""Commands as processes, against a gateway that answers."""

import json
import resource
import subprocess
import sys
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.cli.conftest import MODELS, Cli, FakeGateway, error


def test_help_is_there_at_once(bare_cli: Cli) -> None:
    """`gai --help` names every command, and costs less than 0.3 s of a processor."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = bare_cli("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ended.returncode == 0
        for command in ("up", "gateway", "node", "key", "member", "models", "chat", "usage"):
            assert f"\n  {command} " in ended.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.3


def test_a_command_starts_light() -> None:
    """Nothing of weight is imported before a command needs it."""
    code = (
        "import sys; from garage_ai.cli.app import make_app; make_app();"
        "print(*(name for name in sys.modules))"
    )
    argv = [sys.executable, "-P", "-c", code]
    loaded = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    heavy = {"aiohttp", "asyncio", "fastapi", "nats", "pydantic", "rich", "sqlalchemy", "structlog"}
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("key",),
        ("--no-such",),
        ("key", "create"),
        ("up", "--port", "70000"),
        ("usage", "--by", "x"),
        ("usage", "--since", "yesterday"),
    ],
)
def test_wrong_use_ends_with_2(bare_cli: Cli, args: tuple[str, ...]) -> None:
    """What cannot be meant is told apart from what did not work."""
    assert bare_cli(*args).returncode == 2


def test_the_version(bare_cli: Cli) -> None:
    """--version says it and nothing else."""
    assert bare_cli("--version").stdout == "gai 0.1.0\n"


def test_models_as_a_table(cli: Cli) -> None:
    """Golden: aliases point to what they stand for."""
    assert cli("models").stdout == (
        "model               kind  context  nodes  digest\n"
        "garage-chat = tiny  chat     2048      0\n"
        "tiny                chat        0      2  abababababab\n"
    )


def test_models_as_json(cli: Cli) -> None:
    """--json is for programs."""
    shown = json.loads(cli("models", "--json").stdout)
    assert [model["id"] for model in shown] == [model["id"] for model in MODELS]


def test_a_key_is_alone_on_stdout(cli: Cli, gateway: FakeGateway) -> None:
    """KEY=$(gai key create …) works; what is said beside it is on stderr."""
    ended = cli("key", "create", "--name", "laptop")
    assert ended.stdout == "gai_new\n"
    assert ended.stderr == "Key key_1 for laptop. It is shown this once:\n"
    assert gateway.asked == [{"name": "laptop", "scopes": ["inference"]}]


def test_a_key_as_json(cli: Cli) -> None:
    """The documented fields."""
    made = json.loads(cli("key", "create", "--name", "laptop", "--json").stdout)
    assert made["id"] == "key_1"
    assert made["key"] == "gai_new"


def test_an_admin_key(cli: Cli, gateway: FakeGateway) -> None:
    """--admin asks for both scopes."""
    cli("key", "create", "--name", "boss", "--admin")
    assert gateway.asked[-1]["scopes"] == ["inference", "admin"]


def test_a_key_of_a_county(cli: Cli, gateway: FakeGateway) -> None:
    """--region binds it; what is a region the gateway knows."""
    cli("key", "create", "--name", "laptop", "--region", "SE-AB")
    assert gateway.asked[-1]["region"] == "SE-AB"


def test_keys_as_a_table(cli: Cli) -> None:
    """Golden: no secret in it."""
    assert cli("key", "list").stdout == (
        "id     name    scopes     created           last used  state\n"
        "key_1  laptop  inference  2026-11-23 15:00  never      active\n"
    )


def test_a_key_is_revoked(cli: Cli, gateway: FakeGateway) -> None:
    """By its id."""
    assert cli("key", "revoke", "key_1").stdout == "Key key_1 is revoked.\n"
    assert gateway.paths == ["DELETE /api/v1/keys/key_1"]


def test_a_members_id_is_alone_on_stdout(cli: Cli, gateway: FakeGateway) -> None:
    """It goes into --member of keys and tokens as it is."""
    made = cli("member", "create", "--name", "Anna")
    assert (made.stdout, made.stderr) == ("mbr_1\n", "The id of member Anna:\n")
    assert json.loads(cli("member", "create", "--name", "Anna", "--json").stdout)["id"] == "mbr_1"
    cli("key", "create", "--name", "laptop", "--member", "mbr_1")
    assert cli("node", "token", "--member", "mbr_1").stdout == "gaij_new\n"
    assert [asked.get("member") for asked in gateway.asked] == [None, None, "mbr_1", "mbr_1"]


def test_members_as_a_table(cli: Cli) -> None:
    """Golden."""
    assert cli("member", "list").stdout == ("id     name  created\nmbr_1  Anna  2026-11-23 15:00\n")
    assert json.loads(cli("member", "list", "--json").stdout)[0]["name"] == "Anna"


def test_usage_as_a_table(cli: Cli, gateway: FakeGateway) -> None:
    """Golden; what to add up by is passed on."""
    assert cli("usage", "--by", "node").stdout == (
        "node  requests  tokens in  tokens out\ntiny         3         30         400\n"
    )
    assert gateway.paths == ["GET /api/v1/usage?by=node&limit=0"]


@pytest.mark.parametrize("since", ["2026-11-23", "2026-11-23T15:00:00", "2026-11-23T15:00:00Z"])
def test_usage_since_what_its_help_names(cli: Cli, gateway: FakeGateway, since: str) -> None:
    """The gateway wants a zone; what has none is of this PC's own."""
    assert cli("usage", "--since", since).returncode == 0
    [asked] = gateway.paths
    [sent] = parse_qs(urlsplit(asked.split(" ")[1]).query)["since"]
    assert datetime.fromisoformat(sent) == datetime.fromisoformat(since).astimezone()
    assert datetime.fromisoformat(sent).tzinfo is not None


def test_nobody_there_ends_with_3(bare_cli: Cli) -> None:
    """No gateway is known, or it does not answer."""
    ended = bare_cli("models")
    assert ended.returncode == 3
    assert "gai up" in ended.stderr
    ended = bare_cli("models", "--gateway", "http://127.0.0.1:9", "--api-key", "k")
    assert ended.returncode == 3
    assert ended.stderr.startswith("gai: The gateway at http://127.0.0.1:9 cannot be reached")


def test_a_wrong_key_ends_with_4(cli: Cli) -> None:
    """Refused, in the gateway's words."""
    ended = cli("models", "--api-key", "gai_wrong")
    assert ended.returncode == 4
    assert ended.stderr.startswith("gai: The gateway refused: Wrong key.\n")


def test_no_key_ends_with_4(cli: Cli) -> None:
    """A URL without a key goes nowhere."""
    ended = cli("models", GAI_API_KEY="")
    assert ended.returncode == 4


def test_an_error_says_when_to_try_again(cli: Cli, gateway: FakeGateway) -> None:
    """Retry-After becomes a sentence."""
    gateway.refusal = (503, error("All nodes are busy.", "no_capacity"), {"Retry-After": "7"})
    ended = cli("chat", "Hi there")
    assert ended.returncode == 1
    assert ended.stderr == (
        "gai: The gateway answered with an error: All nodes are busy.\nTry again in 7 s.\n"
    )


def test_what_is_no_gateway(cli: Cli, gateway: FakeGateway) -> None:
    """Another program on the port is said to be one."""
    gateway.refusal = (200, {"hello": "world"}, {})
    ended = cli("models")
    assert ended.returncode == 1
    assert "no Garage AI gateway" in ended.stderr


def test_swedish(cli: Cli) -> None:
    """The owner's language, from the locale."""
    ended = cli("models", "--api-key", "x", LANG="sv_SE.UTF-8", PYTHONUTF8="1")
    assert ended.stderr.startswith("gai: Gatewayen nekade: Wrong key.\n")


def test_a_traceback_only_on_request(cli: Cli) -> None:
    """--debug shows where an error comes from; nothing else does."""
    assert "Traceback" not in cli("models", "--api-key", "x").stderr
    assert "Traceback" in cli("--debug", "models", "--api-key", "x").stderr


def test_nothing_but_text_off_a_terminal(cli: Cli) -> None:
    """No escape sequence reaches a pipe."""
    for args in (("models",), ("key", "list"), ("--help",), ("chat", "Hi there")):
        ended = cli(*args)
        assert "\x1b" not in ended.stdout + ended.stderr


def test_a_gateway_under_a_path(cli: Cli, gateway: FakeGateway) -> None:
    """Behind a proxy a gateway may live anywhere; /v1 at the end is nobody's mistake."""
    cli("models", "--gateway", f"{gateway.url}/our/gai/v1/")
    assert gateway.paths == ["GET /our/gai/v1/models"]
