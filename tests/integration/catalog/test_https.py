import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from tests.integration.catalog.conftest import MakeModel, MakeStore, begun, causes_of, left_behind
from tests.parts.mirror import Mirror, answer, cut_after, serve, stall_after

from garage_ai.catalog import (
    Hub,
    ModelStore,
    OnHuggingFace,
    Progress,
    SourceBroken,
)

pytestmark = pytest.mark.anyio


async def test_fetches_once_and_reports_progress(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """The bytes arrive, progress runs from nothing to all, and a second start asks nobody."""
    seen: list[Progress] = []
    paths = await store.ensure(make_model(mirror.source), seen.append)
    assert paths["weights.gguf"].read_bytes() == mirror.content
    fetched = [each.done for each in seen if each.phase == "fetching"]
    assert (fetched[0], fetched[-1]) == (0, len(mirror.content))
    assert fetched == sorted(fetched)
    assert await store.ensure(make_model(mirror.source)) == paths
    assert len(mirror.requests) == 1
    assert left_behind(tmp_path) == ["weights.gguf"]


async def test_several_files_keep_their_places(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """A model of many files lies in one folder under the paths of its manifest."""
    files = {"config.json": mirror.content, "parts/one.gguf": mirror.content}
    paths = await store.ensure(make_model(mirror.source, files=files))
    assert list(paths) == list(files)
    assert paths["parts/one.gguf"].parent.parent == paths["config.json"].parent
    assert [each.path for each in mirror.requests] == [
        "/models/config.json",
        "/models/parts/one.gguf",
    ]


async def test_a_break_is_resumed_where_it_was(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """After a break only the rest is asked for, under the condition that nothing changed."""
    mirror.script.append(cut_after(1_000_000))
    paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == mirror.content
    first, second = mirror.requests
    assert "Range" not in first.headers
    assert second.http_range.start > 0
    assert second.headers["If-Range"] == '"v1"'


async def test_a_new_process_resumes_what_an_old_one_left(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """A partial file outlives the process that began it."""
    mirror.always = cut_after(500_000)
    assert await causes_of(make_store(attempts=1), make_model(mirror.source)) == [SourceBroken]
    mirror.always = None
    await make_store().ensure(make_model(mirror.source))
    assert mirror.requests[-1].http_range.start > 0
    assert left_behind(tmp_path) == ["weights.gguf"]


async def test_a_file_that_changed_midway_is_begun_anew(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """With another ETag the server sends everything, and nothing of the old file stays."""
    good = mirror.content

    async def change(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        reply = await cut_after(1_000_000)(mirror, request)
        mirror.content, mirror.etag = good, '"v2"'
        return reply

    mirror.content, mirror.script = bytes(len(good)), type(mirror.script)([change])
    paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == good
    assert len(mirror.requests) == 2


async def test_a_server_that_ignores_if_range_is_found_out(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """A part of another file, told by its ETag, is not glued to what is here."""
    good = mirror.content

    async def stubborn(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        mirror.content, mirror.etag = good, '"v2"'
        headers = request.headers.copy()
        headers.pop("If-Range")
        return await serve(mirror, request.clone(headers=headers))

    mirror.content = bytes(len(good))
    mirror.script.extend([cut_after(1_000_000), stubborn])
    paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == good
    assert [("Range" in each.headers) for each in mirror.requests] == [False, True, False]


async def test_without_etags_a_spoilt_mixture_costs_one_more_try(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """Where no ETag tells the change, the digest does, and the source gets one fresh start."""
    good, mirror.etag = mirror.content, None

    async def change(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        reply = await cut_after(1_000_000)(mirror, request)
        mirror.content = good
        return reply

    mirror.content = bytes(len(good))
    mirror.script.append(change)
    paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == good
    assert [("Range" in each.headers) for each in mirror.requests] == [False, True, False]


async def test_another_mirror_continues_what_the_first_began(
    mirror: Mirror, second_mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """Bytes of one mirror are not thrown away when another one has to finish."""
    mirror.script.append(cut_after(1_000_000))
    mirror.always = answer(404)
    paths = await store.ensure(make_model(mirror.source, second_mirror.source))
    assert paths["weights.gguf"].read_bytes() == second_mirror.content
    (request,) = second_mirror.requests
    assert request.http_range.start > 0
    assert "If-Range" not in request.headers


async def test_a_server_that_dies_and_comes_back_is_waited_for(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """A mirror that restarts costs time only."""
    mirror.script.append(stall_after(2_500_000, asyncio.Event()))
    patient = make_store(attempts=1000, first_delay_s=0.02)
    task = asyncio.create_task(patient.ensure(make_model(mirror.source)))
    async with asyncio.timeout(20):
        while not begun(tmp_path):  # noqa: ASYNC110  only the disk shows it
            await asyncio.sleep(0.005)
        await mirror.stop()
        await mirror.start()
        paths = await task
    assert paths["weights.gguf"].read_bytes() == mirror.content
    assert mirror.requests[-1].http_range.start > 0


async def test_passing_faults_are_retried(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """429 and 503 cost another try each."""
    mirror.script.extend([answer(503), answer(429, Retry_After="0")])
    await store.ensure(make_model(mirror.source))
    assert len(mirror.requests) == 3


async def test_hugging_face_with_a_token(
    mirror: Mirror, second_mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """The hub's address and token are used, and the token stays behind at a redirect elsewhere."""
    elsewhere = f"{second_mirror.base}/blob"
    mirror.always = answer(302, Location=elsewhere)
    hub = Hub(endpoint=f"https://127.0.0.1:{mirror.port}", token="hf_secret")
    await make_store(hub=hub).ensure(make_model(OnHuggingFace(repo="org/model", revision="main")))
    assert mirror.requests[0].path == "/org/model/resolve/main/weights.gguf"
    assert mirror.requests[0].headers["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in second_mirror.requests[0].headers


async def test_cancelling_keeps_what_came_and_frees_the_model(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """A stopped start is continued by the next one."""
    mirror.script.append(stall_after(1_500_000, asyncio.Event()))
    task = asyncio.create_task(store.ensure(make_model(mirror.source)))
    async with asyncio.timeout(20):
        while not begun(tmp_path):  # noqa: ASYNC110  only the disk shows it
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == mirror.content
    assert "Range" in mirror.requests[1].headers
