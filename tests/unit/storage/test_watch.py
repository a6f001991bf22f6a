"""A watch looks again and again, whatever becomes of a look."""

import asyncio

import pytest
import structlog.testing

from garage_ai.storage import DatabaseUnreachable
from garage_ai.storage.watch import Watch

pytestmark = pytest.mark.anyio


class Rows:
    """What is looked for; `away` fails a look."""

    def __init__(self) -> None:
        self.looks = 0
        self.away: Exception | None = None
        self._looked = asyncio.Condition()

    async def look(self) -> None:
        async with self._looked:
            self.looks += 1
            self._looked.notify_all()
        if self.away is not None:
            raise self.away

    async def after(self, more: int) -> None:
        until = self.looks + more
        async with asyncio.timeout(20), self._looked:
            await self._looked.wait_for(lambda: self.looks >= until)


async def test_it_goes_on_past_what_fails_and_tells_once() -> None:
    """Each failure in a row is counted, the first is logged; afterwards all is as before."""
    rows = Rows()
    watch = Watch(rows.look, "rows", 0.001)
    watch.start()
    with structlog.testing.capture_logs() as logs:
        await rows.after(2)
        assert (watch.failures, watch.failing) == (0, False)
        for error in (DatabaseUnreachable("away"), ValueError("odd")):
            rows.away = error
            await rows.after(3)
            assert watch.failing
            rows.away = None
            await rows.after(2)
            assert not watch.failing
    told = [(each["event"], each["code"]) for each in logs]
    assert told == [
        ("rows_not_refreshed", DatabaseUnreachable.code),
        ("rows_not_refreshed", "ValueError"),
    ]
    assert watch.failures >= 4
    await watch.close()
    looks = rows.looks
    await asyncio.sleep(0)
    assert rows.looks == looks


async def test_who_wants_a_look_gets_it_soon() -> None:
    """Long before the next one is due, but not at once for each who asks."""
    rows = Rows()
    watch = Watch(rows.look, "rows", 3600)
    watch.start()
    for _ in range(100):
        watch.wake()
    await rows.after(1)
    watch.wake()
    await rows.after(1)
    assert rows.looks == 2
    await watch.close()


async def test_one_that_never_began_closes() -> None:
    """Where opening failed in between."""
    rows = Rows()
    await Watch(rows.look, "rows").close()
    assert rows.looks == 0
