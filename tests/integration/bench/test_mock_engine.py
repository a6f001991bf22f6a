"""The mock engine over real sockets, met by the official client and by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import openai
import pytest
from bench.mock_answers import text_of
from bench.mock_engine import MockEngine, Options
from bench.processes import mock_engine

pytestmark = pytest.mark.anyio

CHAT = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}


@asynccontextmanager
async def running(**options: object) -> AsyncIterator[tuple[MockEngine, aiohttp.ClientSession]]:
    engine = MockEngine(Options(**options))  # type: ignore[arg-type]  # fields by name
    timeout = aiohttp.ClientTimeout(total=10)
    async with engine, aiohttp.ClientSession(engine.url[:-2], timeout=timeout) as session:
        yield engine, session


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the engine has no event for its counters
            await asyncio.sleep(0.005)


async def read_to_the_end(answer: aiohttp.ClientResponse) -> tuple[bytes, Exception | None]:
    received = b""
    try:
        async for part in answer.content.iter_any():
            received += part
    except aiohttp.ClientError as problem:
        return received, problem
    return received, None


async def stream_text(answer: aiohttp.ClientResponse) -> str:
    events = [line[6:] for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return "".join(
        choice["delta"].get("content", "")
        for event in events
        for choice in json.loads(event)["choices"]
    )


async def test_the_official_client_understands_it() -> None:
    """Models, plain chat, stream with usage, tools and embeddings work with `openai`."""
    async with (
        running() as (engine, _),
        openai.AsyncOpenAI(base_url=engine.url, api_key="none") as client,
    ):
        assert [model.id async for model in client.models.list()] == ["mock"]
        plain = await client.chat.completions.create(
            model="mock", messages=[{"role": "user", "content": "hi"}], max_tokens=4
        )
        assert plain.choices[0].message.content == text_of(4)
        stream = await client.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert len(chunks) == 32 + 1
        assert not chunks[-1].choices
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 32
        vectors = await client.embeddings.create(model="mock", input=["a", "b"])
        assert len(vectors.data) == 2


async def test_usage_comes_only_when_asked_for() -> None:
    """A stream without include_usage has no event without choices."""
    async with (
        running(chunks=2) as (_, http),
        http.post("/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
    ):
        assert "usage" not in await answer.text()


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    """A path instead of a port makes it an engine as a node starts one."""
    path = tmp_path / "engine.sock"
    connector = aiohttp.UnixConnector(str(path))
    async with (
        MockEngine(socket=path),
        aiohttp.ClientSession(connector=connector) as http,
        http.get("http://engine/health") as answer,
    ):
        assert answer.status == 200


async def test_a_client_that_leaves_frees_its_slot() -> None:
    """Closing the connection cancels the request and lets the next in line start."""
    async with running(slots=1, chunk_delay=0.01, chunks=1000) as (engine, http):
        first = await http.post("/v1/chat/completions", json={**CHAT, "stream": True})
        await first.content.readline()
        second = asyncio.create_task(
            http.post("/v1/chat/completions", json={**CHAT, "max_tokens": 2})
        )
        await until(lambda: engine.state.waiting == 1)
        first.close()
        async with await second as answer:
            assert answer.status == 200
        assert (engine.state.cancelled, engine.state.served, engine.state.running) == (1, 1, 0)
        assert engine.state.peak_running == 1


async def test_a_client_that_leaves_while_waiting_is_cancelled() -> None:
    """Someone in line who gives up does not get a slot later."""
    async with running(slots=1, stall_after=0) as (engine, http):
        tasks = [asyncio.create_task(http.post("/v1/chat/completions", json=CHAT)) for _ in "ab"]
        await until(lambda: engine.state.waiting == 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: engine.state.cancelled == 2)
        assert (engine.state.running, engine.state.waiting) == (0, 0)


async def test_a_slow_reader_stops_the_writer() -> None:
    """An answer larger than the socket's buffers is not generated ahead of its reader."""
    async with running() as (engine, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port, limit=1024)
        body = json.dumps({**CHAT, "stream": True, "max_tokens": 100_000}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await until(lambda: engine.state.held == 1)
        await reader.readexactly(4 * 1024 * 1024)
        await until(lambda: engine.state.held == 1)
        assert engine.state.running == 1
        writer.close()
        await until(lambda: engine.state.cancelled == 1)
        assert engine.state.held == 0


async def test_options_change_while_it_runs() -> None:
    """A fault can be given to a running engine and taken away again."""
    async with running(chunks=3) as (_, http):
        async with http.post("/mock/options", json={"fail_every": 1, "fail_status": 429}) as done:
            assert done.status == 200
        async with http.post("/v1/chat/completions", json=CHAT) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        async with http.post("/mock/options", json={"fail_every": 0}) as done:
            assert done.status == 200
        async with http.post("/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            assert await stream_text(answer) == text_of(3)
        async with http.post("/mock/options", json={"no_such_option": 1}) as done:
            assert done.status == 400


async def test_the_newest_request_can_be_looked_at() -> None:
    """Tests see what an engine got: headers and body as they came."""
    async with running() as (_, http):
        async with http.post("/v1/chat/completions", json=CHAT, headers={"X-Seen": "yes"}):
            pass
        async with http.get("/mock/last") as answer:
            last = await answer.json()
    assert last["line"] == "POST /v1/chat/completions HTTP/1.1"
    assert last["headers"]["x-seen"] == "yes"
    assert json.loads(last["body"]) == CHAT


async def test_a_cut_stream_ends_without_its_last_chunk() -> None:
    """cut_after closes the connection after that many chunks."""
    async with running(cut_after=2) as (engine, http):
        async with http.post("/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            received, problem = await read_to_the_end(answer)
        assert isinstance(problem, aiohttp.ClientPayloadError)
        assert received.count(b"data: ") == 2
        assert engine.state.failed == 1


async def test_a_stalled_stream_keeps_its_slot() -> None:
    """stall_after sends no further byte and does not end by itself."""
    async with running(stall_after=2) as (engine, http):
        answer = await http.post("/v1/chat/completions", json={**CHAT, "stream": True})
        lines = [await answer.content.readline() for _ in range(4)]
        assert b"w1" in lines[2]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await answer.content.readline()
        assert engine.state.running == 1
        answer.close()
        await until(lambda: engine.state.cancelled == 1)


@pytest.mark.parametrize(
    ("fault", "trace"),
    [
        ({"garbage_after": 1}, b"\x29\x72"),
        ({"bad_json_after": 1}, b'{"cont\n\n'),
        ({"oversized_event": 100_000}, b"x" * 100_000),
    ],
)
async def test_nonsense_stands_in_the_stream(fault: dict[str, int], trace: bytes) -> None:
    """Garbage, broken JSON and an oversized event arrive, and the stream goes on."""
    async with (
        running(**fault) as (_, http),
        http.post("/v1/chat/completions", json={**CHAT, "stream": True}) as answer,
    ):
        body = await answer.read()
    assert trace in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_plain_answers_can_be_broken_or_huge() -> None:
    """bad_json breaks a plain answer off, huge_body makes it long, no_done leaves [DONE] out."""
    async with running(bad_json=True) as (engine, http):
        async with http.post("/v1/chat/completions", json=CHAT) as answer:
            with pytest.raises(json.JSONDecodeError):
                json.loads(await answer.read())
        engine.options = Options(huge_body=1_000_000, no_done=True, chunks=1)
        async with http.post("/v1/chat/completions", json=CHAT) as answer:
            assert len(await answer.read()) > 1_000_000
        async with http.post("/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            assert b"[DONE]" not in await answer.read()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 3\r\n\r\n{x}", 400),
        (
            b'POST /v1/completions HTTP/1.1\r\nContent-Length: 13\r\n\r\n{"model":"no"}'[:-1]
            + b"}",
            400,
        ),
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_what_it_cannot_read_is_refused(request_bytes: bytes, status: int) -> None:
    """A request that is not one gets an HTTP error, not silence."""
    async with running() as (engine, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(request_bytes)
        line = await asyncio.wait_for(reader.readline(), 20)
        writer.close()
    assert line.split()[1] == str(status).encode()


async def test_a_process_of_its_own_can_die_in_the_middle() -> None:
    """`python -m bench.mock_engine` says its port, and with die_after ends like a crash."""
    async with mock_engine("--die-after", "3") as engine, aiohttp.ClientSession() as http:
        url = f"{engine.base_url}/chat/completions"
        async with http.post(url, json={**CHAT, "stream": True}) as answer:
            received, problem = await read_to_the_end(answer)
        assert isinstance(problem, aiohttp.ClientPayloadError)
        assert received.count(b"data: ") == 3
        assert await asyncio.to_thread(engine.child.process.wait, 5) == 9
