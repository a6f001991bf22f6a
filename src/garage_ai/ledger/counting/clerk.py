"""Who keeps the process that counts: sends it orders, waits for them a while, starts it anew.

Orders of a few milliseconds go as one packet: so the event loop is woken and writes once for all of
them, and a request costs it a few microseconds. Of large requests one piece waits at a time, so
others are counted in between. A model whose requests ended the process several times is not counted
by it for a while.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeVar

import structlog

from garage_ai.aio import cleanup_timeout
from garage_ai.ledger.counting.orders import Ask, Count, Load, Order, Refused, Replies, packed
from garage_ai.ledger.counting.pieces import added_up, is_large, pieces_of

_log = structlog.get_logger(__name__)

COUNT_SECONDS: Final = 1.0
"""Longest wait for a count: a usage record waits as long, a large one's for each piece."""
LOAD_SECONDS: Final = 40.0
CLOSE_SECONDS: Final = 0.5
"""Longest wait for counts under way when the gateway ends."""
END_SECONDS: Final = 0.3
LINGER_SECONDS: Final = 0.005
"""How long an order waits for company."""
BATCH: Final = 64
MAX_WAITING: Final = 1000
"""Counts under way; the process counts about as many in a second."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the requests that wait to be counted."""
MAX_ABSENT: Final = 10_000
"""Models that are known to have no tokenizer here, and of which the process is not asked again."""
STRIKES: Final = 3
"""How often a model's requests may end the process within STRIKE_SECONDS."""
STRIKE_SECONDS: Final = 600.0
"""How long that is held against a model: each costs all models the seconds of a new start."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0
_READ: Final = 64 * 1024

Reason = Literal["absent", "late", "overloaded", "refused", "broken"]
"""Why no tokenizer counted a request."""
Done = Callable[[Count | Reason], None]

_T = TypeVar("_T")


def result_of(future: "asyncio.Future[_T]") -> Callable[[_T], None]:
    """Give what tells a future its result, if anybody still waits for it."""

    def tell(result: _T) -> None:
        if not future.done():
            future.set_result(result)

    return tell


class _Waiting:
    """An order and who waits for its reply; nobody does once it came too late."""

    __slots__ = ("digest", "done", "size", "until")

    def __init__(self, digest: str, size: int, until: float, done: Done) -> None:
        self.digest, self.size, self.until = digest, size, until
        self.done: Done | None = done

    def tell(self, what: Count | Reason) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(what)


class Clerk:
    """The process that counts, as the gateway sees it. All belongs to the event loop's thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._orders: list[Order] = []
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._large: set[asyncio.Task[Count | Reason]] = set()
        self._one_large = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._absent: set[str] = set()
        self._strikes: dict[str, deque[float]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._up, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, folder: Path) -> "Clerk":
        """Start the process on the running loop; `close` ends it."""
        clerk = cls(folder)
        clerk._task = asyncio.create_task(clerk._run(), name="counting")
        return clerk

    @property
    def waiting(self) -> int:
        """Orders and large requests that were not answered yet."""
        return len(self._waiting) + len(self._large)

    def lacks(self, digest: str) -> bool:
        """Tell whether a model is known to have no tokenizer here."""
        return digest in self._absent

    def count(self, order: Ask, done: Done) -> None:
        """Have a request counted; `done` hears the count, or why there is none, exactly once."""
        size = len(order.body) + sum(map(len, order.texts))
        if self.waiting >= MAX_WAITING or self._bytes + size > MAX_BYTES:
            done("overloaded")
        elif is_large(order):
            self._count_large(order, size, done)
        else:
            self._ask(order, size, done)

    def _ask(self, order: Ask, size: int, done: Done) -> None:
        if self._process is None or self._is_out(order.digest):
            done("broken")
        else:
            self._put(order, _Waiting(order.digest, size, self._loop.time() + COUNT_SECONDS, done))

    def _is_out(self, digest: str) -> bool:
        ended = self._strikes.get(digest)
        if ended is None or len(ended) < STRIKES:
            return False
        return self._loop.time() - ended[0] < STRIKE_SECONDS

    def _count_large(self, order: Ask, size: int, done: Done) -> None:
        def ended(task: asyncio.Task[Count | Reason]) -> None:
            self._large.discard(task)
            self._bytes -= size
            self._rest()
            failed = task.cancelled() or task.exception() is not None
            done("broken" if failed else task.result())

        task = asyncio.create_task(self._in_pieces(order), name="counting_pieces")
        self._large.add(task)
        self._bytes += size
        self._idle.clear()
        task.add_done_callback(ended)

    async def _in_pieces(self, order: Ask) -> Count | Reason:
        counts: list[Count] = []
        async with self._one_large:
            for piece in await asyncio.to_thread(pieces_of, order):
                future: asyncio.Future[Count | Reason] = self._loop.create_future()
                self._ask(piece, 0, result_of(future))
                what = await future
                if not isinstance(what, Count):
                    return what
                counts.append(what)
        return added_up(counts, order)

    async def load(self, digest: str) -> bool:
        """Have a tokenizer made ready; tell whether it can be used."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOAD_SECONDS):
                await self._up.wait()
        if self._process is None:
            return False
        future: asyncio.Future[Count | Reason] = self._loop.create_future()
        until = self._loop.time() + LOAD_SECONDS
        self._put(Load(digest), _Waiting(digest, 0, until, result_of(future)))
        loaded = isinstance(await future, Count)
        # Replies come in turn: none from before can say again that it is absent.
        self._absent.discard(digest)
        return loaded

    async def close(self) -> None:
        """End the process, once it has answered or is late; nobody waits for it after that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._give_up()
        if large := set(self._large):
            for task in large:
                task.cancel()
            await asyncio.wait(large)

    def _put(self, order: Order, waiting: _Waiting) -> None:
        if not self._orders:
            self._loop.call_later(LINGER_SECONDS, self._send)
        self._orders.append(order)
        self._waiting.append(waiting)
        self._idle.clear()
        self._bytes += waiting.size
        if self._timer is None or waiting.until < self._timer.when():
            self._look_at(waiting.until)
        if len(self._orders) >= BATCH:
            self._send()

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._tell_late)

    def _tell_late(self) -> None:
        self._timer, now = None, self._loop.time()
        for each in [each for each in self._waiting if each.until <= now]:
            each.tell("late")
        asked = [each.until for each in self._waiting if each.done is not None]
        if asked:
            self._look_at(min(asked))

    def _send(self) -> None:
        orders, self._orders = self._orders, []
        stdin = self._process.stdin if self._process is not None else None
        if orders and stdin is not None and not stdin.is_closing():
            stdin.write(packed(orders))

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing:
            began = self._loop.time()
            try:
                await self._live()
            except OSError as error:
                _log.warning("counting_not_started", detail=str(error))
            except Exception:  # without this task nothing would ever be counted again
                _log.exception("counting_failed")
            self._give_up()
            lasted = self._loop.time() - began
            pause = _FIRST_PAUSE if lasted > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """Run the process until it ends, and take its replies."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "garage_ai.ledger.counting.process", str(self._folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ},
        )
        self._up.set()
        try:
            await self._take_replies(process)
        finally:
            self._up.clear()
            self._process = None
            status = await _ended(process)
        _log.warning("counting_ended", status=status, waiting=len(self._waiting))

    async def _take_replies(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was started with one
        replies = Replies()
        while data := await process.stdout.read(_READ):
            for reply in replies.feed(data):
                self._take(reply)

    def _take(self, reply: Count | Refused) -> None:
        waiting = self._waiting.popleft()
        self._bytes -= waiting.size
        self._rest()
        if isinstance(reply, Count):
            waiting.tell(reply)
            return
        _log.debug("not_counted", digest=waiting.digest, code=reply.code)
        if reply.code != "tokenizer_absent":
            waiting.tell("refused")
            return
        if len(self._absent) < MAX_ABSENT:
            self._absent.add(waiting.digest)
        waiting.tell("absent")

    def _rest(self) -> None:
        if not self.waiting:
            self._idle.set()

    def _give_up(self) -> None:
        """Let nobody wait for a process that is gone; the first it had was what ended it."""
        waiting, self._waiting = self._waiting, deque()
        self._bytes -= sum(each.size for each in waiting)
        self._orders = []
        self._rest()
        if waiting and not self._closing:
            ended = self._strikes.setdefault(waiting[0].digest, deque(maxlen=STRIKES))
            ended.append(self._loop.time())
        for each in waiting:
            each.tell("broken")


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Let a process end with its stdin, or make it; one that has ended already is not signalled."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with cleanup_timeout(END_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


__all__ = [
    "COUNT_SECONDS",
    "MAX_BYTES",
    "MAX_WAITING",
    "STRIKES",
    "STRIKE_SECONDS",
    "Clerk",
    "Done",
    "Reason",
    "result_of",
]
