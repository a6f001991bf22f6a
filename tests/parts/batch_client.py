"""Batches as the official client has them: submitted, waited for, read."""

import io
import json
from typing import Any, Final

import openai
from bench.batch_check import Checked, Given, check
from bench.books_check import Rows, rows_of
from openai.types import Batch
from tests.parts.product import Product
from tests.parts.waiting import eventually

from garage_ai.batch import Endpoint

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"


def line(name: str, endpoint: Endpoint, model: str, **asked: object) -> dict[str, object]:
    """Make a request of any endpoint."""
    body = {"model": model} | asked
    return {"custom_id": name, "method": "POST", "url": endpoint, "body": body}


def request(name: str, model: str, **asked: object) -> dict[str, object]:
    """Make a request for a short answer."""
    messages = [{"role": "user", "content": "Say hello in one word."}]
    return line(name, CHAT, model, **({"messages": messages, "max_tokens": 8} | asked))


def submit(
    client: openai.OpenAI, *requests: object, endpoint: Endpoint = CHAT, **more: Any
) -> Batch:
    """Upload requests and have a batch made of them."""
    lines = "".join(json.dumps(each) + "\n" for each in requests)
    file = client.files.create(file=("in.jsonl", io.BytesIO(lines.encode())), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )
    assert made.input_file_id == file.id
    return made


def ended(client: openai.OpenAI, batch: str, seconds: float = 60) -> Batch:
    """Wait for a batch's end."""

    found: list[Batch] = []

    def has_ended() -> bool:
        found[:] = [client.batches.retrieve(batch)]
        return found[0].status in {"completed", "failed", "cancelled", "expired"}

    eventually("the batch's end", has_ended, seconds)
    return found[0]


def lines_of(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """Read a file of results, by its requests' names."""
    assert file is not None
    lines = client.files.content(file).text.splitlines()
    found = {each["custom_id"]: each for each in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


class Work:
    """The only batch of a network, which costs money; each request is to be answered once."""

    def __init__(
        self, product: Product, client: openai.OpenAI, size: int, model: str, **asked: object
    ) -> None:
        self._client = client
        self._rows: Rows = rows_of(f"sqlite:///{product.data / 'garage.db'}")
        self._names = [f"r{number}" for number in range(size)]
        self._batch = submit(client, *(request(name, model, **asked) for name in self._names)).id

    @property
    def answered(self) -> int:
        """How many requests have their answer."""
        counts = self._client.batches.retrieve(self._batch).request_counts
        return counts.completed if counts is not None else 0

    @property
    def returned(self) -> int:
        """How many requests wait again after somebody was at work on them in vain."""
        back = "SELECT COUNT(*) FROM batch_items WHERE state = 'queued' AND attempts > 0"
        [(count,)] = self._rows(back)
        return int(count)

    def completes(self, text: str | None, seconds: float) -> None:
        """Wait for its end: one answer to each request, as `check` knows them, paid for once."""
        batch = ended(self._client, self._batch, seconds)
        assert batch.status == "completed", batch.errors
        output, errors = (
            self._client.files.content(file).content.split(b"\n") if file else []
            for file in (batch.output_file_id, batch.error_file_id)
        )
        given = Given(batch.id, self._names, output, errors)

        def agreed() -> Checked | None:
            seen = check(self._rows, [given], text)
            told.append(seen)
            return None if seen.faults else seen

        told: list[Checked] = []
        try:
            eventually("books that agree with the results", agreed)
        except AssertionError:
            raise AssertionError(f"{told[-1]}\n{errors}") from None
        assert (told[-1].answered, told[-1].failed) == (len(self._names), 0), errors
        assert told[-1].charged > 0


__all__ = [
    "CHAT",
    "COMPLETIONS",
    "EMBEDDINGS",
    "Work",
    "ended",
    "line",
    "lines_of",
    "request",
    "submit",
]
