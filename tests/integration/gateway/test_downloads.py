"""A file on its way to a client whose store goes away in the middle."""

from collections.abc import AsyncIterator

import openai
import pytest
from tests.parts.edge import Edge

from garage_ai.batch import FileStoreUnavailable, Folder

pytestmark = pytest.mark.anyio


async def test_a_file_that_breaks_off_is_not_taken_for_whole(
    shared_edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client hears of it; it is counted as what it is, and the store's words are in no log."""
    edge = shared_edge

    async def breaking(_: Folder, __: str, ___: int = 0) -> AsyncIterator[bytes]:
        yield b"x" * 10
        raise FileStoreUnavailable("away") from OSError("GET https://bucket/key")

    def counted() -> float:
        code = {"code": "file_store_unavailable"}
        return edge.services.metrics.registry.get_sample_value("gai_http_errors_total", code) or 0

    monkeypatch.setattr(Folder, "stream", breaking)
    async with openai.AsyncOpenAI(
        base_url=f"{edge.url}/v1", api_key=edge.user, max_retries=0
    ) as client:
        file = await client.files.create(file=("in.jsonl", b"x" * 1000), purpose="batch")
        before = counted()
        with pytest.raises(openai.APIConnectionError):
            await client.files.content(file.id)
    assert counted() == before + 1
    assert {record.exc_info for record in caplog.records} == {None}
