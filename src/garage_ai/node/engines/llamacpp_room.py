"""Whether a model fits where llama.cpp is to compute, and what its owner is told if not."""

from typing import Final

from garage_ai.catalog import Manifest, TooLarge
from garage_ai.catalog.planner import GIB
from garage_ai.node.engines.cards import Seat
from garage_ai.node.errors import NoRoom
from garage_ai.node.fitting.words import lacking
from garage_ai.node.hardware.bounds import read_bounds

_CACHE_SHARE: Final = 0.35
"""Memory beside the weights, as a share of them, for small models a fixed sum at least."""

_CACHE_LEAST: Final = 512 * 1024 * 1024


def too_large(name: str, found: TooLarge, where: Seat, reason: str) -> NoRoom:
    """Refuse what cards have no room for; `reason` as `NoRoom` has it."""
    cards = " + ".join(card.name for card in where.cards)
    needed, room = found.needed / GIB, found.room / GIB
    if not found.layers:
        return NoRoom(
            "{name} needs {needed:.1f} GiB at the least; {cards} has room for {room:.1f} now. "
            "Close what uses the card, or take a smaller quantisation or model.",
            reason=reason,
            name=name,
            needed=needed,
            cards=cards,
            room=room,
        )
    return NoRoom(
        "{name} needs {needed:.1f} GiB at the least; {cards} has room for {room:.1f} now. Close "
        "what uses the card, or take a smaller quantisation or model. {layers} of {of} layers "
        "would fit: with --gpu-layers {layers} the rest is on the processor, and every answer "
        "takes several times longer.",
        reason=reason,
        name=name,
        needed=needed,
        cards=cards,
        room=room,
        layers=found.layers,
        of=found.of,
    )


def check_memory(manifest: Manifest) -> None:
    """Refuse what the processor's memory has no room for. Raises: NoRoom."""
    import psutil

    needed = manifest.size + max(int(manifest.size * _CACHE_SHARE), _CACHE_LEAST)
    bounds, memory = read_bounds(), psutil.virtual_memory()
    available = bounds.free(memory.available)
    if available < needed:
        ever = needed <= bounds.total(memory.total)
        raise NoRoom(
            "{name} needs about {needed:.1f} GB of memory; {free:.1f} GB are free.",
            reason=lacking(needed, available) if ever else "",
            name=manifest.name,
            needed=needed / 1e9,
            free=available / 1e9,
        )


__all__ = ["check_memory", "too_large"]
