"""A real vLLM on the CPU, lent to a network by a volunteer who typed one command."""

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.parts.http_caller import chat_body
from tests.parts.product import Product
from tests.parts.program import GAI, Program, at_home
from tests.parts.real_vllm import NAME, RealVllm, real_vllm
from tests.parts.waiting import eventually

from garage_ai.node.control import ask_agent
from garage_ai.node.engines.vllm_options import MARK
from garage_ai.node.status import Status

# A clean machine installs vLLM first.
pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(900)]

LOAD_SECONDS = 400.0
SECRET = "MARKER-OF-A-PROMPT"
# Whole blocks of a prompt are kept, and on a CPU one has 128 tokens.
LONG = "Once upon a time there was a garage in the north. " * 20

ENDS = ("0", "2")  # the small model's tokens that end an answer


class Lender:
    """A PC with vLLM that joins a network."""

    def __init__(self, folder: Path, product: Product, vllm: RealVllm) -> None:
        self.data = folder / "node"
        argv: list[str | Path] = [
            GAI,
            "node",
            "join",
            product.url,
            product.token(bare_allowed=True),
        ]
        argv += ["--engine", "vllm", "--sandbox", "none"]
        argv += ["--vllm-python", vllm.python, "--model", vllm.model]
        argv += ["--slots", "4", "--context", "2048", "--kv-cache-gib", "1"]
        argv += ["--data-dir", self.data]
        self.program = Program("lender", argv, folder, at_home(folder))

    @property
    def status(self) -> Status:
        """What `gai node status` shows."""
        return ask_agent(self.data / "run", "status")

    @property
    def log(self) -> str:
        """What vLLM said."""
        return (self.data / "logs" / "engine.log").read_text("utf-8", "replace")

    def processes(self) -> list[psutil.Process]:
        """All processes of the engine, by the mark that they inherit."""
        mark = f"{MARK}={self.data / 'run'}".encode()
        return [each for each in psutil.process_iter() if mark in _environment(each.pid)]

    def metric(self, name: str) -> float:
        """Ask vLLM itself, past the agent."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            with _within(self.data / "run"):
                link.connect("engine.sock")
            connection = http.client.HTTPConnection("engine")
            connection.sock = link
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


class _within:  # noqa: N801 - reads as a verb
    """Stand in a folder, because the address of a socket has room for 107 bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._before = folder, Path.cwd()

    def __enter__(self) -> None:
        os.chdir(self._folder)

    def __exit__(self, *_: object) -> None:
        os.chdir(self._before)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A network without nodes."""
    product = Product(tmp_path / "network", "--no-node")
    product.start()
    yield product
    assert product.stop() == 0


@pytest.fixture
def lender(tmp_path: Path, product: Product) -> Iterator[Lender]:
    """A volunteer who has just typed the command."""
    home = tmp_path / "lender"
    home.mkdir()
    lender = Lender(home, product, real_vllm())
    yield lender
    lender.program.end_all()
    eventually("the end of vLLM", lambda: not lender.processes(), 20)


def test_lends_a_real_vllm(product: Product, lender: Lender) -> None:
    """Loading is told, answers come whole and streamed, a cancel frees the slot, kill -9 all."""
    _loading_is_told(product, lender)
    try:
        eventually("a model", lambda: lender.program.line("serving "), LOAD_SECONDS)
        product.serves(NAME)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{lender.program.tail()}\n{lender.log[-3000:]}") from None
    _answers(product)
    _a_cancel_frees_the_slot(product, lender)
    _a_member_finds_his_own_prefix(product, lender)
    _no_prompt_is_in_a_log(product, lender)
    _nothing_outlives_the_agent(lender)


def _loading_is_told(product: Product, lender: Lender) -> None:
    """The owner sees how far it is; a client is told to come back."""
    eventually("a stage", lambda: lender.program.line("not serving yet: starting"), 120)
    eventually("model_loading", lambda: _code(product) == "model_loading", 30)
    answer = product.http.chat(NAME, max_tokens=1)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 5


def _code(product: Product) -> str:
    answer = product.http.chat(NAME, max_tokens=1)
    return answer.code if answer.status != 200 else "served"


def _answers(product: Product) -> None:
    """The same words whole and streamed, with the same count of tokens."""
    whole = product.http.chat(NAME, SECRET, max_tokens=16, temperature=0)
    assert whole.status == 200, whole.body
    assert whole.text
    assert whole.headers["x-gai-trust"] == "unsandboxed"
    options = {"include_usage": True}
    with product.http.stream(
        NAME, SECRET, max_tokens=16, temperature=0, stream_options=options
    ) as stream:
        ending = stream.rest()
    assert ending.text == whole.text
    assert ending.done
    too_much = product.http.chat(NAME, SECRET, max_tokens=100_000)
    assert (too_much.status, too_much.code) == (400, "engine_rejected")
    too_long = product.http.chat(NAME, SECRET * 1000)
    assert (too_long.status, too_long.code) == (400, "context_length_exceeded")


def _a_cancel_frees_the_slot(product: Product, lender: Lender) -> None:
    """What vLLM itself says is at work comes and goes with the client."""
    endless: dict[str, Any] = {"max_tokens": 1900, "logit_bias": dict.fromkeys(ENDS, -100)}
    with product.http.stream(NAME, "Count.", **endless) as stream:
        stream.content()
        eventually("a request at work", lambda: lender.metric("vllm:num_requests_running{") == 1)
        eventually("the owner sees it", lambda: lender.status.engine.running == 1, 20)
    eventually("a free slot", lambda: lender.metric("vllm:num_requests_running{") == 0)
    body = chat_body(NAME, "Count.", **endless)
    with pytest.raises(TimeoutError):
        product.http.ask("POST", "/v1/chat/completions", body, timeout=2)
    eventually("a free slot", lambda: lender.metric("vllm:num_requests_running{") == 0)
    assert lender.status.totals.cancelled == 2


def _a_member_finds_his_own_prefix(product: Product, lender: Lender) -> None:
    """Two requests of one member share a prefix in vLLM's cache: the salt stays the same."""
    before = lender.metric("vllm:prefix_cache_hits_total{")
    for question in ("Where?", "When?"):
        assert product.http.chat(NAME, LONG + question, max_tokens=1).status == 200
    assert lender.metric("vllm:prefix_cache_hits_total{") >= before + 128


def _no_prompt_is_in_a_log(product: Product, lender: Lender) -> None:
    """Neither of requests that went well nor of refused ones, nor a schema of theirs."""
    for kind in ("string", "no-such-type"):
        schema = {"type": "object", "properties": {SECRET: {"type": kind, "pattern": "(" + SECRET}}}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        product.http.chat(NAME, SECRET, response_format=wanted, max_tokens=4)
    said = lender.log + lender.program.output() + product.story()
    assert "Application startup complete" in said
    assert SECRET not in said
    assert "garage in the north" not in said


def _nothing_outlives_the_agent(lender: Lender) -> None:
    """Server, engine core and worker are gone soon after kill -9."""
    assert len(lender.processes()) >= 3
    os.kill(lender.status.pid, signal.SIGKILL)
    eventually("the end of vLLM", lambda: not lender.processes())
