"""Commands as processes, against a gateway that answers."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.cli.conftest import DIGEST, MODELS, Cli, FakeGateway, error


def test_what_a_key_may_not_do_is_told_with_who_may(cli: Cli, gateway: FakeGateway) -> None:
    """The key works, so looking at it would not help."""
    gateway.refusal = (403, error("This needs the scope admin.", "insufficient_scope"), {})
    ended = cli("member", "list")
    assert ended.returncode == 4
    assert ended.stderr.endswith("a key with that right: `gai key create --help`.\n")


def test_help_names_every_command(bare_cli: Cli) -> None:
    """What can be typed is found where a newcomer looks first."""
    ended = bare_cli("--help")
    assert ended.returncode == 0
    for command in [
        "up",
        "gateway",
        "node",
        "group",
        "key",
        "member",
        "models",
        "chat",
        "usage",
        "ledger",
        "db",
    ]:
        assert f"\n  {command} " in ended.stdout


@pytest.mark.parametrize(
    ("args", "option"),
    [
        (("me", "--api-key", "gai_anothers", "export", "-"), "--api-key"),
        (("models", "--json", "catalogue"), "--json"),
        (("usage", "--gateway", "http://127.0.0.1:1", "reconcile"), "--gateway"),
        (("litellm", "--no-restart", "list"), "--no-restart"),
    ],
)
def test_an_option_before_a_subcommand_is_not_dropped(
    cli: Cli, args: tuple[str, ...], option: str
) -> None:
    """It would be another person's export; what the environment says is still taken."""
    ended = cli(*args)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert option in ended.stderr.splitlines()[0]
    assert "--help` lists its own" in ended.stderr


@pytest.mark.parametrize("command", ["up", "gateway", "usage", "db check", "node status"])
def test_a_folder_of_nobody_is_no_fault_inside(bare_cli: Cli, command: str) -> None:
    """Every command reads a folder alike: `~NAME` is the home of a user, who may not be there."""
    ended = bare_cli(*command.split(), "--data-dir=~nobody-of-that-name/net")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no such user" in ended.stderr


