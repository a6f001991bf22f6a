"""Files of batches in a bucket that speaks S3: the product with its setting, from outside."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from bench.processes import free_ports
from tests.parts.batch_client import ended, lines_of, request, submit
from tests.parts.lent_engine import MODEL, Lent, lend
from tests.parts.product import Product
from tests.parts.relay import Relay
from tests.parts.s3 import BUCKET, S3, URL, running_s3
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MakeProduct = Callable[[str | None], Product]

LARGE = os.urandom(20_000_000)
"""More than two parts of 8 MiB."""


@dataclass(frozen=True)
class Kept:
    """A network whose files are in a bucket that it reaches by a port."""

    lent: Lent
    s3: S3
    port: int

    @property
    def product(self) -> Product:
        """The network."""
        return self.lent.product

    def has(self, file: str | None) -> bool:
        """Tell whether the bucket has a file."""
        return f"files/{file}" in self.s3.objects()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("bucket")
    with ExitStack() as stack:
        s3, port = stack.enter_context(running_s3(folder)), free_ports()
        settings = {"GAI_BATCH_STORE": URL} | s3.environment(port)
        product = Product(folder, "--no-node", environment=settings)
        stack.callback(product.stop)
        product.start()
        yield Kept(lend(product, folder, stack), s3, port)


@pytest.fixture(autouse=True)
def relay(kept: Kept) -> Iterator[Relay]:
    """What stands between the network and its bucket."""
    kept.lent.engine.reset()
    relay = Relay(kept.s3.port, kept.port)
    yield relay
    relay.close()


def upload(client: openai.OpenAI, data: bytes = LARGE) -> str:
    """Upload a file and give its id."""
    return client.files.create(file=("in.jsonl", data), purpose="batch").id


def is_told(ask: Callable[[], object]) -> None:
    """See that whoever asks is told that the store does not answer, and when to come again."""
    with pytest.raises(openai.InternalServerError) as caught:
        ask()
    assert (caught.value.status_code, caught.value.code) == (503, "file_store_unavailable")
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_a_file_of_several_parts(kept: Kept) -> None:
    """It is one object, comes back as it was sent, and is gone when it is deleted."""
    with kept.product.client() as client:
        file = upload(client)
        assert kept.s3.objects()[f"files/{file}"].endswith("-3")
        assert client.files.content(file).content == LARGE
        assert client.files.delete(file).deleted
    assert not kept.has(file)
    assert not (kept.product.data / "files").exists()


def test_a_batch(kept: Kept) -> None:
    """Its requests are read out of the bucket, and what became of them is written there."""
    with kept.product.client() as client:
        batch = submit(client, request("one", MODEL), request("two", MODEL))
        found = ended(client, batch.id)
        assert found.status == "completed", found.errors
        assert lines_of(client, found.output_file_id).keys() == {"one", "two"}
        assert kept.has(found.input_file_id)
        assert kept.has(found.output_file_id)


def test_a_bucket_that_is_away(kept: Kept, relay: Relay) -> None:
    """Whoever asks is told so; what is there stays, and what has to wait goes on by itself."""
    with kept.product.client() as client:
        file = upload(client)
        batch = submit(client, request("one", MODEL))
        assert ended(client, batch.id).status == "completed"
        before = [each.id for each in client.files.list()]
        relay.cut()
        for ask in (lambda: upload(client), lambda: client.files.content(file)):
            is_told(ask)
        assert [each.id for each in client.files.list()] == before
        later = client.batches.create(
            input_file_id=batch.input_file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        eventually("a try in vain", lambda: "batch_put_off" in kept.product.log("gateway"))
        assert client.batches.retrieve(later.id).status == "validating"
        relay.mend()
        found = ended(client, later.id)
        assert found.status == "completed", found.errors
        assert lines_of(client, found.output_file_id).keys() == {"one"}
        assert client.files.content(file).content == LARGE


def test_answers_outlast_a_bucket_that_is_away(kept: Kept, relay: Relay) -> None:
    """Those that came meanwhile wait in the database, and are in their file when it is back."""
    engine = kept.lent.engine
    engine.set(chunk_delay=0.1)
    with kept.product.client() as client:
        names = [f"r{number}" for number in range(4)]
        batch = submit(client, *(request(name, MODEL, max_tokens=250) for name in names))
        eventually("all at once", lambda: engine.state()["running"] == len(names))
        relay.cut()
        engine.set(chunk_delay=0.0)

        def waits() -> bool:
            seen = client.batches.retrieve(batch.id)
            assert seen.request_counts is not None
            return (seen.status, seen.request_counts.completed) == ("finalizing", len(names))

        eventually("a batch whose files wait", waits)
        relay.mend()
        found = ended(client, batch.id)
        assert found.status == "completed", found.errors
        assert lines_of(client, found.output_file_id).keys() == set(names)
        assert found.error_file_id is None


@pytest.fixture
def make_product(kept: Kept, tmp_path: Path) -> Iterator[MakeProduct]:
    """Start a network without nodes with some secret; it keeps its data."""
    with ExitStack() as stack:

        def make(secret: str | None) -> Product:
            settings = {"GAI_BATCH_STORE": f"s3://{BUCKET}/other"} | kept.s3.environment()
            settings |= {} if secret is None else {"AWS_SECRET_ACCESS_KEY": secret}
            product = Product(tmp_path, "--no-node", environment=settings)
            stack.callback(product.stop)
            product.start()
            return product

        yield make


def test_a_key_that_opens_nothing(kept: Kept, make_product: MakeProduct) -> None:
    """A client is told that the store does not answer, the log why; nothing is lost by it."""
    product = make_product(None)
    with product.client() as client:
        file = upload(client)
    before = kept.s3.objects()
    assert product.stop() == 0
    product = make_product("wrong")
    with product.client() as client:
        for ask in (lambda: upload(client), lambda: client.files.content(file)):
            is_told(ask)
        assert [each.id for each in client.files.list()] == [file]
    assert "SignatureDoesNotMatch" in product.log("gateway")
    assert product.stop() == 0
    with make_product(None).client() as client:
        assert client.files.content(file).content == LARGE
    assert kept.s3.objects() == before
