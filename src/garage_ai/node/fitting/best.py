"""The best of a network's models for a PC whose owner named none. Pure."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final

from garage_ai.catalog import RESERVE, Manifest
from garage_ai.catalog.planner import GIB, LEAST_CONTEXT
from garage_ai.node.hardware.models import Gpu

_SHARE: Final = 0.12
_LEAST: Final = 2 * GIB
"""What a model of llama.cpp's takes beside its weights for a single conversation: a share of them
and no less than this. The planner, once it has read the file, finds no more for any known model."""

_TOKEN: Final = 64 * 1024
"""Bytes that a token takes in the cache of a model of a billion parameters, for what the owner asks
beyond that conversation. They grow as the root of the parameters: of the known models the most is
50 KiB of a billion (Qwen2.5-14B: 192 KiB), of models of many experts far less."""


def best_model(
    models: Iterable[Manifest],
    cards: Sequence[Gpu],
    *,
    context: int | None = None,
    slots: int | None = None,
    disk: int | None = None,
) -> Manifest | None:
    """Give the chat model that stands first with its network, of those that fit on the cards.

    They are taken as they are when nobody plays: the choice stays when today's game is over.
    `context` in tokens and `slots` are what the owner said, and what the planner will keep to;
    `disk` the bytes that a model's files may take, None where nothing bounds them.
    """
    room = sum(max(0, card.total - RESERVE) for card in cards)
    fitting = [
        each
        for each in models
        if each.kind == "chat"
        and each.weights.path.endswith(".gguf")
        and least_room(each, context, slots) <= room
        and (disk is None or each.size <= disk)
    ]
    return max(fitting, key=lambda each: (each.rank, each.parameters, each.name), default=None)


def least_room(model: Manifest, context: int | None = None, slots: int | None = None) -> int:
    """Give the bytes that a model's file takes on cards, before it is here to be read."""
    tokens = min(context or LEAST_CONTEXT, model.context_length) * (slots or 1)
    token = int(_TOKEN * sqrt(model.parameters / 1e9))
    more = max(0, tokens - LEAST_CONTEXT) * token
    return model.size + max(int(_SHARE * model.size), _LEAST) + more


__all__ = ["best_model", "least_room"]
