"""How many bytes of lines and answers are held at once: whoever has waited longest goes first.

A node's slots say how many items run, not how long they are: a few hundred lines of some megabytes
would be more than a small gateway has, and so would their answers while the database is away. An
answer's length is known when it is there. So nothing begins where there is no room, and where
answers have grown beyond it only the eldest is read on: it is over one day, and makes room. One of
which nothing has come yet may be waiting for a slot that the others hold, and is none of them.
"""

import asyncio
from collections import deque
from typing import Self


class Held:
    """What one item holds, until it is given back."""

    def __init__(self, memory: "Memory", size: int) -> None:
        self._memory = memory
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def grow(self, size: int) -> None:
        """Hold so many bytes more, which are there already; waits until more may come."""
        self._size += size
        await self._memory.grown(self, size)

    def release(self) -> None:
        """Give all of it back; harmless when that was done."""
        size, self._size = self._size, 0
        self._memory.give(self, size)


class Memory:
    """Room for so many bytes; a line that is longer than all of it has it alone."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._holders: dict[Held, bool] = {}  # the eldest first; whether its answer has begun
        self._waiting: deque[tuple[int, asyncio.Future[Held]]] = deque()
        self._growing: dict[Held, asyncio.Future[None]] = {}

    async def hold(self, size: int) -> Held:
        """Have room for so many bytes; waits for it in turn."""
        size = min(size, self._most)
        if not self._waiting and self.held + size <= self._most:
            return self._take(size)
        turn: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            # It may have had its turn and been cancelled before it ran.
            if turn.cancelled():
                self._go_on()
            else:
                turn.result().release()
            raise

    async def grown(self, held: Held, size: int) -> None:
        """Take note that somebody holds more, who goes on when there is room or he is eldest."""
        self.held += size
        self._holders[held] = True
        if self.held <= self._most or held is self._eldest:
            return
        turn = self._growing[held] = asyncio.get_running_loop().create_future()
        try:
            await turn
        finally:
            self._growing.pop(held, None)

    def give(self, held: Held, size: int) -> None:
        """Take room back, and let others have it."""
        self.held -= size
        self._holders.pop(held, None)
        self._go_on()

    @property
    def _eldest(self) -> Held | None:
        """Give the eldest whose answer has begun."""
        return next((held for held, begun in self._holders.items() if begun), None)

    def _take(self, size: int) -> Held:
        held = Held(self, size)
        self._holders[held] = False
        self.held += size
        return held

    def _go_on(self) -> None:
        eldest = self._eldest
        for held, turn in self._growing.items():
            if not turn.done() and (self.held <= self._most or held is eldest):
                turn.set_result(None)
        while self._waiting:
            needed, waiting = self._waiting[0]
            if not waiting.cancelled():
                if self.held + needed > self._most:
                    return
                waiting.set_result(self._take(needed))
            self._waiting.popleft()


__all__ = ["Held", "Memory"]
