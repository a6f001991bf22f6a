"""Batches of the official client: at the real small model, a mock engine, and through LiteLLM."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bench.mock_answers import text_of
from openai.types import Completion, CreateEmbeddingResponse
from tests.parts.batch_client import (
    COMPLETIONS,
    EMBEDDINGS,
    ended,
    line,
    lines_of,
    request,
    submit,
)
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import REAL, Product
from tests.parts.program import GAI, Program
from tests.parts.real_litellm import LiteLlm
from tests.parts.waiting import eventually

pytestmark = pytest.mark.slow


def test_requests_and_their_answers(garage: Product) -> None:
    """Two are answered by a real model, one is not, and all of it is where OpenAI has it."""
    with garage.client() as client:
        two = [request("one", REAL), request("two", REAL, temperature=0)]
        message = {"role": "user", "content": "too long for its context " * 3000}
        batch = submit(
            client, *two, request("long", REAL, messages=[message]), metadata={"for": "x"}
        )
        assert batch.status == "validating"
        found = ended(client, batch.id)
        assert found.status == "completed", found.errors
        counts = found.request_counts
        assert counts is not None
        assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
        assert found.metadata == {"for": "x"}
        assert found.usage is not None
        assert found.usage.output_tokens > 0
        answers = lines_of(client, found.output_file_id)
        assert answers.keys() == {"one", "two"}
        for answer in answers.values():
            assert answer["response"]["status_code"] == 200
            assert answer["response"]["body"]["choices"][0]["message"]["content"]
        errors = lines_of(client, found.error_file_id)
        assert errors.keys() == {"long"}
        assert found.id in [each.id for each in client.batches.list(limit=5)]


def test_a_file_with_a_fault(garage: Product) -> None:
    """Nothing of it begins; the fault has its line and its code."""
    with garage.client() as client:
        found = ended(client, submit(client, request("a", REAL), {"custom_id": "b"}).id)
        assert found.status == "failed"
        assert found.errors is not None
        [fault] = found.errors.data or []
        assert (fault.line, fault.code) == (2, "invalid_request")
        assert found.output_file_id is None


def test_a_batch_that_is_cancelled(garage: Product) -> None:
    """Each request has its line: an answer, or that it was cancelled."""
    with garage.client() as client:
        many = [request(f"r{number}", REAL, max_tokens=60) for number in range(60)]
        batch = submit(client, *many)

        def runs() -> bool:
            return client.batches.retrieve(batch.id).status == "in_progress"

        eventually("a batch that runs", runs, 30)
        assert client.batches.cancel(batch.id).status == "cancelling"
        found = ended(client, batch.id)
        assert found.status == "cancelled"
        errors = lines_of(client, found.error_file_id)
        answers = lines_of(client, found.output_file_id) if found.output_file_id else {}
        assert len(errors) + len(answers) == 60
        assert "batch_cancelled" in {(each["error"] or {}).get("code") for each in errors.values()}


def test_a_table_from_the_command_line(garage: Product, tmp_path: Path) -> None:
    """Submitted, waited for and read with `gai batch`."""
    table = tmp_path / "words.csv"
    table.write_text("id;word\n1;hello\n2;goodbye\n", "utf-8")
    where = ("--data-dir", str(garage.data))
    words = ("--template", "Say {word}.", "--max-tokens", "8")
    done = garage.gai("batch", "submit", str(table), *words, "--wait", *where)
    assert done["status"] == "completed"
    argv: list[str | Path] = [GAI, "batch", "results", done["id"], *where]
    program = Program("results", argv, tmp_path, garage.environment)
    assert program.process.wait(30) == 0
    lines = [json.loads(line) for line in program.output().splitlines()]
    assert [each["custom_id"] for each in lines] == ["1", "2"]
    assert garage.gai("batch", "list", "--limit", "1", *where)[0]["id"] == done["id"]


def test_completions(lent: Lent) -> None:
    """Each is the whole object that the endpoint itself would have answered."""
    with lent.product.client() as client:
        asked = [line(f"r{n}", COMPLETIONS, MODEL, prompt="Go on:", max_tokens=n) for n in (1, 5)]
        found = ended(client, submit(client, *asked, endpoint=COMPLETIONS).id)
        assert found.status == "completed", found.errors
        assert (found.endpoint, found.error_file_id) == (COMPLETIONS, None)
        answers = lines_of(client, found.output_file_id)
    for number in (1, 5):
        response = answers[f"r{number}"]["response"]
        answer = Completion.model_validate(response["body"], strict=True)
        [choice] = answer.choices
        assert (response["status_code"], answer.object) == (200, "text_completion")
        assert choice.text == text_of(number)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == number
    assert found.usage is not None
    assert found.usage.output_tokens > 0


def test_embeddings(lent: Lent) -> None:
    """Of a text or of several; they are asked for whole, and no token of them was written."""
    with lent.product.client() as client:
        inputs: dict[str, object] = {"one": "hello", "two": ["hello", "goodbye"]}
        asked = [line(name, EMBEDDINGS, MODEL, input=text) for name, text in inputs.items()]
        found = ended(client, submit(client, *asked, endpoint=EMBEDDINGS).id)
        assert found.status == "completed", found.errors
        assert (found.endpoint, found.error_file_id) == (EMBEDDINGS, None)
        answers = lines_of(client, found.output_file_id)
    for name, many in (("one", 1), ("two", 2)):
        response = answers[name]["response"]
        answer = CreateEmbeddingResponse.model_validate(response["body"], strict=True)
        assert (response["status_code"], answer.model) == (200, MODEL)
        assert [(each.index, len(each.embedding)) for each in answer.data] == [
            (n, 8) for n in range(many)
        ]
    assert found.usage is not None
    assert (found.usage.input_tokens > 0, found.usage.output_tokens) == (True, 0)
    last = lent.engine.last()
    assert EMBEDDINGS in last["line"]
    assert "stream" not in last["body"]


def test_lines_of_another_endpoint(lent: Lent) -> None:
    """A batch is of one endpoint, and bodies are those of it."""
    with lent.product.client() as client:
        chat, empty = request("chat", MODEL), line("empty", EMBEDDINGS, MODEL)
        found = ended(client, submit(client, chat, empty, endpoint=EMBEDDINGS).id)
    assert found.status == "failed"
    assert found.errors is not None
    assert [(each.line, each.code, each.param) for each in found.errors.data or ()] == [
        (1, "url_mismatch", "url"),
        (2, "missing_required_parameter", "body.input"),
    ]


@pytest.fixture
def litellm(tmp_path: Path) -> Iterator[LiteLlm]:
    """LiteLLM in front of a network with a mock engine."""
    with ExitStack() as stack:
        product = Product(tmp_path, "--no-node")
        stack.callback(product.stop)
        product.start()
        lend(product, tmp_path, stack)
        proxy = LiteLlm(product, tmp_path / "proxy")
        stack.callback(proxy.stop)
        proxy.start()
        yield proxy


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_batch_through_litellm(litellm: LiteLlm) -> None:
    """LiteLLM passes files and batches on; which model's they are, it writes into their ids."""
    with litellm.client(default_headers={"x-litellm-model": MODEL}) as client:
        batch = submit(client, request("one", MODEL), request("two", MODEL))
        found = ended(client, batch.id)
        assert found.status == "completed", found.errors
        assert lines_of(client, found.output_file_id).keys() == {"one", "two"}
    with litellm.product.client(litellm.proxy_key) as client:
        [own] = client.batches.list().data
        money: Any = own.model_extra
        assert 0 < int(money["gai"]["charged"]) <= int(money["gai"]["reserved"])
