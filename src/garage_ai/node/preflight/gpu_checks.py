"""Checks of the graphics cards. Pure."""

from typing import Final

from garage_ai.catalog.cards import REFERENCE, find_card
from garage_ai.catalog.planner import GIB
from garage_ai.node.hardware.models import Gpu
from garage_ai.node.preflight.models import LEAST_COMPUTE, LEAST_CUDA, Facts, Finding

HELD: Final = 0.15
"""Share of a card beyond which other programs hold enough of it to be told of; a desktop with a
browser stays below."""

_DRIVERS: Final = {(12, 8): "570", (13, 0): "580"}
"""The first driver that speaks each (CUDA release notes, table of driver versions)."""


def check_gpu(facts: Facts) -> Finding:
    """Tell which cards there are."""
    gpus = facts.pc.gpus
    if gpus.cards:
        names = ", ".join(map(_with_class, gpus.cards))
        if gpus.problem:
            return Finding("gpu", "warn", "some", {"names": names, "problem": gpus.problem})
        return Finding("gpu", "ok", "ok", {"names": names})
    if gpus.driver and gpus.problem:
        return Finding("gpu", "fail", "unfit", {"problem": gpus.problem})
    if facts.nvidia_plugged_in:
        return Finding("gpu", "fail", "no_driver", {"problem": gpus.problem or "-"})
    if facts.pc.others:
        return Finding("gpu", "fail", "others", {"makers": ", ".join(facts.pc.others)})
    return Finding("gpu", "fail", "none")


def check_driver(facts: Facts) -> Finding | None:
    """Compare the driver with what the engines' images need."""
    gpus = facts.pc.gpus
    if not gpus.cards:
        return None
    least = LEAST_CUDA.get(facts.engine, LEAST_CUDA["vllm"])
    values = {
        "driver": gpus.driver or "?",
        "cuda": _version(gpus.cuda),
        "needed": _version(least),
        "newer": _DRIVERS[least],
    }
    if gpus.cuda is None:
        return Finding("driver", "warn", "unknown", values)
    if gpus.cuda < least:
        return Finding("driver", "fail", "old", values)
    return Finding("driver", "ok", "ok", values)


def check_compute(facts: Facts) -> Finding | None:
    """Compare the cards' generation with what the engines are compiled for."""
    cards = facts.pc.gpus.cards
    if not cards:
        return None
    known = [card for card in cards if card.compute is not None]
    if len(known) < len(cards):
        return Finding("compute", "warn", "unknown")
    least = LEAST_COMPUTE.get(facts.engine, LEAST_COMPUTE["vllm"])
    fit = [card for card in known if card.compute and card.compute >= least]
    shown = ", ".join(_version(card.compute) for card in known)
    values = {"found": shown, "needed": _version(least)}
    if not fit:
        return Finding("compute", "fail", "old", values)
    if len(fit) < len(known):
        return Finding("compute", "warn", "some_old", values)
    return Finding("compute", "ok", "ok", values)


def check_vram(facts: Facts) -> Finding | None:
    """Tell how much of the cards' memory is free."""
    cards = facts.pc.gpus.cards
    if not cards:
        return None
    values = {
        "free": " + ".join(f"{card.free / GIB:.1f}" for card in cards),
        "total": " + ".join(f"{card.total / GIB:.1f}" for card in cards),
    }
    held = any(card.total and (card.total - card.free) / card.total > HELD for card in cards)
    return Finding("vram", "warn" if held else "ok", "held" if held else "ok", values)


def _with_class(card: Gpu) -> str:
    """Name a card and its UUID, and its published speed in units of the reference card's."""
    known = find_card(card.name, card.total)
    speed = "" if known is None else f", {known.factor:.2f} x {REFERENCE.name}"
    return f"{card.name} ({card.uuid}{speed})"


def _version(version: tuple[int, int] | None) -> str:
    return "?" if version is None else f"{version[0]}.{version[1]}"


__all__ = ["check_compute", "check_driver", "check_gpu", "check_vram"]
