"""The real LiteLLM in front of a real gateway: both keep the same account of every call.

Without LiteLLM's database. With it (virtual keys, teams, budgets) nothing was run: Prisma's engine
could not be had; what its hooks are given then is tested on payloads made after LiteLLM's types.
"""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import Product
from tests.parts.program import GAI
from tests.parts.real_litellm import LiteLlm
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ASK: Any = [{"role": "user", "content": "Say hello."}]


class Pair:
    """A network with a mock engine, and LiteLLM in front of it."""

    def __init__(self, lent: Lent, litellm: LiteLlm) -> None:
        self.lent, self.litellm = lent, litellm

    def settled(self, calls: int) -> dict[str, int]:
        """Wait until so many calls are compared without a difference, and give how."""
        found: list[Any] = []

        def whole() -> dict[str, int]:
            status, counts, differences = self.litellm.reconcile()
            found[:] = [status, counts, differences]
            return counts if sum(counts.values()) == calls and status == 0 else {}

        try:
            return eventually("both accounts", whole, 90)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(found, indent=1)}") from None

    def named_call(self, client: openai.OpenAI) -> str:
        """Chat, and give LiteLLM's id of the call."""
        asked = client.chat.completions.with_raw_response
        answer = asked.create(model=MODEL, messages=ASK, max_tokens=3)
        return str(answer.headers["x-litellm-call-id"])

    def charged(self, call: str) -> int:
        """Tell what the gateway charged for a call; 0 before its record is there."""
        records = [each for each in self.lent.product.records() if each["caller_id"] == call]
        return sum(int(each["charge"]) for each in records)

    def passed_on(self, member: str, call: str) -> list[int]:
        """Give what the books took from a member for a call."""
        account = f"member:{member}"
        page = self.gai("ledger", "statement", account, "--limit", "1000")
        return [
            int(each["amount"])
            for each in page["transfers"]
            if (each["kind"], each["debit"]) == ("passed_on", account)
            and each["id"] == f"litellm:{call}"
        ]

    def gai(self, *arguments: str) -> Any:
        """Run a command as the network's owner, and give what it printed."""
        return self.lent.product.gai(*arguments, "--data-dir", str(self.lent.product.data))

    @property
    def calls(self) -> int:
        """How many calls LiteLLM and the gateway know of now."""
        return sum(self.litellm.reconcile()[1].values())


def make_pair(folder: Path, stack: ExitStack) -> Pair:
    """Make one of each; LiteLLM takes a quarter of a minute to start."""
    product = Product(folder, "--no-node")
    stack.callback(product.stop)
    product.start()
    lent = lend(product, folder, stack, slots=32)
    litellm = LiteLlm(product, folder / "proxy")
    stack.callback(litellm.stop)
    litellm.start()
    return Pair(lent, litellm)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair for all tests that do its processes no harm."""
    with ExitStack() as stack:
        yield make_pair(tmp_path_factory.mktemp("litellm"), stack)


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Pair]:
    """A pair of this test alone, to be hurt."""
    with ExitStack() as stack:
        yield make_pair(tmp_path, stack)


@pytest.fixture
def own(pair: Pair) -> Pair:
    """The pair with an engine that does well, and nothing untold."""
    pair.lent.engine.reset()
    eventually("what is untold", lambda: not pair.litellm.spooled(), 20)
    return pair


@pytest.fixture
def client(own: Pair) -> Iterator[openai.OpenAI]:
    """The official client at LiteLLM."""
    with own.litellm.client() as made:
        yield made


def alike(counts: dict[str, int]) -> int:
    """Count whole answers on which both agree, also where the gateway counted by itself."""
    return counts.get("equal", 0) + counts.get("recounted", 0)


def chat(client: openai.OpenAI, times: int = 1) -> None:
    """Chat, plainly."""
    for _ in range(times):
        client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=3)


def leave(client: openai.OpenAI, **asked: Any) -> None:
    """Leave a stream after its first words."""
    with client.chat.completions.create(model=MODEL, messages=ASK, stream=True, **asked) as stream:
        for number, _ in enumerate(stream):
            if number == 5:
                return


def leave_at_work(pair: Pair, *, stream: bool) -> None:
    """Leave while the engine works and has said nothing yet."""
    eventually("an idle engine", pair.lent.engine.is_idle, 20)
    body = json.dumps({"model": MODEL, "messages": ASK, "stream": stream})
    headers = {"authorization": f"Bearer {pair.litellm.key}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", pair.litellm.port)) as connection:
        connection.request("POST", "/v1/chat/completions", body, headers)
        eventually("an engine at work", lambda: pair.lent.engine.state()["running"], 30)
    eventually("an engine that stopped", pair.lent.engine.is_idle, 20)


def test_every_kind_of_call_is_in_both_accounts(own: Pair, client: openai.OpenAI) -> None:
    """Chat, stream, tools, completions, embeddings; errors of either side; clients that left."""
    engine = own.lent.engine
    before = own.calls
    chat = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5)
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 5
    streamed = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=7, stream=True, stream_options={"include_usage": True}
    )
    assert [each.usage.completion_tokens for each in streamed if each.usage] == [7]
    tool: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    client.chat.completions.create(model=MODEL, messages=ASK, tools=[tool], max_tokens=3)
    assert json.loads(engine.last()["body"])["tools"][0]["function"]["name"] == "now"
    client.completions.create(model=MODEL, prompt="Hello", max_tokens=3)
    assert len(client.embeddings.create(model=MODEL, input="Hello").data) == 1
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="nonesuch", messages=ASK)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=ASK, temperature=99)
    engine.set(fail_every=1)
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=MODEL, messages=ASK)
    # Slow: the words that it says before LiteLLM hears of the leaving are within the tolerance.
    engine.set(fail_every=0, chunk_delay=0.1, chunks=500)
    leave(client)
    engine.set(chunk_delay=0.0, first_byte_delay=30.0)
    for stream in (True, False):
        leave_at_work(own, stream=stream)
    engine.set(first_byte_delay=0.0, chunk_delay=0.01, cut_after=5)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))
    counts = own.settled(before + 12)
    assert alike(counts) >= 5


def test_a_mapped_call_is_passed_on(own: Pair, client: openai.OpenAI) -> None:
    """Who is mapped pays the proxy what the gateway charged it, once; unmapped it pays no more."""
    anna = own.gai("member", "create", "--name", "Anna")["id"]
    # Also the calls of the tests before, which nobody was mapped to.
    own.gai("ledger", "adjust", f"member:{anna}", "100", "--reason", "gift")
    mapping = ("user", "default_user_id")
    assert own.gai("litellm", "map", *mapping, anna)["member"] == anna
    call = own.named_call(client)
    charge = eventually("its charge", lambda: own.charged(call))
    assert eventually("what was passed on", lambda: own.passed_on(anna, call), 20) == [charge]
    own.gai("litellm", "unmap", *mapping)
    before = own.calls
    alone = own.named_call(client)
    assert eventually("its charge", lambda: own.charged(alone)) > 0
    own.settled(before + 1)
    assert (own.passed_on(anna, call), own.passed_on(anna, alone)) == ([charge], [])
    assert own.gai("ledger", "verify")["sound"] is True


def test_a_client_that_names_its_calls_alike_hides_none(own: Pair, client: openai.OpenAI) -> None:
    """LiteLLM takes a client's id for the call's; each is in both accounts under one of its own."""
    before = own.calls
    named = client.with_options(default_headers={"x-litellm-call-id": "mine"})
    chat(named, 2)
    leave(named)
    own.settled(before + 3)
    assert "mine" not in {each["caller_id"] for each in own.lent.product.records()}


def test_litellms_id_is_the_gateways_name_of_the_request(own: Pair, client: openai.OpenAI) -> None:
    """The records of both sides meet by it, also where LiteLLM never learns the gateway's id."""
    asked = client.completions.with_raw_response
    answer = asked.create(model=MODEL, prompt="Hello", max_tokens=3)
    call = answer.headers["x-litellm-call-id"]

    def named() -> bool:
        return call in {each["caller_id"] for each in own.lent.product.records()}

    eventually("the record", named)


