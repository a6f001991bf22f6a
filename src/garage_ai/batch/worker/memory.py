"""How many bytes of lines are held at once: whoever has waited longest goes first.

A node's slots say how many items run, not how long they are: a few hundred lines of some megabytes
would be more than a small gateway has.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Memory:
    """Room for so many bytes; what is longer than all of it has it alone."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Have room for so many bytes within a block; waits for it in turn."""
        size = min(size, self._most)
        await self._take(size)
        try:
            yield
        finally:
            self._give(size)

    async def _take(self, size: int) -> None:
        if not self._waiting and self.held + size <= self._most:
            self.held += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # It may have had its turn and been cancelled before it ran.
            self._give(0 if turn.cancelled() else size)
            raise

    def _give(self, size: int) -> None:
        self.held -= size
        while self._waiting:
            needed, turn = self._waiting[0]
            if not turn.cancelled():
                if self.held + needed > self._most:
                    return
                self.held += needed
                turn.set_result(None)
            self._waiting.popleft()


__all__ = ["Memory"]
