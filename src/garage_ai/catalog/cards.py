"""Graphics cards by what their maker publishes of them.

Memory, bandwidth and power: NVIDIA's own specifications (nvidia.com/geforce/graphics-cards, the
page of each card, and the architecture whitepapers of Ampere GA102, Ada and Blackwell RTX).
Compute capability: developer.nvidia.com/cuda-gpus.
"""

import re
from typing import Final, NamedTuple

from garage_ai.catalog.planner import GIB


class Card(NamedTuple):
    """A card: GiB of memory, bandwidth in GB/s, power in watts as shipped."""

    name: str
    memory: int
    bandwidth: float
    power: int
    compute: tuple[int, int]

    @property
    def factor(self) -> float:
        """How fast it makes tokens beside the reference card, by what limits that: bandwidth."""
        return self.bandwidth / REFERENCE.bandwidth


_TURING: Final = (7, 5)
_AMPERE: Final = (8, 6)
_ADA: Final = (8, 9)
_BLACKWELL: Final = (12, 0)

REFERENCE: Final = Card("RTX 3090", 24, 936.2, 350, _AMPERE)
"""One hour of it is one GAI."""

CARDS: Final = (
    Card("RTX 2060", 6, 336.0, 160, _TURING),
    Card("RTX 2070", 8, 448.0, 175, _TURING),
    Card("RTX 2080", 8, 448.0, 215, _TURING),
    Card("RTX 2080 SUPER", 8, 495.9, 250, _TURING),
    Card("RTX 2080 Ti", 11, 616.0, 250, _TURING),
    Card("RTX 3060", 12, 360.0, 170, _AMPERE),
    Card("RTX 3060 Ti", 8, 448.0, 200, _AMPERE),
    Card("RTX 3070", 8, 448.0, 220, _AMPERE),
    Card("RTX 3070 Ti", 8, 608.3, 290, _AMPERE),
    Card("RTX 3080", 10, 760.3, 320, _AMPERE),
    Card("RTX 3080 Ti", 12, 912.4, 350, _AMPERE),
    REFERENCE,
    Card("RTX 3090 Ti", 24, 1008.0, 450, _AMPERE),
    Card("RTX 4060", 8, 272.0, 115, _ADA),
    Card("RTX 4060 Ti", 8, 288.0, 160, _ADA),
    Card("RTX 4060 Ti", 16, 288.0, 165, _ADA),
    Card("RTX 4070", 12, 504.2, 200, _ADA),
    Card("RTX 4070 SUPER", 12, 504.2, 220, _ADA),
    Card("RTX 4070 Ti", 12, 504.2, 285, _ADA),
    Card("RTX 4070 Ti SUPER", 16, 672.3, 285, _ADA),
    Card("RTX 4080", 16, 716.8, 320, _ADA),
    Card("RTX 4080 SUPER", 16, 736.3, 320, _ADA),
    Card("RTX 4090", 24, 1008.0, 450, _ADA),
    Card("RTX 5060", 8, 448.0, 145, _BLACKWELL),
    Card("RTX 5060 Ti", 8, 448.0, 180, _BLACKWELL),
    Card("RTX 5060 Ti", 16, 448.0, 180, _BLACKWELL),
    Card("RTX 5070", 12, 672.0, 250, _BLACKWELL),
    Card("RTX 5070 Ti", 16, 896.0, 300, _BLACKWELL),
    Card("RTX 5080", 16, 960.0, 360, _BLACKWELL),
    Card("RTX 5090", 32, 1792.0, 575, _BLACKWELL),
)

_NOISE: Final = re.compile(r"\b(nvidia|geforce|rtx|\d+ ?gi?b)\b", re.IGNORECASE)
_MEMORY: Final = re.compile(r"(\d+) ?gi?b\b", re.IGNORECASE)


def find_card(name: str, memory: int | None = None) -> Card | None:
    """Find a card by the name its driver or its owner uses; bytes of memory tell twins apart.

    A name may hold the memory, as in `RTX 4060 Ti 16GB`; without either, the larger twin is meant.
    """
    twins = [card for card in CARDS if _plain(card.name) == _plain(name)]
    said = _MEMORY.search(name)
    size = int(said[1]) if said else None if memory is None else round(memory / GIB)
    if size is None:
        return max(twins, key=lambda card: card.memory, default=None)
    return next((card for card in twins if card.memory == size), None)


def _plain(name: str) -> str:
    return " ".join(_NOISE.sub(" ", name).split()).casefold()


def known_cards() -> list[str]:
    """Name all cards, twins once."""
    return list(dict.fromkeys(card.name for card in CARDS))


__all__ = ["CARDS", "REFERENCE", "Card", "find_card", "known_cards"]
