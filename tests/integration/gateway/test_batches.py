"""Files and batches as the official client has them, at a real edge."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import openai
import pytest
from openai.types import Batch
from sqlalchemy import insert, select, update
from tests.parts.batch_worker import finish, work
from tests.parts.edge import Edge

from garage_ai.accounts import IssuedKey
from garage_ai.batch.validation import TOGETHER
from garage_ai.storage.tables import audit, files

pytestmark = pytest.mark.anyio

CHAT: Final = "/v1/chat/completions"


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """The module's edge; each test has a member of its own."""
    return shared_edge


@pytest.fixture
async def key(edge: Edge) -> IssuedKey:
    """A key of a new member."""
    member = await edge.services.members.add("Anna")
    return await edge.services.keys.create("batch", member.id)


@pytest.fixture
async def client(edge: Edge, key: IssuedKey) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, with that key."""
    async with openai.AsyncOpenAI(
        base_url=f"{edge.url}/v1", api_key=str(key.secret), max_retries=0
    ) as made:
        yield made


def line(number: int, **changes: object) -> bytes:
    """Write a line of an input file."""
    asked = {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "garage-chat", "messages": [{"role": "user", "content": "Hello"}]},
    }
    return json.dumps(asked | changes).encode()


async def submitted(client: openai.AsyncOpenAI, lines: Sequence[bytes], **more: Any) -> Batch:
    """Upload a file of these lines and submit it."""
    file = await client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", **more
    )


async def ends(client: openai.AsyncOpenAI, batch: Batch, *statuses: str) -> Batch:
    """Wait until a batch has one of these statuses."""
    async with asyncio.timeout(20):
        while batch.status not in statuses:
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def results(client: openai.AsyncOpenAI, file: str | None) -> list[dict[str, Any]]:
    """Read a file of results."""
    assert file is not None
    content = await client.files.content(file)
    return [json.loads(each) for each in content.text.splitlines()]


async def test_a_batch_from_upload_to_results(client: openai.AsyncOpenAI, edge: Edge) -> None:
    """Successes are in the output file and failures in the error file, in the order of lines."""
    batch = await submitted(client, [line(1), line(2), b"", line(3)], metadata={"project": "x"})
    assert (batch.status, batch.object, batch.errors) == ("validating", "batch", None)
    running = await ends(client, batch, "in_progress")
    counts = running.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (3, 0, 0)
    assert running.model == "garage-chat"
    assert running.metadata == {"project": "x"}
    await work(edge.storage, batch.id, fails=frozenset({2}))
    edge.keeper.wake()
    ended = await ends(client, batch, "completed")
    counts = ended.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    assert ended.finalizing_at is not None
    assert ended.completed_at is not None
    done = await results(client, ended.output_file_id)
    assert [(each["custom_id"], each["response"]["status_code"]) for each in done] == [
        ("request-1", 200),
        ("request-3", 200),
    ]
    [failed] = await results(client, ended.error_file_id)
    assert failed["response"]["body"]["error"]["code"] == "engine_rejected"
    assert failed["error"] is None
    assert len({each["id"] for each in [*done, failed]}) == 3


async def test_results_are_kept_as_long_as_asked(client: openai.AsyncOpenAI, edge: Edge) -> None:
    """Both of their files, counted from when they were made; then they are there no more."""
    expiry = {"anchor": "created_at", "seconds": 7200}
    batch = await submitted(client, [line(1), line(2)], output_expires_after=expiry)
    await ends(client, batch, "in_progress")
    await work(edge.storage, batch.id, fails=frozenset({2}))
    edge.keeper.wake()
    ended = await ends(client, batch, "completed")
    made = [str(ended.output_file_id), str(ended.error_file_id)]
    for file in [await client.files.retrieve(each) for each in made]:
        assert file.purpose == "batch_output"
        assert file.expires_at == file.created_at + 7200
    given = await client.files.retrieve(batch.input_file_id)
    assert given.expires_at == given.created_at + 30 * 86_400
    late = datetime.now(UTC) - timedelta(seconds=1)
    async with edge.storage.write() as connection:
        its = update(files).where(files.c.id.in_(made))
        await connection.execute(its.values(expires_at=late))
    for each in made:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.files.content(each)
        assert caught.value.code == "file_not_found"
    assert (await client.batches.retrieve(batch.id)).status == "completed"
    assert await client.files.retrieve(batch.input_file_id) == given


async def test_what_is_wrong_is_told_by_its_line(client: openai.AsyncOpenAI) -> None:
    """A file with faults fails, and each has its line, its code and its place."""
    stream = {"model": "garage-chat", "messages": [{"role": "user", "content": "a"}]}
    batch = await submitted(
        client,
        [
            line(1),
            b"{not json}",
            line(3, method="GET"),
            line(4, url="/v1/embeddings"),
            line(5, custom_id=5),
            line(6, body={"model": "garage-chat"}),
            line(7, body=stream | {"stream": True}),
            line(8, body=stream | {"model": "missing"}),
        ],
    )
    failed = await ends(client, batch, "failed")
    assert failed.errors is not None
    assert failed.errors.object == "list"
    told = [(each.line, each.code, each.param) for each in failed.errors.data or ()]
    assert told == [
        (2, "invalid_json_line", None),
        (3, "invalid_request", "method"),
        (4, "url_mismatch", "url"),
        (5, "invalid_request", "custom_id"),
        (6, "missing_required_parameter", "body.messages"),
        (7, "invalid_request", "body.stream"),
        (8, "model_not_found", "body.model"),
    ]
    assert failed.failed_at is not None
    assert (failed.output_file_id, failed.error_file_id) == (None, None)


async def test_ids_that_are_there_twice(client: openai.AsyncOpenAI) -> None:
    """The second line with a custom_id is told."""
    failed = await ends(client, await submitted(client, [line(1), line(2), line(1)]), "failed")
    assert failed.errors is not None
    assert [(each.line, each.code) for each in failed.errors.data or ()] == [
        (3, "duplicate_custom_id")
    ]


async def test_an_empty_file(client: openai.AsyncOpenAI) -> None:
    """A file without any request fails."""
    failed = await ends(client, await submitted(client, [b"", b"  "]), "failed")
    assert failed.errors is not None
    assert [each.code for each in failed.errors.data or ()] == ["empty_file"]


async def test_cancel_keeps_what_is_done(client: openai.AsyncOpenAI, edge: Edge) -> None:
    """After a cancellation what was answered is there, and the rest is told as cancelled."""
    batch = await ends(client, await submitted(client, [line(1), line(2)]), "in_progress")
    assert await finish(edge.storage, batch.id, 1, "request-1")
    cancelling = await client.batches.cancel(batch.id)
    assert cancelling.status in ("cancelling", "cancelled")
    assert cancelling.cancelling_at is not None
    cancelled = await ends(client, cancelling, "cancelled")
    counts = cancelled.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (2, 1, 1)
    assert [each["custom_id"] for each in await results(client, cancelled.output_file_id)] == [
        "request-1"
    ]
    [lost] = await results(client, cancelled.error_file_id)
    assert (lost["custom_id"], lost["response"]) == ("request-2", None)
    assert lost["error"]["code"] == "batch_cancelled"
    assert (await client.batches.cancel(batch.id)).status == "cancelled"
    assert not await finish(edge.storage, batch.id, 2, "request-2")


async def test_lists_have_pages(client: openai.AsyncOpenAI) -> None:
    """The client walks through all batches and files, newest first, each once."""
    made = [await submitted(client, [line(1)]) for _ in range(5)]
    newest = [batch.id for batch in made][::-1]
    assert [batch.id async for batch in client.batches.list(limit=2)] == newest
    first = await client.batches.list(limit=2)
    assert first.has_more
    inputs = [batch.input_file_id for batch in made]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == inputs
    assert [file.id async for file in client.files.list(purpose="batch_output")] == []


async def test_files_are_deleted_while_they_are_listed(client: openai.AsyncOpenAI) -> None:
    """The client asks for the next page from behind a file that it has just deleted."""
    made = [await client.files.create(file=("a", b"{}"), purpose="batch") for _ in range(5)]
    gone = []
    async for file in client.files.list(limit=2):
        assert (await client.files.delete(file.id)).deleted
        gone.append(file.id)
    assert gone == [file.id for file in made][::-1]
    assert (await client.files.list()).data == []
    with pytest.raises(openai.NotFoundError):
        await client.files.list(after="file-never")


async def test_long_lists_of_files_come_in_parts(
    client: openai.AsyncOpenAI, edge: Edge, key: IssuedKey
) -> None:
    """However many are asked for, an answer has a thousand at most and says that there are more."""
    row = {
        "member_id": key.key.member,
        "key_id": key.key.id,
        "purpose": "batch",
        "filename": "in.jsonl",
        "bytes": 1,
        "status": "processed",
        "created_at": datetime.now(UTC),
        "place": "nowhere",
    }
    made = {f"file-{n:032}" for n in range(1001)}
    async with edge.storage.write() as connection:
        await connection.execute(insert(files), [{"id": each} | row for each in made])
    first = await client.files.list(limit=10_000)
    assert (len(first.data), first.has_more) == (1000, True)
    assert {file.id async for file in client.files.list()} == made


async def test_files(client: openai.AsyncOpenAI) -> None:
    """A file is shown, read as it was sent, and deleted; then it is not there."""
    data = bytes(range(256)) * 4096
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    file = await client.files.create(
        file=("C:\\mina\\frågor.jsonl", data), purpose="batch", expires_after=expiry
    )
    assert (file.bytes, file.filename, file.status) == (len(data), "frågor.jsonl", "processed")
    assert file.expires_at == file.created_at + 3600
    assert await client.files.retrieve(file.id) == file
    assert (await client.files.content(file.id)).content == data
    assert (await client.files.delete(file.id)).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            await gone(file.id)
        assert caught.value.code == "file_not_found"


@pytest.mark.parametrize("seconds", ["1", "x", "3600" + "0" * 40, "000003600" + "9" * 40])
async def test_a_time_that_no_file_is_kept(client: openai.AsyncOpenAI, seconds: str) -> None:
    """It is refused by name, however many digits it has."""
    expiry: Any = {"anchor": "created_at", "seconds": seconds}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.files.create(file=("a", b"{}"), purpose="batch", expires_after=expiry)
    assert caught.value.param == "expires_after[seconds]"


async def test_others_see_nothing(client: openai.AsyncOpenAI, edge: Edge) -> None:
    """Files and batches of another member are not there, whoever asks."""
    batch = await submitted(client, [line(1)])
    other = await edge.services.members.add("Other")
    theirs = await edge.services.keys.create("other", other.id)
    stranger = client.with_options(api_key=str(theirs.secret))
    for asked in (
        stranger.files.retrieve(batch.input_file_id),
        stranger.files.content(batch.input_file_id),
        stranger.files.delete(batch.input_file_id),
        stranger.batches.retrieve(batch.id),
        stranger.batches.cancel(batch.id),
        stranger.batches.create(
            input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            await asked
    assert (await stranger.files.list()).data == []
    assert (await stranger.batches.list()).data == []


async def test_a_file_in_use_stays(client: openai.AsyncOpenAI) -> None:
    """A file that a batch still reads is not deleted."""
    batch = await ends(client, await submitted(client, [line(1)]), "in_progress")
    with pytest.raises(openai.ConflictError) as caught:
        await client.files.delete(batch.input_file_id)
    assert caught.value.code == "file_in_use"
    await ends(client, await client.batches.cancel(batch.id), "cancelled")
    assert (await client.files.delete(batch.input_file_id)).deleted


async def test_the_same_submission_makes_one_batch(client: openai.AsyncOpenAI) -> None:
    """A submission that is sent again gives the first batch; another one is a conflict."""
    headers, other = {"idempotency-key": "once"}, {"idempotency-key": "with-metadata"}
    first = await submitted(client, [line(1)])
    again: dict[str, Any] = {
        "input_file_id": first.input_file_id,
        "endpoint": CHAT,
        "extra_headers": headers,
    }
    made = await client.batches.create(completion_window="24h", **again)
    assert (await client.batches.create(completion_window="24h", **again)).id == made.id
    for pairs in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        given = await client.batches.create(
            completion_window="24h", metadata=pairs, **(again | {"extra_headers": other})
        )
        assert given.metadata == {"a": "1", "b": "2"}
    window: Any = "48h"
    with pytest.raises(openai.ConflictError) as caught:
        await client.batches.create(completion_window=window, **again)
    assert caught.value.code == "idempotency_conflict"


@pytest.mark.parametrize(
    ("param", "changes"),
    [
        ("completion_window", {"completion_window": "8d"}),
        ("endpoint", {"endpoint": "/v1/responses"}),
        ("metadata", {"metadata": {str(n): "x" for n in range(17)}}),
        ("metadata", {"metadata": {"x" * 65: "x"}}),
        ("metadata.isolation", {"metadata": {"isolation": "none"}}),
        (
            "output_expires_after.seconds",
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
        ),
    ],
)
async def test_what_no_batch_can_be(
    client: openai.AsyncOpenAI, param: str, changes: dict[str, Any]
) -> None:
    """Bad values are refused by name."""
    file = await client.files.create(file=("in.jsonl", line(1)), purpose="batch")
    asked: dict[str, Any] = {
        "input_file_id": file.id,
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    with pytest.raises(openai.BadRequestError) as caught:
        await client.batches.create(**(asked | changes))
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


async def test_a_batch_is_of_one_model(client: openai.AsyncOpenAI) -> None:
    """The lines of another than the first's are named, also far behind it, and nothing begins."""
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
    lines = [line(number) for number in range(1, 2 * TOGETHER)]
    lines[1] = line(2, body=body)
    lines += [line(2 * TOGETHER, body=body)]
    failed = await ends(client, await submitted(client, lines), "failed")
    assert failed.errors is not None
    told = [(each.line, each.code, each.param) for each in failed.errors.data or ()]
    assert told == [(n, "mismatched_model", "body.model") for n in (2, 2 * TOGETHER)]