def test_the_proxy_has_a_key_of_its_own(own: Pair) -> None:
    """The operator's key is not in LiteLLM's hands; files with keys are their owner's alone."""
    key = own.litellm.proxy_key
    assert key != own.lent.product.key
    answer = own.lent.http.with_key(key).get("/api/v1/keys")
    assert answer.code == "insufficient_scope"
    for name in ("master.key", "gateway.key"):
        assert (own.litellm.home / name).stat().st_mode & 0o077 == 0
    assert own.litellm.key.startswith("sk-")
    assert own.litellm.key not in own.litellm.output


def test_the_configuration_serves_what_the_gateway_serves(own: Pair, client: openai.OpenAI) -> None:
    """Every model, as `openai/NAME`."""
    models = {model.id for model in client.models.list()}
    assert models == {model["id"] for model in own.lent.http.get("/v1/models").json()["data"]}
    text = (own.litellm.home / "config.yaml").read_text()
    assert f'model: "openai/{MODEL}"' in text
    assert "hosted_vllm" not in text


def test_no_restart_of_either_side_loses_a_call(fragile: Pair) -> None:
    """The gateway stops in the middle, then LiteLLM is killed in it, then it stops as it should.

    What LiteLLM had logged is told by the next one, and what it was in is told as lost.
    """
    litellm, product, engine = fragile.litellm, fragile.lent.product, fragile.lent.engine
    with litellm.client() as client:
        chat(client, 5)
        product.stop()
        for _ in range(3):
            with pytest.raises(openai.APIError):
                chat(client)
        product.start()
        fragile.lent.node.serving(40)
        chat(client, 5)
        assert fragile.settled(13)["unserved"] == 3

        engine.set(chunk_delay=0.05, chunks=1000)
        with client.chat.completions.create(model=MODEL, messages=ASK, stream=True) as stream:
            next(iter(stream))
            litellm.kill()
        engine.reset()
        litellm.start()
        chat(client)
        counts = fragile.settled(15)
        assert (alike(counts), counts["unknown_end"]) == (11, 1)

        chat(client)
        assert litellm.stop() == 0
        assert re.search(r"^(stopped|stoppat)$", litellm.output, re.MULTILINE)
        assert alike(fragile.settled(16)) == 12
        assert list((litellm.home / "spool").glob("p*")) == []


def test_a_path_is_written_for_people_who_run_their_own(own: Pair, tmp_path: Path) -> None:
    """Configuration and callback, and nothing secret in them."""
    done = subprocess.run(
        [GAI, "litellm", "config", "--output", tmp_path],
        env=own.lent.product.environment | {"GAI_DATA_DIR": str(own.lent.product.data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "garage_ai_litellm.py"}
    assert own.lent.product.key not in (tmp_path / "config.yaml").read_text()
