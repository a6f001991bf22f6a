"""`gai up` with its own node: from the first line to the last."""

import json
import shlex
import signal
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.parts.http_caller import Ending
from tests.parts.product import REAL, START, Product
from tests.parts.program import GAI, Program
from tests.parts.waiting import eventually

from garage_ai.local.tls import make_ca, make_leaf

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network that is started again and again."""
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def up(folder: Path) -> Iterator[Product]:
    """The network of that folder, running, with its real small model."""
    product = Product(folder)
    product.start()
    yield product
    product.stop()


def gai(product: Product, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run a `gai` command as the owner of the network."""
    return subprocess.run(
        [GAI, *args],
        env=product.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_curl_works_as_pasted(garage: Product) -> None:
    """A shell takes the line as it was printed, and a model answers."""
    line = garage.program.line("curl ")
    asked = subprocess.run(
        ["sh", "-c", f"{line} -sS"], capture_output=True, text=True, timeout=60, check=True
    )
    answer = json.loads(asked.stdout)
    assert answer["choices"][0]["message"]["content"]
    assert garage.key in shlex.split(line)[2]


def test_started_again_it_is_soon_ready(tmp_path: Path) -> None:
    """Keys, node and model are there already: `./start.sh` has only to bring them up."""
    product = Product(tmp_path, command=(START,))
    try:
        product.start()
        assert product.stop() == 0
        product.start()
    finally:
        product.stop()
    # Three to five seconds where two cores have nothing else to do; here other tests run beside it.
    assert product.ready_after < 20


def test_what_it_said(garage: Product) -> None:
    """Every step, and `ready` with the model at the end."""
    said = garage.program.output().splitlines()
    steps = [line.split(" (")[0] for line in said if line.startswith("  ok ")]
    assert steps == [
        "  ok keys and ports",
        "  ok NATS server",
        "  ok gateway",
        "  ok node, enrolled",
        "  ok model, loaded",
    ]
    assert said[-1].startswith(f"ready {REAL} answers after ")
    assert f"  URL       {garage.url}" in said
    assert f"  key       {garage.key}" in said
    assert not any("\x1b" in line for line in said)
    assert stat.S_IMODE((garage.data / "admin.key").stat().st_mode) == 0o600


def test_chat_models_and_usage_need_no_url_and_no_key(garage: Product) -> None:
    """The commands find the network; what was asked is in the books."""
    chat = gai(garage, "chat", "Say hello.", "--json", "--max-tokens", "60")
    answer = json.loads(chat.stdout)
    assert answer["content"]
    assert 0 < answer["completion_tokens"] <= 60
    assert REAL in gai(garage, "models").stdout
    for by in ("model", "key", "node", "day"):
        table = gai(garage, "usage", "--by", by, "--json")
        assert sum(each["requests"] for each in json.loads(table.stdout)) > 0


def test_its_own_node_is_found(garage: Product) -> None:
    """`gai node status` beside `gai up` means the node that it runs."""
    shown = json.loads(gai(garage, "node", "status", "--json").stdout)
    assert [shown["node"]] == [node["id"] for node in garage.nodes()]
    assert gai(garage, "node", "limits").returncode == 0


def test_an_answer_under_way_is_finished(up: Product) -> None:
    """SIGTERM in the middle of a stream: it ends with [DONE], then all goes, with exit 0."""
    with up.http.stream(REAL, "Tell a story.", max_tokens=150) as stream:
        stream.content()
        up.program.family()
        up.program.signal(signal.SIGTERM)
        ending: Ending = stream.rest()
    assert ending.done
    assert up.program.process.wait(30) == 0
    eventually("the end of all", lambda: not up.program.family())


def test_a_second_signal_ends_it_at_once(up: Product) -> None:
    """Asked again a moment later: no patience left, 130, and nothing keeps running."""
    with up.http.stream(REAL, "Tell a very long story.", max_tokens=4000) as stream:
        stream.content()
        up.program.family()
        up.program.signal(signal.SIGTERM)
        eventually("its last words", lambda: up.program.line("stopping"))
        eventually("its end", lambda: signalled_again(up.program) is not None, 20)
        assert up.program.ended == 130
        eventually("the end of all", lambda: not up.program.family())


def signalled_again(program: Program) -> int | None:
    """Ask once more for its end; give its exit status once it has one."""
    program.signal(signal.SIGTERM)
    return program.ended


def test_two_signals_at_once_are_one_wish(up: Product) -> None:
    """`timeout ./start.sh` signals its child and then the whole group: still exit 0."""
    up.program.family()
    up.program.signal(signal.SIGTERM)
    up.program.signal(signal.SIGTERM)
    assert up.program.process.wait(30) == 0
    eventually("the end of all", lambda: not up.program.family())


def test_the_next_start_on_other_ports_keeps_key_and_node(up: Product) -> None:
    """Everything is in its place, and its own node follows the network to another address."""
    before = (up.key, [node["id"] for node in up.nodes()])
    assert up.stop() == 0
    moved = Product(up.folder / "moved", data=up.data)
    moved.start()
    try:
        assert moved.port != up.port
        assert (moved.key, [node["id"] for node in moved.nodes()]) == before
        assert moved.http.chat(REAL, max_tokens=1).status == 200
    finally:
        assert moved.stop() == 0


def test_its_own_node_comes_back_after_its_removal(up: Product) -> None:
    """Removed by the owner, it enrols anew under another id."""
    [node] = up.nodes()
    assert up.http.ask("DELETE", f"/api/v1/nodes/{node['id']}", None).status == 200

    def others() -> list[str]:
        ready = [each["id"] for each in up.nodes() if each["state"] == "ready"]
        return [each for each in ready if each != node["id"]]

    assert len(eventually("another node", others, 60)) == 1
    up.serves()


def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    """Gateway, NATS and node meet over TLS under the certificate's name; no CA has to be pinned."""
    ca, ca_key = make_ca(datetime.now(UTC))
    cert, key = make_leaf(ca, ca_key, "localhost", datetime.now(UTC))
    for name, text in {"ca.pem": ca, "cert.pem": cert, "key.pem": key}.items():
        (tmp_path / name).write_text(text)
    files = ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    given = ("--public", "localhost", "--host", "127.0.0.1", *files)
    trusting = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    product = Product(tmp_path, *given, environment=trusting)
    product.start()
    try:
        assert product.url == f"https://localhost:{product.port}"
        assert "--cacert" not in product.program.line("curl")
        assert REAL in gai(product, "models").stdout
        assert "." not in gai(product, "node", "token").stdout
        asked = gai(product, "chat", "Say hello.", "--json", "--max-tokens", "20")
        assert json.loads(asked.stdout)["completion_tokens"] > 0
    finally:
        assert product.stop() == 0
    untrusting = Product(tmp_path / "other", *given)
    with pytest.raises(AssertionError, match=r"this machine does not trust .*cert\.pem"):
        untrusting.start()


def test_a_change_of_mind_while_the_model_loads(tmp_path: Path) -> None:
    """It is gone as promptly, and leaves no process."""
    product = Product(tmp_path)
    argv: list[str | Path] = [
        GAI,
        "up",
        "--port",
        "0",
        "--nats-port",
        "0",
        "--data-dir",
        product.data,
    ]
    program = Program("gai-up", argv, tmp_path, product.environment)
    eventually("the node's step", lambda: program.line("  ok node"), 60)
    program.family()
    program.signal(signal.SIGTERM)
    assert program.process.wait(30) == 0
    eventually("the end of all", lambda: not program.family())
