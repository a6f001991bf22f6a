"""Pages of prices over real HTTP."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.parts.pieces import its_reader_has_it

from garage_ai.node.guard.readers import electricity
from garage_ai.node.guard.readers.electricity import NotFetched, fetch_page

pytestmark = pytest.mark.anyio


OVER = web.AppKey("over", asyncio.Event)


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="[1]")


async def _in_pieces(request: web.Request) -> web.StreamResponse:
    """Send a page as a network does: some of it, and the rest after the first was read."""
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"[1", b", 2", b"]"):
        await response.write(piece)
        await its_reader_has_it()
    return response


async def _moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/page")


async def _long(_: web.Request) -> web.Response:
    return web.Response(body=b" " * 1_000_000)


async def _slow(request: web.Request) -> web.Response:
    await request.app[OVER].wait()
    return web.Response(text="[1]")


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A site that answers in several ways."""
    app = web.Application()
    over = app[OVER] = asyncio.Event()
    pages = {"page": _page, "pieces": _in_pieces, "moved": _moved, "long": _long, "slow": _slow}
    for name, handler in pages.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    over.set()
    await runner.cleanup()


async def test_fetches_a_page(site: str) -> None:
    """As it is."""
    assert await fetch_page(f"{site}/page") == b"[1]"


async def test_fetches_a_page_that_comes_in_pieces(site: str) -> None:
    """A day of quarters is longer than what one packet carries."""
    assert await fetch_page(f"{site}/pieces") == b"[1, 2]"


@pytest.mark.parametrize("name", ["moved", "long", "missing", "slow"])
async def test_what_is_no_page_of_prices_is_not_fetched(
    site: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No redirect is followed, and size and time are bounded."""
    monkeypatch.setattr(electricity, "FETCH_SECONDS", 0.5)
    with pytest.raises(NotFetched):
        await fetch_page(f"{site}/{name}")


async def test_a_site_that_is_away_is_not_reached() -> None:
    """Nobody listens there."""
    with pytest.raises(NotFetched, match="not reached"):
        await fetch_page("http://127.0.0.1:1/page")
