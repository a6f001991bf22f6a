"""Rigs of a group find each other by multicast DNS (RFC 6762, RFC 6763): needs the extra `lan`.

Each tells the LAN its address under a name that is an HMAC of that address under the group's
secret. Who holds the secret knows whose it is; to others, names of one group are as those of two,
and nobody else can make one. Whoever is found has yet to show who he is, as at any address.
"""

import asyncio
import contextlib
import hmac
import importlib.util
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from garage_ai.aio import cleanup_timeout
from garage_ai.node.errors import NotPossible
from garage_ai.node.group.errors import GroupError
from garage_ai.node.group.folder import HostPort, address

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf

_log = structlog.get_logger(__name__)

KIND: Final = "_garage-ai._tcp.local."
MAX_FOUND: Final = 32
"""Addresses at a time, as many as a list may hold."""

_TTL_SECONDS: Final = 120
"""How long a rig that has gone without a word is still looked for."""

_RESOLVE_MS: Final = 3000
_CLOSE_SECONDS: Final = 5.0
_MAX_ASKED: Final = 64
"""Names of anybody's that are asked about at a time; a LAN has no more rigs than that."""

_MAX_WAITING: Final = 1024
"""Names that wait to be asked about; further ones are not heard."""

_LABEL: Final = b"garage-ai group rig at "


def is_installed() -> bool:
    """Tell whether the extra is there."""
    return importlib.util.find_spec("zeroconf") is not None


def check_installed() -> None:
    """Raises: NotPossible without the extra."""
    if not is_installed():
        raise NotPossible(
            "Finding the other PCs needs the package zeroconf, which is not installed: install the "
            "extra `lan`, or name each with --peer."
        )


def name_of(secret: bytes, place: HostPort) -> str:
    """Give the name under which a rig of the group tells its address. Pure."""
    said = f"{place.host}:{place.port}".encode()
    return hmac.digest(secret, _LABEL + said, "sha256").hex()[:32]


def is_ours(secret: bytes, name: str, place: HostPort) -> bool:
    """Tell whether whoever made this name for this address holds the secret. Pure."""
    return hmac.compare_digest(name_of(secret, place).encode(), name.encode())


class Finder:
    """Tells the LAN where this rig is, and knows where the others are."""

    def __init__(self, own: HostPort, secret: bytes) -> None:
        self._own = own
        self._secret = secret
        self._places: dict[str, HostPort] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, None] = {}
        self._tell: Callable[[HostPort], None] = lambda _: None

    def knows(self, place: HostPort) -> bool:
        """Whether a rig is still there, as far as the LAN knows."""
        return place in self._places.values()

    async def run(self, tell: Callable[[HostPort], None]) -> None:
        """Tell of each place that is found until cancelled. Raises: GroupError."""
        check_installed()
        from zeroconf import IPVersion, NonUniqueNameException
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        self._tell = tell
        host, port = self._own
        name = name_of(self._secret, self._own)
        told = AsyncServiceInfo(
            KIND,
            f"{name}.{KIND}",
            port=port,
            parsed_addresses=[host],
            server=f"{name}.local.",
            host_ttl=_TTL_SECONDS,
            other_ttl=_TTL_SECONDS,
        )
        try:
            lan = AsyncZeroconf(interfaces=[host], ip_version=IPVersion.V4Only)
            try:
                await _done(lan.async_register_service(told))
                browser = AsyncServiceBrowser(lan.zeroconf, KIND, handlers=[self._changed])
                try:
                    await asyncio.Event().wait()
                finally:
                    await self._end(browser.async_cancel)
            finally:
                await self._end(lan.async_close)
        except (OSError, TimeoutError, NonUniqueNameException) as error:
            raise GroupError(
                "The LAN cannot be asked for the group's other PCs at {host}: {error}. Name them "
                "with --peer.",
                host=host,
                error=str(error) or type(error).__name__,
            ) from error

    async def _end(self, close: Callable[[], Awaitable[None]]) -> None:
        self._waiting.clear()
        for task in self._asking.values():
            task.cancel()
        self._places.clear()
        with contextlib.suppress(TimeoutError):
            async with cleanup_timeout(_CLOSE_SECONDS):
                await close()

    def _changed(
        self,
        zeroconf: "Zeroconf",
        service_type: str,
        name: str,
        state_change: "ServiceStateChange",
    ) -> None:
        from zeroconf import ServiceStateChange

        if state_change is ServiceStateChange.Removed:
            self._places.pop(name, None)
            self._waiting.pop(name, None)
        elif name not in self._asking and len(self._waiting) < _MAX_WAITING:
            self._waiting[name] = None
            self._ask_next(zeroconf, service_type)

    def _ask_next(self, zeroconf: "Zeroconf", kind: str) -> None:
        while self._waiting and len(self._asking) < _MAX_ASKED:
            name = next(iter(self._waiting))
            del self._waiting[name]
            task = asyncio.create_task(self._ask(zeroconf, kind, name), name="group-find")
            self._asking[name] = task
            task.add_done_callback(partial(self._asked, zeroconf, kind, name))

    def _asked(self, zeroconf: "Zeroconf", kind: str, name: str, _: "asyncio.Task[None]") -> None:
        self._asking.pop(name, None)
        self._ask_next(zeroconf, kind)

    async def _ask(self, zeroconf: "Zeroconf", kind: str, name: str) -> None:
        """Ask for the address behind a name, which anybody in the LAN may have made."""
        from zeroconf.asyncio import AsyncServiceInfo

        try:
            info = AsyncServiceInfo(kind, name)
            if not await info.async_request(zeroconf, _RESOLVE_MS):
                return
            place = address(f"{info.parsed_addresses()[0]}:{info.port}")
        except Exception as error:  # what a stranger says must end nothing
            _log.info("rig_not_understood", detail=str(error)[:200])
            return
        ours = is_ours(self._secret, name.removesuffix(f".{kind}"), place)
        if ours and place != self._own and len(self._places) < MAX_FOUND:
            self._places[name] = place
            self._tell(place)


async def _done(registering: Awaitable[Awaitable[None]]) -> None:
    """Wait until the LAN has been told."""
    async with asyncio.timeout(_CLOSE_SECONDS * 2):
        await (await registering)


__all__ = ["KIND", "MAX_FOUND", "Finder", "check_installed", "is_installed", "is_ours", "name_of"]
