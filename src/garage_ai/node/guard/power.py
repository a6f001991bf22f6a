"""What lending draws: the graphics cards and the processor, as far as each tells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from garage_ai.node.guard.readers.nvml import Card
from garage_ai.node.guard.readers.rapl import Rapl

Meter = Literal["cards", "processor"]


@dataclass(frozen=True, slots=True)
class Draw:
    """Watts at a moment, of what told them; `most` is what the cards' driver holds them to."""

    watts: float
    of: tuple[Meter, ...]
    most: float | None = None


class Power:
    """The meters of this PC; `now` is None while none of them tells anything."""

    def __init__(self, cards: Callable[[], Sequence[Card]], rapl: Rapl | None = None) -> None:
        self._cards = cards
        self._rapl = rapl or Rapl()
        self.now: Draw | None = None

    def read(self, at: float) -> Draw | None:
        """Read all of them at a moment of one clock."""
        cards = self._cards()
        draws = _all_told([card.watts for card in cards])
        processor = self._rapl.watts(at)
        told: dict[Meter, float | None] = {"cards": draws, "processor": processor}
        known = {meter: watts for meter, watts in told.items() if watts is not None}
        most = _all_told([card.most_watts for card in cards]) if draws is not None else None
        self.now = Draw(sum(known.values()), tuple(known), most) if known else None
        return self.now


def _all_told(figures: list[float | None]) -> float | None:
    """Add up what all tell; a sum of some would look like that of all."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known and len(known) == len(figures) else None


__all__ = ["Draw", "Meter", "Power"]
