"""A link to NATS that comes back by itself, for gateway and node alike.

States: connecting → connected → connecting → …; `refused` is connecting with credentials that the
server turned down, tried again more slowly; `closed` is the end.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal

import structlog

from garage_ai.wire.link_errors import (
    HandlerFailed,
    LinkDown,
    LinkError,
    LinkLost,
    PermissionDenied,
    Refused,
)
from garage_ai.wire.session import Credentials, Handler, Message, Session, Wanted, ordered_urls

_log = structlog.get_logger(__name__)

LinkState = Literal["connecting", "connected", "refused", "closed"]

OPEN_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 5.0
_HIGH_WATER: Final = 1024 * 1024
_RELIEF_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between rounds over all addresses: doubling from `first` to `cap`, with jitter.

    Refused credentials wait at least `refused`: they rarely heal within a second.
    """

    first: float = 0.1
    cap: float = 5.0
    refused: float = 2.0

    def delay(self, failures: int, *, refused: bool, jitter: float) -> float:
        """Give the wait after so many failed rounds in a row; `jitter` in [0, 1)."""
        if failures == 0:
            return 0.0
        base = min(self.cap, self.first * 2.0 ** min(failures - 1, 30))
        return max(base, self.refused if refused else 0.0) * (0.5 + 0.5 * jitter)


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Listeners:
    """What the owner wants to be told, on the event loop; each must be short."""

    on_connect: Callable[[str], None] = _nothing
    """Connected, at first and again, with the address; subscriptions are in place already."""
    on_disconnect: Callable[[LinkError], None] = _nothing
    """The connection ended; the link goes on trying."""
    on_error: Callable[[LinkError], None] = _nothing
    """An attempt failed, a permission was missing, a handler raised."""


class Subscription:
    """Something heard; survives reconnects until it is closed."""

    __slots__ = ("_close", "subject")

    def __init__(self, subject: str, close: Callable[[], "asyncio.Future[None]"]) -> None:
        self.subject = subject
        self._close = close

    async def close(self) -> None:
        """Hear no more; no handler call follows."""
        await self._close()


