"""Engines' figures beside the gateway's own: a node whose figures are wrong is flagged. Pure.

One request says little: an engine counts the token that ends an answer, which nobody gets, and a
model may write a word in other pieces than its tokenizer would. So a figure is off only by more
than a share and some tokens, and a node is flagged for a share of its latest requests of a model.
The bill is the gateway's count either way; a flag says that a node's engine, or its agent, is not
what it says it is.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

SHARE: Final = 0.02
"""By how much a figure may be off."""
TOKENS: Final = 5
"""By how many tokens it may be off besides, for what is counted or not at the ends of a text."""
WINDOW: Final = 100
"""Latest requests of a model on a node that are looked at."""
FEWEST: Final = 20
"""Requests before a node is judged."""
FLAGGED: Final = 0.10
CLEARED: Final = 0.05
"""Shares of requests whose figures are off at which a node is flagged, and is no more."""
MAX_PAIRS: Final = 10_000

Pair = tuple[str, str]
"""A node, and the digest of a model on it."""


class Figures(msgspec.Struct, frozen=True):
    """Tokens of one request: as the engine said, and as the gateway counted."""

    prompt: int
    completion: int
    counted_prompt: int
    counted_completion: int

    @property
    def are_off(self) -> bool:
        """Tell whether the engine's are further from the gateway's than an honest one's."""
        return _is_off(self.prompt, self.counted_prompt) or _is_off(
            self.completion, self.counted_completion
        )


class Standing(NamedTuple):
    """How a model's figures on a node stand: requests looked at, those off, and the verdict."""

    judged: int
    off: int
    flagged: bool


@dataclass(slots=True)
class _Pair:
    latest: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    flagged: bool = False

    def take(self, *, off: bool) -> None:
        self.latest.append(off)
        share = sum(self.latest) / len(self.latest)
        if len(self.latest) >= FEWEST:
            self.flagged = share > (CLEARED if self.flagged else FLAGGED)


class FigureJudge:
    """Remember the latest figures of each model on each node, the longest unheard forgotten."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[Pair, _Pair] = OrderedDict()

    def saw(self, node: str, digest: str, figures: Figures) -> None:
        """Take the figures of a request."""
        pair = self._pairs.setdefault((node, digest), _Pair())
        self._pairs.move_to_end((node, digest))
        pair.take(off=figures.are_off)
        if len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)

    def standing(self, node: str, digest: str) -> Standing:
        """Tell how a model's figures on a node stand."""
        pair = self._pairs.get((node, digest), _Pair())
        return Standing(len(pair.latest), sum(pair.latest), pair.flagged)

    @property
    def flagged_pairs(self) -> frozenset[Pair]:
        """Which models on which nodes are flagged now."""
        return frozenset(pair for pair, seen in self._pairs.items() if seen.flagged)

    @property
    def flagged(self) -> int:
        """How many models on nodes are flagged now."""
        return sum(pair.flagged for pair in self._pairs.values())


def _is_off(said: int, counted: int) -> bool:
    return abs(said - counted) > max(TOKENS, SHARE * counted)


__all__ = [
    "FEWEST",
    "FLAGGED",
    "SHARE",
    "TOKENS",
    "WINDOW",
    "FigureJudge",
    "Figures",
    "Pair",
    "Standing",
]
