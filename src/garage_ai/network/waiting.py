"""The waiting room: requests for which every node is busy, served in their order. Pure.

Bounded in number; how long one waits is the shell's clock.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from garage_ai.network.errors import NoCapacity

RETRY_AFTER: Final = 5.0

Ticket = TypeVar("Ticket")


class WaitingRoom(Generic[Ticket]):
    """A first-come queue for each model, all within one bound."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lines: dict[str, OrderedDict[int, Ticket]] = {}
        self._count = 0
        self._next = 0

    def __len__(self) -> int:
        return self._count

    def waits(self, name: str) -> bool:
        """Tell whether anybody waits for the model; who comes later must then wait too."""
        return name in self._lines

    def enter(self, name: str, ticket: Ticket, *, first: bool = False) -> int:
        """Queue up, at the head if `first`, and get a number.

        Raises: NoCapacity when the room is full.
        """
        if self._count >= self._size:
            raise NoCapacity("Every node is busy and the queue is full.", retry_after=RETRY_AFTER)
        self._next += 1
        line = self._lines.setdefault(name, OrderedDict())
        line[self._next] = ticket
        if first:
            line.move_to_end(self._next, last=False)
        self._count += 1
        return self._next

    def leave(self, name: str, number: int) -> None:
        """Step out of the queue; harmless for one who was served."""
        line = self._lines.get(name)
        if line is not None and line.pop(number, None) is not None:
            self._count -= 1
            if not line:
                del self._lines[name]

    def serve(self, name: str, offer: Callable[[Ticket], bool]) -> None:
        """Offer room to those who wait for the model, in order; those whom it suits step out.

        One whom it does not suit (it wants another region) keeps no other back.
        """
        line = self._lines.get(name)
        if line is None:
            return
        for number, ticket in list(line.items()):
            if offer(ticket):
                self.leave(name, number)
