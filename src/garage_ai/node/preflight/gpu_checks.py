"""Checks of the graphics cards. Pure."""

from typing import Final

from garage_ai.node.preflight.models import Facts, Finding

NEEDED_CUDA: Final = (13, 0)
"""What vLLM's image is built with (vllm, docker/Dockerfile: CUDA_VERSION 13.0)."""

NEEDED_COMPUTE: Final = (7, 5)
"""The oldest that CUDA 13 still compiles for: Turing, GeForce RTX 20 and GTX 16."""

HELD: Final = 0.15
"""Share of a card beyond which other programs hold enough of it to be told of; a desktop with a
browser stays below."""

_GIB: Final = 1 << 30


def check_gpu(facts: Facts) -> Finding:
    """Tell which cards there are."""
    gpus = facts.pc.gpus
    if gpus.cards:
        names = ", ".join(card.name for card in gpus.cards)
        return Finding("gpu", "ok", "ok", {"names": names})
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
    values = {
        "driver": gpus.driver or "?",
        "cuda": _version(gpus.cuda),
        "needed": _version(NEEDED_CUDA),
    }
    if gpus.cuda is None:
        return Finding("driver", "warn", "unknown", values)
    if gpus.cuda < NEEDED_CUDA:
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
    fit = [card for card in known if card.compute and card.compute >= NEEDED_COMPUTE]
    shown = ", ".join(_version(card.compute) for card in known)
    values = {"found": shown, "needed": _version(NEEDED_COMPUTE)}
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
        "free": " + ".join(f"{card.free / _GIB:.1f}" for card in cards),
        "total": " + ".join(f"{card.total / _GIB:.1f}" for card in cards),
    }
    held = any(card.total and (card.total - card.free) / card.total > HELD for card in cards)
    return Finding("vram", "warn" if held else "ok", "held" if held else "ok", values)


def _version(version: tuple[int, int] | None) -> str:
    return "?" if version is None else f"{version[0]}.{version[1]}"


__all__ = ["check_compute", "check_driver", "check_gpu", "check_vram"]
