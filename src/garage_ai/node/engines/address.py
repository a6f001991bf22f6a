"""Where an engine listens, and how to get there."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, urlsplit

from aiohappyeyeballs import start_connection

from garage_ai.node.engines.http_connection import HttpConnection

_PORTS: Final = {"http": 80, "https": 443}
_HEAD_START: Final = 0.25
"""Seconds one address of a name has before the next is tried beside it (RFC 8305)."""

_IN_PATHS: Final = "/%:@!$&'()*+,;=~"


class Address:
    """`base` is `http(s)://host[:port][/prefix]`; sockets stand behind `unix`, else it is dialled.

    `authority` is what engines are called in a request, `prefix` stands before their paths.
    """

    def __init__(self, base: str, unix: Callable[[], str] | None = None) -> None:
        parts = urlsplit(base)
        self._unix = unix
        self._host = (parts.hostname or "").rstrip(".")
        self._port = parts.port or _PORTS[parts.scheme]
        self._secure = parts.scheme == "https"
        self._tls: ssl.SSLContext | None = None
        self.authority = _ascii(parts.netloc)
        self.prefix = quote(parts.path.rstrip("/"), safe=_IN_PATHS)

    async def connect(self, make: Callable[[], HttpConnection]) -> HttpConnection:
        """Open a connection. Raises: OSError; it has no time limit of its own."""
        loop = asyncio.get_running_loop()
        if self._unix is not None:
            with own_socket(self._unix()) as path:
                _, connection = await loop.create_unix_connection(make, path)
        elif _is_literal(self._host):
            _, connection = await loop.create_connection(
                make, self._host, self._port, ssl=self._context()
            )
        else:
            connection = await self._by_name(loop, make)
        return connection

    async def _by_name(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], HttpConnection]
    ) -> HttpConnection:
        """Try the addresses of a name side by side; uvloop by itself tries one after the other."""
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        dialled = await start_connection(found, happy_eyeballs_delay=_HEAD_START)
        try:
            _, connection = await loop.create_connection(
                make,
                sock=dialled,
                ssl=self._context(),
                server_hostname=self._host if self._secure else None,
            )
        except BaseException:
            dialled.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext | None:
        if self._secure and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


@contextlib.contextmanager
def own_socket(path: str) -> Iterator[str]:
    """Name the socket itself: where an engine may write it could lay a link to another's.

    Raises: OSError.
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(netloc: str) -> str:
    """Spell a name as it is asked for in the DNS. Raises: UnicodeError if it cannot be one."""
    return netloc if netloc.isascii() else netloc.encode("idna").decode("ascii")


__all__ = ["Address", "own_socket"]
