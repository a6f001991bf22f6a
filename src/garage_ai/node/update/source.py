"""Where releases come from: a folder, or an address; neither is trusted."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from garage_ai.node.errors import ReleaseAway
from garage_ai.node.update.release import MAX_PAGE, MAX_WHEEL, Release, page_name
from garage_ai.wire.hosts import is_loopback

LATEST: Final = "latest.json"
PAGE_SECONDS: Final = 30.0
WHEEL_SECONDS: Final = 600.0
TRIES: Final = 3
BREATH_SECONDS: Final = 1.0
"""Before the second try, more or less; before the third twice as long."""

REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TOO_MANY: Final = 429
_BLOCK: Final = 1 << 20


class Source:
    """One folder or HTTPS address with releases in it; `page` is the one that is wanted."""

    def __init__(self, place: str, page: str) -> None:
        self._place = place
        self._page = page

    @classmethod
    def of(cls, wanted: str | None, place: str | None) -> "Source":
        """Find what the owner means: a file, a version, or the newest. Raises: ReleaseAway."""
        if wanted is not None and wanted.endswith(".json"):
            path = Path(wanted).expanduser().absolute()
            return cls(str(path.parent), path.name)
        if not place:
            raise ReleaseAway(
                "No place with releases is known. Name a file (--to FILE.json), or the place: "
                "GAI_RELEASES=URL"
            )
        if not _is_address(place):
            place = str(Path(place).expanduser().absolute())
        return cls(place, LATEST if wanted is None else page_name(wanted))

    async def page(self) -> bytes:
        """Give the text that describes the release. Raises: ReleaseAway."""
        if not _is_address(self._place):
            return await asyncio.to_thread(_read, Path(self._place) / self._page, MAX_PAGE)
        body = bytearray()
        await self._fetch(self._page, MAX_PAGE, PAGE_SECONDS, body)
        return bytes(body)

    async def wheel(self, release: Release, into: Path) -> Path:
        """Bring the wheel into a folder; what it is has yet to be checked. Raises: ReleaseAway."""
        body = bytearray()
        if _is_address(self._place):
            await self._fetch(release.wheel, release.size, WHEEL_SECONDS, body)
        else:
            body += await asyncio.to_thread(_read, Path(self._place) / release.wheel, MAX_WHEEL)
        path = into / release.wheel
        await asyncio.to_thread(path.write_bytes, body)
        return path

    async def _fetch(self, name: str, most: int, seconds: float, body: bytearray) -> None:
        base = self._place if self._place.endswith("/") else self._place + "/"
        address = urljoin(base, name)
        for number in range(1, TRIES + 1):
            body.clear()
            try:
                async with asyncio.timeout(seconds):
                    await _get(address, most, body)
                return
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                words = str(error) or "no answer in time"
                if number == TRIES:
                    raise ReleaseAway(
                        "{address} cannot be had: {words}", address=address, words=words[:200]
                    ) from error
            await asyncio.sleep(BREATH_SECONDS * number * (0.5 + random.random()))  # noqa: S311


async def _get(address: str, most: int, body: bytearray) -> None:
    """Read one page of at most so many bytes. Raises: ReleaseAway, aiohttp.ClientError."""
    timeout = aiohttp.ClientTimeout(sock_connect=15.0, sock_read=30.0)
    async with (
        aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
        ) as session,
        _followed(session, address) as response,
    ):
        if response.status == _TOO_MANY or response.status >= 500:
            raise aiohttp.ClientError(f"HTTP {response.status}")
        if response.status != 200:
            raise ReleaseAway(
                "{address} is not there (HTTP {answered}).",
                address=address,
                answered=response.status,
            )
        async for block in response.content.iter_chunked(_BLOCK):
            body += block
            if len(body) > most:
                raise ReleaseAway("{file} is longer than {most} bytes.", file=address, most=most)


@contextlib.asynccontextmanager
async def _followed(
    session: aiohttp.ClientSession, address: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open an address, each step of the way there checked before it is taken."""
    for _ in range(REDIRECTS):
        _check_address(address)
        async with session.get(address, allow_redirects=False) as response:
            onward = response.headers.get("Location")
            if response.status not in _REDIRECTS or onward is None:
                yield response
                return
        address = urljoin(address, onward)
    raise ReleaseAway("{address} leads on without end.", address=address[:200])


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ReleaseAway(
            "Releases are fetched over https only, not from {address}.", address=address[:200]
        )


def _is_address(place: str) -> bool:
    return "://" in place


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            body = file.read(most + 1)
    except OSError as error:
        raise ReleaseAway(
            "{file} cannot be read: {error}", file=path, error=error.strerror
        ) from error
    if len(body) > most:
        raise ReleaseAway("{file} is longer than {most} bytes.", file=path, most=most)
    return body


__all__ = ["LATEST", "Source"]