class Connection:
    """A link that is either up or being brought up again, until it is closed."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        credentials: Credentials,
        name: str,
        tls: ssl.SSLContext | None = None,
        listeners: Listeners | None = None,
        backoff: Backoff | None = None,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        self._urls = ordered_urls(urls)
        self._credentials = credentials
        self._name = name
        self._tls = tls
        self._listeners = listeners or Listeners()
        self._backoff = backoff or Backoff()
        self._open_seconds = open_seconds
        self._random = random.SystemRandom()
        self._numbers = count(1)
        self._wanted: dict[int, Wanted] = {}
        self._session: Session | None = None
        self._state: LinkState = "connecting"
        self._changed = asyncio.Event()
        self._last_error: LinkError | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def state(self) -> LinkState:
        """Where the link stands now."""
        return self._state

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._session is not None

    @property
    def url(self) -> str | None:
        """The address connected to, or None."""
        return self._session.url if self._session else None

    @property
    def last_error(self) -> LinkError | None:
        """The error that ended the last attempt or connection; None once connected again."""
        return self._last_error

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a message without waiting: about two microseconds.

        The subject must come from `subjects`; nothing is checked here.
        Raises: LinkDown, LinkCongested, PayloadTooLarge.
        """
        session = self._session
        if session is None:
            raise LinkDown("not connected to NATS")
        session.send(subject, payload, reply)

    @property
    def congested(self) -> bool:
        """Whether more than 1 MiB waits for the socket; a bulk sender then awaits `relief`."""
        return self._session is not None and self._session.buffered > _HIGH_WATER

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Hear a subject, now and after every reconnect."""
        number = next(self._numbers)
        wanted = self._wanted[number] = Wanted(subject, handler)
        session = self._session
        if session is not None:
            # If the session dies here, the next one subscribes from `_wanted`.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.subscribe(number, wanted), FLUSH_SECONDS)
        return Subscription(subject, lambda: asyncio.ensure_future(self._unsubscribe(number)))

    async def _unsubscribe(self, number: int) -> None:
        self._wanted.pop(number, None)
        session = self._session
        if session is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.unsubscribe(number), FLUSH_SECONDS)

    async def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until the server has read all that was published. Raises: LinkDown, LinkLost."""
        session = self._session
        if session is None:
            raise LinkDown("not connected to NATS")
        await session.flush(seconds)

    async def relief(self) -> None:
        """Wait while it is congested, however slow the line is; one that is lost is not congested.

        Whoever waits sees to a limit of its own.
        """
        while self.congested:  # noqa: ASYNC110 - no transport tells when
            await asyncio.sleep(_RELIEF_SECONDS)

    async def wait_connected(self, seconds: float | None = None) -> None:
        """Wait until the link is up. Raises: LinkError, the last one met, after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self.is_connected:
                    if self._state == "closed":
                        raise LinkDown("the link is closed")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise (self._last_error or LinkDown("not connected in time")) from error

    async def reconnect(self) -> None:
        """Connect anew at once, with credentials read anew: how a renewed JWT comes into force."""
        session, self._session = self._session, None
        if session is not None:
            self._become("connecting")
            await session.close()

    def redirect(self, urls: Sequence[str]) -> None:
        """Dial these addresses from the next attempt on. Raises: ValueError without an address."""
        self._urls = ordered_urls(urls)

    def start(self) -> None:
        """Begin connecting in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"nats-link-{self._name}")

    async def close(self) -> None:
        """Close for good; idempotent, two seconds at most for a server that does not answer."""
        self._closing = True
        task, self._task = self._task, None
        while task is not None and not task.done():
            # More than once: nats-py and `wait_for` (Python 3.11) may swallow a cancellation.
            task.cancel()
            await asyncio.wait({task}, timeout=0.5)
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._state != "closed":
            self._become("closed")

    async def _run(self) -> None:
        failures = 0
        while not self._closing:
            refused = self._state == "refused"
            jitter = self._random.random()
            await asyncio.sleep(self._backoff.delay(failures, refused=refused, jitter=jitter))
            session = await self._dial_round()
            if session is None:
                failures += 1
                continue
            started = asyncio.get_running_loop().time()
            await self._serve(session)
            # A server that takes us and drops us at once is not to be hammered.
            lived = asyncio.get_running_loop().time() - started
            steady = session.closed_here or lived > self._backoff.cap
            failures = 0 if steady else failures + 1

    async def _dial_round(self) -> Session | None:
        """Try each address once, in order."""
        for url in self._urls:
            if self._closing:
                return None
            session = Session(url, self._report)
            try:
                await session.open(
                    self._credentials, self._tls, self._name, self._wanted, self._open_seconds
                )
            except LinkError as error:
                self._become("refused" if isinstance(error, Refused) else "connecting")
                self._report(error)
                continue
            except asyncio.CancelledError:
                await session.close()
                raise
            return session
        return None

    async def _serve(self, session: Session) -> None:
        self._session = session
        self._last_error = None
        self._become("connected")
        _log.info("nats_connected", url=session.url, name=self._name)
        self._tell(self._listeners.on_connect, session.url)
        await session.ended.wait()
        error = session.reason or LinkLost(session.url)
        self._session = None
        self._last_error = error
        self._become("refused" if isinstance(error, Refused) else "connecting")
        _log.warning("nats_disconnected", url=session.url, code=error.code, name=self._name)
        self._tell(self._listeners.on_disconnect, error)

    def _report(self, error: LinkError) -> None:
        if not self.is_connected:
            self._last_error = error
        if isinstance(error, HandlerFailed | PermissionDenied):
            # A fault of ours: what was heard or to be said is lost, and no one else tells of it.
            cause = error.__cause__
            _log.error(
                "link_misused", code=error.code, detail=str(error), name=self._name, exc_info=cause
            )
        else:
            _log.debug("nats_error", code=error.code, detail=str(error), name=self._name)
        self._tell(self._listeners.on_error, error)

    def _become(self, state: LinkState) -> None:
        self._state = state
        self._changed.set()

    def _tell(self, listener: Callable[..., None], *what: object) -> None:
        try:
            listener(*what)
        except Exception:
            _log.exception("nats_listener_failed", name=self._name)


async def connect(
    urls: Sequence[str],
    *,
    credentials: Credentials,
    name: str,
    tls: ssl.SSLContext | None = None,
    listeners: Listeners | None = None,
    backoff: Backoff | None = None,
    give_up_after: float | None = None,
) -> Connection:
    """Open a link to the first of the addresses that takes us.

    Addresses (`nats://`, `tls://`, `ws://`, `wss://`) are tried in their order, and from the first
    again after a loss. Without `give_up_after` (seconds) it tries for ever.
    Raises: LinkError, the last one met, when given up; ValueError without an address.
    """
    link = Connection(
        urls, credentials=credentials, name=name, tls=tls, listeners=listeners, backoff=backoff
    )
    link.start()
    try:
        await link.wait_connected(give_up_after)
    except BaseException:
        await link.close()
        raise
    return link


__all__ = [
    "Backoff",
    "Connection",
    "Credentials",
    "Handler",
    "LinkState",
    "Listeners",
    "Message",
    "Subscription",
    "connect",
]