@pytest.mark.parametrize("command", [["chat"], ["group", "join", "--listen", "192.168.1.20"]])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_is_piped_in_is_utf_8(cli: Cli, command: list[str], locale: str) -> None:
    """Another encoding is named, and nothing of it is sent."""
    ended = subprocess.run(
        cli.argv(*command),
        env=cli.environment | {"LC_ALL": locale},
        input="Hej på dig".encode("latin-1"),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert b"not text in UTF-8" in ended.stderr


@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_error(cli: Cli, closed: str) -> None:
    """Cron and some shells start programs so."""
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *cli.argv("models")]
    ended = subprocess.run(argv, env=cli.environment, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


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


def test_a_key_to_look_after_ones_own(cli: Cli, gateway: FakeGateway) -> None:
    """--own asks for the scope `member`, which an administrator may give to any member's key."""
    cli("key", "create", "--name", "export", "--member", "mbr_1", "--own")
    assert gateway.asked[-1]["scopes"] == ["inference", "member"]


def test_a_key_of_a_county(cli: Cli, gateway: FakeGateway) -> None:
    """--region binds it; what is a region the gateway knows."""
    cli("key", "create", "--name", "laptop", "--region", "SE-AB")
    assert gateway.asked[-1]["region"] == "SE-AB"


def test_keys_as_a_table(cli: Cli) -> None:
    """Golden: no secret in it."""
    assert cli("key", "list").stdout == (
        "id     name    scopes     created           last used  state   member\n"
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
    assert cli("member", "list").stdout == (
        "id     name  state   created\nmbr_1  Anna  active  2026-11-23 15:00\n"
    )
    assert json.loads(cli("member", "list", "--json").stdout)[0]["name"] == "Anna"


def test_nodes_with_their_own_word_and_what_was_seen(cli: Cli) -> None:
    """Both speeds stand beside each other; a name does nothing to the terminal."""
    shown = cli("node", "list")
    assert shown.returncode == 0, shown.stderr
    for text in ("nabc", "busy", "3/8", "90.0", "71.5", "0.25 s"):
        assert text in shown.stdout
    assert "\x1b" not in shown.stdout
    assert json.loads(cli("node", "list", "--json").stdout)[0]["models"][0]["measured_ttft"] == 0.25


def test_images_as_a_table(cli: Cli) -> None:
    """The whole digest, since it is what the next command takes."""
    shown = cli("image", "list").stdout
    assert DIGEST in shown
    assert "WAITS for approval" in shown


@pytest.mark.parametrize(("verb", "state"), [("approve", "approved"), ("revoke", "revoked")])
def test_an_image_is_decided_about(cli: Cli, gateway: FakeGateway, verb: str, state: str) -> None:
    """With a note or without."""
    assert f"{DIGEST} is {state}; 1 nodes" in cli("image", verb, DIGEST).stdout
    assert gateway.asked[-1] == {}
    told = json.loads(cli("image", verb, DIGEST, "--note", "b1234", "--json").stdout)
    assert told["state"] == state
    assert gateway.asked[-1] == {"note": "b1234"}
    assert gateway.paths[-1] == f"POST /api/v1/images/{DIGEST}/{verb}"


def test_prices_as_a_table(cli: Cli, gateway: FakeGateway) -> None:
    """In GAI for a million tokens; what nobody set is said to be derived."""
    assert cli("price", "list").stdout == (
        "model  prompt GAI/M  answer GAI/M  batch  from              by       note\n"
        "*              0.12          0.83  50 %   2026-11-23 15:00  derived\n"
        "tiny           0.12          0.83  50 %   2026-11-23 15:00  mbr_1    usual\n"
    )
    _, told = cli("price", "history", "tiny").stdout.splitlines()
    assert told.split()[:3] == ["tiny", "0.12", "0.83"]
    assert gateway.paths[-1] == "GET /api/v1/prices/history?model=tiny"
    assert json.loads(cli("price", "list", "--json").stdout)["coming"][0]["completion"] == "830000"


def test_a_price_is_set(cli: Cli, gateway: FakeGateway) -> None:
    """What was said in GAI for a million tokens goes out in whole nGAI for a thousand."""
    figures = ("--prompt", "0.12", "--completion", "0,83", "--batch", "62.5")
    said = cli("price", "set", "tiny", *figures, "--from", "2026-12-01T00:00:00+01:00").stdout
    assert "tiny has a new price from" in said
    assert gateway.asked[-1] == {
        "model": "tiny",
        "prompt": "120000",
        "completion": "830000",
        "effective_from": "2026-12-01T00:00:00+01:00",
        "batch_permille": 625,
    }


@pytest.mark.parametrize("percent", ["half", "101", "-1", "0.01", "nan"])
def test_no_part_is_wrong_use(cli: Cli, percent: str) -> None:
    """Batches pay none, all or something between."""
    figures = ("--prompt", "1", "--completion", "1", "--batch", percent)
    refused = cli("price", "set", "tiny", *figures)
    assert refused.returncode == 2
    assert "--batch" in refused.stderr


@pytest.mark.parametrize("amount", ["much", "0.0000001", "nan", "inf"])
def test_no_amount_is_wrong_use(cli: Cli, amount: str) -> None:
    """Nothing is rounded behind one's back."""
    refused = cli("price", "set", "tiny", "--prompt", amount, "--completion", "1")
    assert refused.returncode == 2
    assert "--prompt" in refused.stderr


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
    """Retry-After becomes a sentence, in hours where a budget is of a month."""
    gateway.refusal = (503, error("All nodes are busy.", "no_capacity"), {"Retry-After": "7"})
    ended = cli("chat", "Hi there")
    assert ended.returncode == 1
    assert ended.stderr == (
        "gai: The gateway answered with an error: All nodes are busy.\nTry again in 7 s.\n"
    )
    gateway.refusal = (429, error("Limit reached.", "budget_exceeded"), {"Retry-After": "90060"})
    assert cli("chat", "Hi there").stderr.endswith("\nTry again in 25 h 1 min.\n")


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


def test_a_forfeit_has_its_reason(cli: Cli, gateway: FakeGateway) -> None:
    """It is asked for; what was held back is told in GAI."""
    assert cli("node", "forfeit", "nabc").returncode == 2
    done = cli("node", "forfeit", "nabc", "--reason", "another model")
    assert done.returncode == 0, done.stderr
    assert gateway.asked == [{"reason": "another model"}]
    assert done.stdout.startswith("nabc: 1.500000000 GAI ")
    shown = cli("node", "forfeit", "nabc", "--reason", "x", "--idempotency-key", "k", "--json")
    assert json.loads(shown.stdout) == {"id": "nabc", "amount": "1500000000"}


def test_ctrl_c_while_it_loads_is_no_error() -> None:
    """Whoever changes his mind at once sees no trace of the program's insides."""
    code = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'garage_ai.cli.app':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from garage_ai.cli import main\n"
        "main()\n"
    )
    argv = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_full_disk_is_no_mistake_of_the_program(gateway: FakeGateway) -> None:
    """What the system refuses is told as such, without a call to report it."""
    argv = [sys.executable, "-P", "-m", "garage_ai.cli", "models"]
    argv += ["--gateway", gateway.url, "--api-key", "gai_right"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"No space left on device" in ended.stderr
    assert b"GAI_DEBUG" not in ended.stderr


def test_a_folder_that_cannot_be_is_named(bare_cli: Cli, tmp_path: Path) -> None:
    """A node that cannot be kept there says where."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "node"
    ended = bare_cli("node", "join", "http://127.0.0.1:9", "T", "--data-dir", str(folder))
    assert ended.returncode == 1
    assert ended.stderr == f"gai: {folder} cannot be used: Not a directory.\n"


def test_a_gateway_without_tls_is_not_told_as_one_that_is_away(
    cli: Cli, gateway: FakeGateway
) -> None:
    """It is there; the address begins with the wrong letters."""
    ended = cli("models", "--gateway", gateway.url.replace("http:", "https:"))
    assert ended.returncode == 3
    assert "There is no TLS at" in ended.stderr
    assert "_ssl.c" not in ended.stderr