async def test_a_model_that_nobody_knows_is_told_at_the_first_line(
    client: openai.AsyncOpenAI,
) -> None:
    """Once, however many name it."""
    body = {"model": "missing", "messages": [{"role": "user", "content": "Hello"}]}
    lines = [line(number, body=body) for number in (1, 2)]
    failed = await ends(client, await submitted(client, lines), "failed")
    assert failed.errors is not None
    assert [(each.line, each.code) for each in failed.errors.data or ()] == [(1, "model_not_found")]


async def test_acts_are_in_the_log(client: openai.AsyncOpenAI, edge: Edge, key: IssuedKey) -> None:
    """Who added, submitted, cancelled and deleted stands in the log of acts, by ids alone."""
    batch = await submitted(client, [line(1)])
    await ends(client, await client.batches.cancel(batch.id), "cancelled")
    await client.files.delete(batch.input_file_id)
    async with edge.storage.read() as connection:
        acts = (await connection.execute(select(audit).order_by(audit.c.seq))).all()
    told = [(act.action, act.subject) for act in acts if act.actor_id == key.key.id]
    assert told == [
        ("file.added", batch.input_file_id),
        ("batch.submitted", batch.id),
        ("batch.cancelled", batch.id),
        ("file.deleted", batch.input_file_id),
    ]
