"""`gai up --no-node` as a process: NATS and gateway brought up, kept and taken down."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts.product import Part, Product
from tests.parts.program import GAI, Program
from tests.parts.waiting import eventually

from garage_ai.local.folders import Folders
from garage_ai.local.processes import read_up, write_child

pytestmark = pytest.mark.slow

EVERYWHERE = "0.0.0.0"  # noqa: S104 - that is what is tried
MakeProduct = Callable[..., Product]

FAMILY = 4
"""Of a network without nodes: supervisor, NATS server, gateway, and the process that counts."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeProduct]:
    """Make networks without a node, ended with the test."""
    made: list[Product] = []

    def product(*options: str, **environment: str) -> Product:
        home = tmp_path / f"home-{len(made)}"
        made.append(
            Product(home, "--no-node", *options, environment=environment, data=tmp_path / "data")
        )
        return made[-1]

    yield product
    for each in made:
        each.stop()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A network without a node that is only looked at."""
    product = Product(tmp_path_factory.mktemp("network"), "--no-node")
    product.start()
    yield product
    assert product.stop() == 0


def run(product: Product, *args: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a `gai` command as the owner of a network."""
    return subprocess.run(
        [GAI, *args],
        env=product.environment | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start_again(product: Product, **more: str) -> "subprocess.CompletedProcess[str]":
    """Start a network with the folder and ports of another, and let it fail."""
    argv = ["up", "--port", str(product.port), "--nats-port", str(product.nats_port)]
    return run(product, *argv, "--data-dir", str(product.data), *product.options, **more)


def free_ports(product: Product) -> list[str | Path]:
    """Give a command that lets the system choose."""
    return [GAI, "up", "--data-dir", product.data, "--port", "0", "--nats-port", "0", "--no-node"]


def test_what_it_says(network: Product) -> None:
    """Golden, off a terminal: plain lines, URL, key, a curl, and `ready` last."""
    said = re.sub(r"\d+\.\d s", "N s", network.program.output())
    said = said.replace(network.key, "KEY").replace(str(network.data), "DIR")
    assert said == (
        "Garage AI starts in DIR\n"
        "  ok keys and ports (N s)\n"
        "  ok NATS server (N s)\n"
        "  ok gateway (N s)\n"
        "\n"
        f"  URL       {network.url}\n"
        f"  base URL  {network.url}/v1\n"
        "  key       KEY\n"
        "\n"
        "try it:\n"
        f"curl -H 'Authorization: Bearer KEY' {network.url}/v1/models\n"
        "\n"
        "ready for nodes after N s: `gai node token`; Ctrl-C stops everything\n"
    )


def test_what_it_keeps_is_its_owners_alone(network: Product) -> None:
    """The folder and the admin key are closed to others."""
    assert stat.S_IMODE(network.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((network.data / "admin.key").stat().st_mode) == 0o600
    assert (network.data / "admin.key").read_text() == f"{network.key}\n"


def test_commands_need_neither_url_nor_key(network: Product) -> None:
    """With a folder of the owner's choice too."""
    made = run(network, "key", "create", "--name", "laptop")
    assert made.stdout.startswith("gai_")
    listed = run(network, "key", "list")
    assert "laptop" in listed.stdout
    assert "admin" in listed.stdout
    assert run(network, "models", "--api-key", made.stdout.strip()).returncode == 0
    assert run(network, "usage", "--api-key", made.stdout.strip()).returncode == 4


@pytest.mark.parametrize("by", ["model", "key", "node", "day"])
def test_usage_of_a_network_without_use(network: Product, by: str) -> None:
    """Every grouping is one that the gateway knows."""
    ended = run(network, "usage", "--by", by)
    assert (ended.returncode, ended.stderr) == (0, "Nothing has been used yet.\n")


def test_a_second_one_in_the_same_folder_is_told(network: Product) -> None:
    """Process and URL of the one that runs; the one that runs is not disturbed."""
    ended = start_again(network)
    assert ended.returncode == 1
    first = ended.stderr.splitlines()[0]
    assert f"process {network.program.pid}, {network.url}" in first
    assert network.http.get("/v1/models").status == 200


def test_a_second_one_is_told_in_swedish(network: Product) -> None:
    """The owner's language."""
    ended = start_again(network, LC_ALL="sv_SE.UTF-8", PYTHONUTF8="1")
    assert ended.stderr.startswith("gai: Garage AI körs redan från ")


@pytest.mark.parametrize(
    ("offset", "option"), [(0, "--port"), (1, "--nats-port"), (2, "--nats-port")]
)
def test_a_stranger_on_a_port_is_named(make: MakeProduct, offset: int, option: str) -> None:
    """Who it is, and which option goes another way; the stranger is left alone."""
    product = make()
    with socket.create_server(("127.0.0.1", product.port + offset)) as stranger:
        ended = start_again(product)
        assert ended.returncode == 1
        assert f"Port {product.port + offset} is taken by " in ended.stderr
        assert f"(process {os.getpid()})" in ended.stderr
        assert option in ended.stderr
        assert stranger.fileno() >= 0
    assert not Folders(product.data).up_record.exists()


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_when_asked(make: MakeProduct, what: signal.Signals) -> None:
    """Idle: exit 0, promptly, and nothing of it is left."""
    product = make()
    product.start()
    eventually("all of it", lambda: len(product.program.family()) == FAMILY)
    product.program.signal(what)
    assert product.program.process.wait(30) == 0
    assert product.program.family() == []
    assert product.program.output().endswith("\nstopped\n")
    assert not Folders(product.data).up_record.exists()


def test_it_leaves_in_the_middle_of_its_start(make: MakeProduct, tmp_path: Path) -> None:
    """A change of mind is not waited out."""
    product = make()
    program = Program("early", free_ports(product), tmp_path, product.environment)
    eventually("a first step", lambda: program.line("  ok keys"))
    program.signal(signal.SIGTERM)
    assert program.process.wait(30) == 0
    assert program.family() == []


def test_kill_9_leaves_nothing_running(make: MakeProduct) -> None:
    """The kernel ends the children, within two seconds."""
    product = make()
    product.start()
    eventually("all of it", lambda: len(product.program.family()) == FAMILY)
    product.kill("supervisor")
    eventually("the end of all", lambda: not product.program.family())


@pytest.mark.parametrize("part", ["nats", "gateway"])
def test_kill_9_of_a_child_heals(make: MakeProduct, part: Part) -> None:
    """It is started again, said so, and the network answers."""
    product = make()
    product.start()
    before = product.kill(part)
    product.again(part, before)
    name = "NATS server" if part == "nats" else "gateway"
    eventually("a word of it", lambda: product.program.line(f"{name} is back"), 60)
    assert product.http.get("/v1/models").status == 200
    assert f"{name} ended (signal 9)" in product.program.output()


def test_a_leftover_is_replaced(make: MakeProduct) -> None:
    """A child that outlived its `gai up` is ended before the new one starts."""
    product = make()
    folders = Folders(product.data)
    folders.run.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as orphan:
        write_child(folders.run, "gateway", orphan.pid)
        product.start()
        assert orphan.wait(30) == -signal.SIGTERM
    assert "ended what an earlier start had left: gateway" in product.program.output()


def test_a_part_that_cannot_start_is_said(make: MakeProduct) -> None:
    """Its last words and its log; exit 1, and nothing is left running."""
    product = make()
    (product.data / "garage.db").mkdir(parents=True)
    ended = start_again(product)
    assert ended.returncode == 1
    assert "The gateway does not start (exit code 1); its last words:" in ended.stderr
    assert f"The whole log: {product.data}/logs/gateway.log" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_free_ports_of_the_systems_choice(make: MakeProduct, tmp_path: Path) -> None:
    """Port 0 works, and the commands find it."""
    product = make()
    program = Program("free", free_ports(product), tmp_path, product.environment)
    try:
        eventually("ready", lambda: program.line("ready"), 40)
        assert run(product, "key", "list").returncode == 0
        record = read_up(Folders(product.data).up_record)
        assert record is not None
        assert record.port > 0
    finally:
        assert program.stop() == 0


def test_beyond_loopback_without_tls_is_refused(make: MakeProduct) -> None:
    """Wrong use, with the two ways out."""
    product = make("--host", EVERYWHERE)
    ended = start_again(product)
    assert ended.returncode == 2
    assert "--public HOST" in ended.stderr
    assert "--insecure" in ended.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--public", "a.example", "--insecure"),
        ("--cert", "x.pem", "--key", "x.key"),
        ("--public", "a.example", "--cert", "x.pem"),
        ("--nats-port", "65535"),
        ("--port", "4223", "--nats-port", "4222"),
    ],
)
def test_options_that_contradict_each_other(make: MakeProduct, options: tuple[str, ...]) -> None:
    """Wrong use, before anything is touched."""
    product = make()
    ended = run(product, "up", "--data-dir", str(product.data), *options)
    assert ended.returncode == 2
    assert not product.data.exists()


