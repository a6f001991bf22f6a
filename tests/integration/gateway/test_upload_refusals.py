"""Uploads that are refused: the official client is told why, and nothing of them stays."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import ask

from garage_ai.batch import FileLimits
from garage_ai.gateway.batch_services import UploadLimits
from garage_ai.storage.tables import files

pytestmark = pytest.mark.anyio

SIZE, LINES = 100_000, 10


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge that takes small files."""
    limits = FileLimits(size=SIZE, lines=LINES)
    async with running_edge(tmp_path, uploads=UploadLimits(size=SIZE), file_limits=limits) as made:
        yield made


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client of a user."""
    async with openai.AsyncOpenAI(
        base_url=f"{edge.url}/v1", api_key=edge.user, max_retries=0
    ) as made:
        yield made


async def nothing_stays(edge: Edge, folder: Path) -> None:
    """See that neither a row nor a byte is left."""
    async with edge.storage.read() as connection:
        assert (await connection.execute(select(files))).all() == []
    assert stored(folder) == []


def stored(folder: Path) -> list[Path]:
    """List what lies in the store."""
    return list(folder.glob("files/*"))


@pytest.mark.parametrize("size", [SIZE + 1, SIZE + 70_000, 5_000_000], ids=lambda size: f"{size}")
async def test_a_file_too_large(
    client: openai.AsyncOpenAI, edge: Edge, tmp_path: Path, size: int
) -> None:
    """413 with a code of its own, however much too large; the largest that may be is taken."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.files.create(file=("in.jsonl", b"x" * size), purpose="batch")
    assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
    assert str(SIZE) in caught.value.message
    await nothing_stays(edge, tmp_path)
    file = await client.files.create(file=("in.jsonl", b"x" * SIZE), purpose="batch")
    assert (await client.files.content(file.id)).content == b"x" * SIZE


async def test_a_file_of_too_many_lines(
    client: openai.AsyncOpenAI, edge: Edge, tmp_path: Path
) -> None:
    """400, where the last line has no end too; as many as may be are taken."""
    for more in (b"{}\n", b"{}"):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.files.create(file=("in", b"{}\n" * LINES + more), purpose="batch")
        assert caught.value.code == "too_many_lines"
        assert str(LINES) in caught.value.message
    await nothing_stays(edge, tmp_path)
    file = await client.files.create(file=("in", b"{}\n" * LINES), purpose="batch")
    assert [each.id async for each in client.files.list()] == [file.id]


@pytest.mark.parametrize("purpose", ["fine-tune", "assistants", "batch_output"])
async def test_a_purpose_that_is_none_here(
    client: openai.AsyncOpenAI, edge: Edge, tmp_path: Path, purpose: Any
) -> None:
    """400 with its place, whether it comes before the file or behind it."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.files.create(file=("in.jsonl", b"{}\n"), purpose=purpose)
    assert (caught.value.code, caught.value.param) == ("unsupported_value", "purpose")
    form = (
        '--x\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n{}\r\n'
        f'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--x--\r\n'
    )
    headers = edge.bearer | {"content-type": "multipart/form-data; boundary=x"}
    answer = await ask(edge, "/v1/files", method="POST", headers=headers, body=form.encode())
    assert (answer.status, answer.code) == (400, "unsupported_value")
    assert json.loads(answer.body)["error"]["param"] == "purpose"
    await nothing_stays(edge, tmp_path)


async def test_a_file_that_comes_as_a_field(edge: Edge, tmp_path: Path) -> None:
    """400 that says what it lacks, and not that there is none."""
    form = (
        '--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        '--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n{}\r\n--x--\r\n'
    )
    headers = edge.bearer | {"content-type": "multipart/form-data; boundary=x"}
    answer = await ask(edge, "/v1/files", method="POST", headers=headers, body=form.encode())
    assert (answer.status, answer.code) == (400, "invalid_value")
    assert "filename" in json.loads(answer.body)["error"]["message"]
    await nothing_stays(edge, tmp_path)
