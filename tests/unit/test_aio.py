"""A limit on time in a task that clears up."""

import asyncio

import pytest

from garage_ai.aio import cleanup_timeout

pytestmark = pytest.mark.anyio


async def ended_by(task: "asyncio.Task[str]", *, cancels: int = 1) -> str:
    """Cancel a task that waits, so often, and give what it says at its end."""
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    return await task


async def test_a_task_that_clears_up_hears_that_the_time_is_over() -> None:
    """Not that it was cancelled, which it knows."""

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                async with cleanup_timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "too late"
        return "never"

    assert await ended_by(asyncio.create_task(work())) == "too late"


async def test_another_cancel_ends_the_clearing_up() -> None:
    """Whoever cancels once more is heard."""

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            async with cleanup_timeout(30):
                await asyncio.Event().wait()
        return "never"

    with pytest.raises(asyncio.CancelledError):
        await ended_by(asyncio.create_task(work()), cancels=2)


async def test_a_task_that_nobody_cancelled() -> None:
    """Hears the same, and goes on where there was time enough."""
    with pytest.raises(TimeoutError):
        async with cleanup_timeout(0.0):
            await asyncio.Event().wait()
    async with cleanup_timeout(30):
        pass
