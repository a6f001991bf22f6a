"""Who holds the engine's slots, and who gives way where all are taken. Pure.

A batch request gives way to one that somebody waits for: always the youngest, by the moment when
its first attempt began, so that what was begun first is also finished. Its slot is another's from
that moment on, though its engine may take another token to let go of it.
"""

from collections.abc import Collection

from garage_ai.node.exchange import Exchange
from garage_ai.wire.ids import AttemptId, Digest


class Slots:
    """The attempts that are under way; `count` may be at a time."""

    def __init__(self) -> None:
        self.count = 0
        self.held: dict[AttemptId, Exchange] = {}
        self._batch: dict[AttemptId, Exchange] = {}
        self._giving_way: set[AttemptId] = set()

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return len(self.held) - len(self._giving_way) >= self.count

    @property
    def gives_way(self) -> bool:
        """Whether one of them would give way."""
        return bool(self._batch)

    def load(self, digest: Digest) -> tuple[int, int]:
        """Count those of a model, and those of them that would give way."""
        return _of(digest, self.held.values()), _of(digest, self._batch.values())

    def hold(self, exchange: Exchange) -> None:
        """Give a slot to an attempt."""
        self.held[exchange.id] = exchange
        if exchange.born is not None:
            self._batch[exchange.id] = exchange

    def free(self, exchange: Exchange) -> bool:
        """Take the slot back; tell whether it was held."""
        self._batch.pop(exchange.id, None)
        self._giving_way.discard(exchange.id)
        return self.held.pop(exchange.id, None) is not None

    def make_room(self) -> Exchange:
        """Name the one that gives way; there must be one. Its slot counts as free from now on."""
        youngest = max(self._batch.values(), key=_born)
        del self._batch[youngest.id]
        self._giving_way.add(youngest.id)
        return youngest


def _of(digest: Digest, exchanges: Collection[Exchange]) -> int:
    return sum(each.offer.digest == digest for each in exchanges)


def _born(exchange: Exchange) -> float:
    return exchange.born or 0.0


__all__ = ["Slots"]
