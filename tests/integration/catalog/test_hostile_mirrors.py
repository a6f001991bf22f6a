import asyncio
import dataclasses
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from tests.integration.catalog.conftest import (
    QUICK,
    MakeModel,
    MakeStore,
    causes_of,
    left_behind,
)
from tests.parts.mirror import Handler, Mirror, answer, cut_after, send, stall_after

from garage_ai.catalog import (
    Hub,
    Limits,
    ModelStore,
    OnHuggingFace,
    OverHttps,
    SourceAbsent,
    SourceBroken,
    SourceError,
    SourceRefused,
    UnsafeRedirect,
    WrongDigest,
    WrongSize,
)
from garage_ai.catalog.download import Downloader

pytestmark = pytest.mark.anyio


async def test_a_wrong_digest_is_removed_and_the_next_source_tried(
    mirror: Mirror, second_mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """Wrong bytes never stay; the next mirror gives the right ones."""
    mirror.content = bytes(len(mirror.content))
    paths = await store.ensure(make_model(mirror.source, second_mirror.source))
    assert paths["weights.gguf"].read_bytes() == second_mirror.content
    assert (len(mirror.requests), len(second_mirror.requests)) == (1, 1)
    assert left_behind(tmp_path) == ["weights.gguf"]


async def test_a_wrong_digest_alone_leaves_nothing(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """With no source left, the error says why and no wrong byte is on disk."""
    model = make_model(mirror.source)
    mirror.content = bytes(len(mirror.content))
    assert await causes_of(store, model) == [WrongDigest]
    assert left_behind(tmp_path) == []


async def test_a_body_that_always_ends_early_is_given_up(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """No progress means a bounded number of tries."""
    mirror.always = cut_after(0)
    assert await causes_of(store, make_model(mirror.source)) == [SourceBroken]
    assert len(mirror.requests) == Limits().attempts


@pytest.mark.parametrize("offered", [3_000_001, 2**62, 1])
async def test_a_hostile_content_length_is_refused_unread(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path, offered: int
) -> None:
    """Another length than the manifest's ends the matter before any byte is written."""

    async def lie(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {offered}\r\nConnection: close\r\n\r\n"
        assert request.transport is not None
        request.transport.write(head.encode() + b"x")
        request.transport.close()
        raise asyncio.CancelledError

    mirror.always = lie
    assert await causes_of(store, make_model(mirror.source)) == [WrongSize]
    assert left_behind(tmp_path) == []
    assert len(mirror.requests) == 1


async def test_an_endless_body_is_cut_at_the_size(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """A server that says no length cannot fill the disk."""

    async def endless(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        reply.enable_chunked_encoding()
        await reply.prepare(request)
        for _ in range(50):
            await send(mirror, reply, mirror.content)
        return reply

    mirror.always = endless
    assert await causes_of(store, make_model(mirror.source)) == [WrongSize]
    assert left_behind(tmp_path) == []
    assert mirror.sent < 10 * len(mirror.content)


@pytest.mark.parametrize(
    "refusal",
    [
        (answer(404), SourceAbsent, 1),
        (answer(403), SourceRefused, 1),
        (answer(200, Content_Encoding="gzip"), SourceRefused, 1),
        (answer(302, Location="http://127.0.0.1/weights"), UnsafeRedirect, 1),
        (answer(302), UnsafeRedirect, 1),
        (answer(302, Location=f"https://{'a' * 64}.example/w"), SourceRefused, 1),
        (answer(302, Location="/models/weights.gguf"), UnsafeRedirect, 6),
    ],
    ids=["absent", "forbidden", "compressed", "to-http", "to-nowhere", "to-no-host", "in-circles"],
)
async def test_refusals_are_not_retried(
    mirror: Mirror,
    store: ModelStore,
    make_model: MakeModel,
    refusal: tuple[Handler, type[SourceError], int],
) -> None:
    """What asking again will not change is asked once, and a redirect followed five times."""
    mirror.always, error, requests = refusal
    assert await causes_of(store, make_model(mirror.source)) == [error]
    assert len(mirror.requests) == requests


async def test_a_source_whose_host_cannot_be_keeps_no_other_from_being_asked(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """Its name is wrong before anybody is asked, by a manifest's own word too."""
    model = make_model(OverHttps(base="https://a..b/models"), mirror.source)
    paths = await store.ensure(model)
    assert paths["weights.gguf"].read_bytes() == mirror.content


async def test_silence_is_a_broken_connection(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """A server that stops sending is left after the read time-out."""
    reached = asyncio.Event()
    mirror.script.append(stall_after(1_000_000, reached))
    await make_store(read_s=0.2).ensure(make_model(mirror.source))
    assert mirror.requests[1].http_range.start > 0


def trickle(closed: asyncio.Event) -> Handler:
    """Send a byte now and then, and tell when the other side has left."""

    async def handler(mirror: Mirror, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        reply.content_length = len(mirror.content)
        await reply.prepare(request)
        try:
            for _ in range(10_000):
                await reply.write(b"x")
                await asyncio.sleep(0.01)
        finally:
            closed.set()
        return reply

    return handler


async def test_a_trickle_is_as_good_as_silence(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """Bytes that come too slowly to ever finish end the connection."""
    closed = asyncio.Event()
    mirror.always = trickle(closed)
    store = make_store(attempts=1, slow_window_s=0.2)
    assert await causes_of(store, make_model(mirror.source)) == [SourceBroken]
    async with asyncio.timeout(20):
        await closed.wait()


async def test_a_trickle_is_no_header_either(mirror: Mirror, trust: ssl.SSLContext) -> None:
    """Who reads a file's first bytes alone asks the next source as soon."""
    closed = asyncio.Event()
    mirror.always = trickle(closed)
    address = mirror.source.address("weights.gguf", Hub())
    limits = dataclasses.replace(QUICK, slow_window_s=0.2)
    async with asyncio.timeout(20), Downloader(limits, trust) as downloader:
        with pytest.raises(SourceBroken, match="bytes in"):
            await downloader.prefix(address, 1_000_000)
        await closed.wait()


async def test_an_untrusted_certificate_is_refused(
    mirror: Mirror, make_model: MakeModel, tmp_path: Path
) -> None:
    """Without trust in the server's certificate nothing is fetched."""
    stranger = ModelStore(tmp_path / "store", limits=Limits(attempts=1))
    assert await causes_of(stranger, make_model(mirror.source)) == [SourceBroken]
    assert mirror.requests == []


async def test_a_hub_without_tls_is_refused(make_store: MakeStore, make_model: MakeModel) -> None:
    """A token never goes over plain HTTP."""
    store = make_store(hub=Hub(endpoint="http://127.0.0.1:1", token="t"))
    model = make_model(OnHuggingFace(repo="org/model", revision="main"))
    assert await causes_of(store, model) == [SourceRefused]
