"""Uploads at a time are bounded, for each member and for all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests.parts.edge import Edge, running_edge
from tests.parts.raw_http import Answer, ask, raw, read_answer, request_bytes

from garage_ai.gateway.batch_services import UploadLimits
from garage_ai.storage.tables import files

pytestmark = pytest.mark.anyio

PATH = "/v1/files"
FORM = (
    b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    b"{}\r\n--x--\r\n"
)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """An edge that takes two uploads at a time, and one of a member."""
    async with running_edge(tmp_path, uploads=UploadLimits(at_a_time=2, of_member=1)) as running:
        yield running


@pytest.fixture
async def lines(edge: Edge) -> AsyncIterator[AsyncExitStack]:
    """Connections of the test's own."""
    async with AsyncExitStack() as stack:
        yield stack


async def of_another(edge: Edge) -> dict[str, str]:
    """Give the headers of a new member's form."""
    member = await edge.services.members.add("Anna")
    issued = await edge.services.keys.create("batch", member.id)
    return form({"authorization": f"Bearer {issued.secret}"})


def form(bearer: dict[str, str]) -> dict[str, str]:
    return bearer | {"content-type": "multipart/form-data; boundary=x"}


async def begin(edge: Edge, lines: AsyncExitStack, headers: dict[str, str], nth: int) -> None:
    """Upload all but the end of a form, and wait until the file has begun."""
    _, writer = await lines.enter_async_context(raw(edge))
    writer.write(request_bytes(PATH, method="POST", headers=headers, body=FORM)[:-4])
    on_their_way = select(func.count()).where(files.c.status == "uploading")
    async with asyncio.timeout(20):
        while True:
            async with edge.storage.read() as connection:
                if await connection.scalar(on_their_way) == nth:
                    return
            await asyncio.sleep(0.01)


async def upload(edge: Edge, headers: dict[str, str]) -> Answer:
    return await ask(edge, PATH, method="POST", headers=headers, body=FORM)


def is_busy(answer: Answer) -> bool:
    if answer.status == 200:
        return False
    told = (answer.status, answer.code, answer.headers["retry-after"])
    assert told == (429, "too_many_uploads", "5")
    return True


async def test_a_member_has_so_many(edge: Edge, lines: AsyncExitStack) -> None:
    """One more is told when to come again, and takes nobody else's place."""
    own, other = form(edge.bearer), await of_another(edge)
    await begin(edge, lines, own, 1)
    assert is_busy(await upload(edge, own))
    assert not is_busy(await upload(edge, other))


async def test_all_have_so_many(edge: Edge, lines: AsyncExitStack) -> None:
    """Where all places are taken, who has none is told the same."""
    await begin(edge, lines, form(edge.bearer), 1)
    await begin(edge, lines, await of_another(edge), 2)
    assert is_busy(await upload(edge, await of_another(edge)))


async def test_places_come_back(edge: Edge, lines: AsyncExitStack) -> None:
    """Whoever hangs up, or is refused, leaves its place to the next."""
    own = form(edge.bearer)
    refused = await ask(edge, PATH, method="POST", headers=edge.bearer, body=FORM)
    assert refused.code == "invalid_value"
    await begin(edge, lines, own, 1)
    await lines.aclose()
    async with asyncio.timeout(20):
        while True:
            if not is_busy(await upload(edge, own)):
                return
            await asyncio.sleep(0.01)


async def test_the_refusal_can_be_read(edge: Edge, lines: AsyncExitStack) -> None:
    """A large body is read before the answer, and the connection goes on."""
    own = form(edge.bearer)
    await begin(edge, lines, own, 1)
    async with raw(edge) as (reader, writer):
        large = FORM.replace(b"{}", b"{}\n" * 500_000)
        writer.write(request_bytes(PATH, method="POST", headers=own, body=large))
        await writer.drain()
        assert is_busy(answer := await read_answer(reader))
        assert "connection" not in answer.headers