def test_a_certificate_that_is_not_there(make: MakeProduct) -> None:
    """One sentence, no traceback."""
    product = make("--public", "localhost", "--cert", "/nonexistent.pem", "--key", "/nonexistent")
    ended = start_again(product)
    assert ended.returncode == 1
    assert "/nonexistent.pem" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_public_speaks_tls_everywhere(make: MakeProduct) -> None:
    """HTTPS with an own CA that the commands trust; tokens carry its fingerprint."""
    product = make("--public", "localhost", "--host", "127.0.0.1")
    product.start()
    assert product.url == f"https://localhost:{product.port}"
    assert product.http.get("/health/live").status == 200
    assert run(product, "key", "list").returncode == 0
    token = run(product, "node", "token").stdout.strip()
    assert re.fullmatch(r"gaij_\w+\.[0-9a-f]{64}", token)
    with socket.create_connection(("127.0.0.1", product.nats_port), timeout=20) as plain:
        assert b'"tls_required":true' in plain.recv(4096)
    assert "--cacert" in product.program.line("curl")


def test_the_own_node_needs_no_way_back_from_outside(tmp_path: Path) -> None:
    """A home router need not have one, nor a new name be known here: it dials this machine."""
    product = Product(tmp_path, "--public", "unknown.invalid")
    product.start()
    try:
        assert product.url == f"https://unknown.invalid:{product.port}"
        said = product.gai("node", "status", "--data-dir", str(product.data / "local-node"))
        assert said["gateway"] == f"https://127.0.0.1:{product.port}"
        assert said["link"]["url"] == f"tls://127.0.0.1:{product.nats_port}"
    finally:
        assert product.stop() == 0


def test_insecure_goes_without(make: MakeProduct) -> None:
    """Said aloud, other machines are let in without TLS."""
    product = make("--host", EVERYWHERE, "--insecure")
    product.start()
    assert product.url.startswith("http://")
    with socket.create_connection(("127.0.0.2", product.port), timeout=20):
        pass
