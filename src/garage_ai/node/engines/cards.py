"""Which cards llama.cpp is to compute on, or that it is the processor. Pure.

A PC that has a card for it serves on that card or not at all: a model that answers ten times slower
than its owner believes helps nobody. The processor is what a PC without such a card has, or what
its owner asks for by name.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from garage_ai.catalog import RESERVE, Place, find_card
from garage_ai.node.errors import CardUnusable, NotPossible
from garage_ai.node.hardware.models import Gpu, Gpus

AUTO: Final = "auto"
NONE: Final = "none"
"""The owner's word for the processor."""

NEEDED_CUDA: Final = (12, 8)
"""What the image is built with (llama.cpp, .devops/cuda.Dockerfile: CUDA_VERSION 12.8.1)."""

NEEDED_COMPUTE: Final = (6, 1)
"""Pascal; the image holds code for older cards, which nobody has tried."""

MARGIN: Final = 512 * 1024 * 1024
"""Bytes that stay free beside what other programs hold now: windows come and go."""

_UUID: Final = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Seat:
    """Where llama.cpp is to compute: on some of these cards, or, without any, on the processor."""

    cards: tuple[Gpu, ...] = ()

    @property
    def uuids(self) -> tuple[str, ...]:
        """The cards' names that stay the same whatever else is plugged in."""
        return tuple(card.uuid for card in self.cards)


def is_choice(word: str) -> bool:
    """Tell whether this is what `--gpu` takes: a card's UUID, `auto` or `none`."""
    return word in (AUTO, NONE) or _UUID.fullmatch(word) is not None


def seat(chosen: Sequence[str], gpus: Gpus, *, plugged_in: bool) -> Seat:
    """Decide where to compute; `plugged_in` tells of an NVIDIA card, whatever its driver says.

    Raises: NotPossible for what cannot be meant, CardUnusable for a card that is there in vain.
    """
    _check(chosen)
    if NONE in chosen:
        return Seat()
    if not gpus.cards:
        if plugged_in or any(word != AUTO for word in chosen):
            problem = gpus.problem or "none answers"
            raise CardUnusable("The NVIDIA card cannot be used: {problem}.", problem=problem)
        return Seat()
    cards = chosen_cards(chosen, gpus.cards)
    if gpus.cuda is not None and gpus.cuda < NEEDED_CUDA:
        raise CardUnusable(
            "Driver {driver} speaks CUDA {cuda}; llama.cpp on a card needs {needed}, so driver 570 "
            "or newer.",
            driver=gpus.driver,
            cuda=_dotted(gpus.cuda),
            needed=_dotted(NEEDED_CUDA),
        )
    able = tuple(card for card in cards if card.compute is None or card.compute >= NEEDED_COMPUTE)
    old = next((card for card in cards if card not in able), None)
    if old is not None and (not able or old.uuid in chosen):
        raise CardUnusable(
            "{card} ({uuid}) has compute capability {compute}; {needed} is the least.",
            card=old.name,
            uuid=old.uuid,
            compute=_dotted(old.compute or (0, 0)),
            needed=_dotted(NEEDED_COMPUTE),
        )
    return Seat(able)


def _check(chosen: Sequence[str]) -> None:
    wrong = [word for word in chosen if not is_choice(word)]
    if wrong:
        raise NotPossible(
            "--gpu {word} is no card. It takes a UUID as `gai node doctor` shows it, auto or none.",
            word=repr(wrong[0][:80]),
        )
    if len(set(chosen)) > 1 and {AUTO, NONE} & set(chosen):
        raise NotPossible("--gpu auto and --gpu none stand alone.")


def chosen_cards(chosen: Sequence[str], cards: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Give the cards that are meant, in the driver's order. Raises: NotPossible, CardUnusable."""
    _check(chosen)
    uuids = {word for word in chosen if word != AUTO}
    missing = sorted(uuids - {card.uuid for card in cards})
    if missing:
        here = ", ".join(f"{card.name} {card.uuid}" for card in cards)
        raise CardUnusable(
            "There is no card {uuid} here. There is: {here}.", uuid=missing[0], here=here
        )
    return tuple(card for card in cards if not uuids or card.uuid in uuids)


def place_of(gpu: Gpu) -> Place:
    """Say how much room a card has now."""
    card = find_card(gpu.name, gpu.total)
    room = max(0, min(gpu.free - MARGIN, gpu.total - RESERVE))
    return Place(gpu.name, room, card.bandwidth if card else None, gpu.compute)


def cdi_names(
    uuids: Sequence[str], here: Collection[str], described: Collection[str]
) -> tuple[str, ...]:
    """Give the names by which CDI knows these cards, of those `described`, none: not known.

    In WSL2, and where a description names no UUIDs, `all` is a name for all that are `here`.
    Raises: CardUnusable.
    """
    if not described or set(uuids) <= set(described):
        return tuple(uuids)
    if "all" in described and set(uuids) == set(here):
        return ("all",)
    raise CardUnusable(
        "The CDI description does not name the card by its UUID. Fix: sudo nvidia-ctk cdi generate "
        "--device-name-strategy=index --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml"
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


__all__ = [
    "AUTO",
    "NEEDED_COMPUTE",
    "NEEDED_CUDA",
    "NONE",
    "Seat",
    "cdi_names",
    "chosen_cards",
    "is_choice",
    "place_of",
    "seat",
]
