"""Releases over HTTP: bounded, retried, and never believed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from garage_ai.node.errors import ReleaseAway
from garage_ai.node.update import source as sources
from garage_ai.node.update.release import MAX_PAGE, Release
from garage_ai.node.update.source import Source

pytestmark = pytest.mark.anyio

RELEASE = Release(
    version="1.2.3",
    sha256="a" * 64,
    size=5,
    locks={"node": "b" * 64},
    python="3.11",
    date="2026-11-25",
)


@dataclass
class Shelf:
    """What lies there, and how often it was asked for."""

    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: int = 0
    overloaded: int = 0
    elsewhere: str = ""

    async def give(self, request: web.Request) -> web.StreamResponse:
        """Answer, break off, or send away."""
        name = request.match_info["name"]
        self.asked.append(name)
        if self.elsewhere:
            raise web.HTTPFound(self.elsewhere)
        if self.broken:
            self.broken -= 1
            assert request.transport is not None
            request.transport.close()
        if self.overloaded:
            self.overloaded -= 1
            raise web.HTTPServiceUnavailable
        if name not in self.pages:
            raise web.HTTPNotFound
        return web.Response(body=self.pages[name])


@pytest.fixture
async def shelf(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shelf]:
    """A server of releases on this PC."""
    monkeypatch.setattr(sources, "BREATH_SECONDS", 0.01)
    made = Shelf()
    app = web.Application()
    app.router.add_get("/here/{name}", made.give)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/here"
    yield made
    await runner.cleanup()


async def test_page_and_wheel_are_brought(shelf: Shelf, tmp_path: Path) -> None:
    """From under the address, with a slash at its end or without."""
    shelf.pages = {"latest.json": b"page", RELEASE.wheel: b"wheel"}
    source = Source.of(None, shelf.url)
    assert await source.page() == b"page"
    assert (await source.wheel(RELEASE, tmp_path)).read_bytes() == b"wheel"
    assert await Source.of(None, f"{shelf.url}/").page() == b"page"


async def test_a_version_has_a_page_of_its_own(shelf: Shelf) -> None:
    """One that is not there is told at once."""
    with pytest.raises(ReleaseAway, match=r"garage-ai-9\.9\.9\.json is not there \(HTTP 404\)"):
        await Source.of("9.9.9", shelf.url).page()
    assert shelf.asked == ["garage-ai-9.9.9.json"]


async def test_a_broken_line_is_tried_again(shelf: Shelf) -> None:
    """A few times, not for ever."""
    shelf.pages = {"latest.json": b"page"}
    shelf.broken = 2
    assert await Source.of(None, shelf.url).page() == b"page"
    shelf.broken = 100
    with pytest.raises(ReleaseAway, match="cannot be had"):
        await Source.of(None, shelf.url).page()


async def test_a_server_with_too_much_to_do_is_asked_again(shelf: Shelf) -> None:
    """What says 503 now has it in a moment, unlike what says 404."""
    shelf.pages = {"latest.json": b"page"}
    shelf.overloaded = 2
    assert await Source.of(None, shelf.url).page() == b"page"
    shelf.overloaded = 100
    with pytest.raises(ReleaseAway, match="cannot be had: HTTP 503"):
        await Source.of(None, shelf.url).page()


async def test_nothing_is_longer_than_was_told(shelf: Shelf, tmp_path: Path) -> None:
    """Neither the page nor the wheel fills the PC's memory."""
    shelf.pages = {"latest.json": b"x" * (MAX_PAGE + 1), RELEASE.wheel: b"wheels"}
    source = Source.of(None, shelf.url)
    with pytest.raises(ReleaseAway, match="longer than"):
        await source.page()
    with pytest.raises(ReleaseAway, match="longer than 5 bytes"):
        await source.wheel(RELEASE, tmp_path)
    larger = msgspec.structs.replace(RELEASE, size=6)
    assert (await source.wheel(larger, tmp_path)).read_bytes() == b"wheels"


async def test_a_redirect_into_the_clear_is_not_followed(shelf: Shelf) -> None:
    """It is said where to."""
    shelf.elsewhere = "http://192.0.2.1/evil"
    with pytest.raises(ReleaseAway, match="https only"):
        await Source.of(None, shelf.url).page()
