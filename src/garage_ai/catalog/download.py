"""Bring one file here over HTTPS: the thin shell around the rules in `transfer`."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, Self

import aiohttp

from garage_ai.catalog.errors import SourceBroken, SourceRefused, UnsafeRedirect, WrongSize
from garage_ai.catalog.manifest import ModelFile
from garage_ai.catalog.partial import Origin, Partial
from garage_ai.catalog.sources import Address
from garage_ai.catalog.transfer import (
    REDIRECTS,
    Limits,
    RangeUseless,
    check_prefix,
    redirected,
    request_headers,
    start_of_body,
    strong_etag,
)

_WRITE_BYTES = 1024 * 1024


class Downloader:
    """Downloads files into partial copies; one connection pool, closed with `close`."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self._limits = limits
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect_s, sock_read=limits.read_s
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=True if tls is None else tls),
            timeout=timeout,
            auto_decompress=False,  # a decompressed body has no bound
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=True,  # HTTPS_PROXY, as a volunteer's network may need it
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def fetch(
        self, address: Address, wanted: ModelFile, partial: Partial, report: Callable[[int], None]
    ) -> bool:
        """Continue `partial` until it has the wanted size; True when old bytes were kept.

        Raises SourceError. What arrived before an error stays, unless it is of no use.
        """
        if not address.url.startswith("https://"):
            raise SourceRefused("weights are fetched over https only")
        offset = partial.size
        if offset == wanted.size:
            return True
        if offset > wanted.size:
            partial.discard()
            offset = 0
        try:
            with _source_errors(address):
                return await self._continue(address, wanted, partial, offset, report)
        except RangeUseless:
            partial.discard()
            raise

    async def prefix(self, address: Address, size: int) -> bytes:
        """Read a file's first bytes, no more than `size` of them, whatever is sent.

        Raises SourceError.
        """
        if not address.url.startswith("https://"):
            raise SourceRefused("a model's header is fetched over https only")
        headers = {**request_headers(address, 0, None), "Range": f"bytes=0-{size - 1}"}
        with _source_errors(address):
            async with self._open(address, headers) as answer:
                check_prefix(answer.status, answer.headers, _host(address))
                return await _first(answer.content, size, _Pace(self._limits, 0))

    async def _continue(
        self,
        address: Address,
        wanted: ModelFile,
        partial: Partial,
        offset: int,
        report: Callable[[int], None],
    ) -> bool:
        headers = request_headers(address, offset, partial.origin)
        async with self._open(address, headers) as answer:
            place = _host(address)
            start = start_of_body(answer.status, answer.headers, offset, wanted.size, place)
            origin = Origin(address.url, strong_etag(answer.headers))
            if start and _is_another(partial.origin, origin):
                raise RangeUseless(f"{place} has another file by now")
            try:
                with partial.begin(start, origin) as file:
                    done = await self._copy(answer, file, start, wanted, report)
            except WrongSize:
                partial.discard()
                raise
        if done < wanted.size:
            raise SourceBroken(f"{place} ended after {done} of {wanted.size} bytes")
        return start > 0

    @asynccontextmanager
    async def _open(
        self, address: Address, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request and follow redirects by our rules, not by the library's."""
        for _ in range(self._limits.redirects + 1):
            async with self._session.get(
                address.url, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status not in REDIRECTS:
                    yield answer
                    return
                address = redirected(address, answer.headers.get("Location"), _host(address))
                if not address.token:
                    headers.pop("Authorization", None)
        raise UnsafeRedirect(f"{_host(address)} redirects without end")

    async def _copy(
        self,
        answer: aiohttp.ClientResponse,
        file: BinaryIO,
        done: int,
        wanted: ModelFile,
        report: Callable[[int], None],
    ) -> int:
        """Write the body, never past the wanted size, and return where the file ends."""
        held = bytearray()
        pace = _Pace(self._limits, done)
        report(done)
        try:
            async for chunk in answer.content.iter_chunked(_WRITE_BYTES):
                done += len(chunk)
                if done > wanted.size:
                    raise WrongSize(f"{answer.host} sends more than {wanted.size} bytes")
                held += chunk
                if len(held) >= _WRITE_BYTES:
                    block, held = held, bytearray()
                    await asyncio.to_thread(file.write, block)
                pace.check(done)
                report(done)
        finally:
            file.write(held)  # at most one block: what came before an error is not lost
        return done


async def _first(content: aiohttp.StreamReader, size: int, pace: "_Pace") -> bytes:
    held = bytearray()
    async for chunk in content.iter_chunked(_WRITE_BYTES):
        held += chunk
        if len(held) >= size:
            break
        pace.check(len(held))
    return bytes(held[:size])


class _Pace:
    """Refuses a trickle: each window must bring some bytes."""

    def __init__(self, limits: Limits, done: int) -> None:
        self._limits = limits
        self._since, self._base = time.monotonic(), done

    def check(self, done: int) -> None:
        now = time.monotonic()
        if now - self._since < self._limits.slow_window_s:
            return
        if done - self._base < self._limits.slow_bytes:
            raise SourceBroken(f"only {done - self._base} bytes in {now - self._since:.0f} s")
        self._since, self._base = now, done


def _is_another(known: Origin | None, now: Origin) -> bool:
    """Two strong ETags of one address differ: the server ignored If-Range."""
    return bool(
        known and known.url == now.url and known.etag and now.etag and known.etag != now.etag
    )


@contextmanager
def _source_errors(address: Address) -> Iterator[None]:
    """Turn what the client and the network say into a fault of the source. Raises: SourceError."""
    try:
        yield
    except UnicodeError as error:
        # Looking up `a..b`, or a label of more than 63 letters, fails before anybody is asked.
        raise SourceRefused(f"{_host(address)} names a host that cannot be") from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError) as error:
        told = str(error) or type(error).__name__
        raise SourceBroken(f"{_host(address)} failed: {told}") from error


def _host(address: Address) -> str:
    """Name the place without its path, which may carry a signature, and without a password."""
    return address.url.split("/", 3)[2].rpartition("@")[2]


__all__ = ["Downloader"]
