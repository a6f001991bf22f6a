"""What a rig tells of its cards after its parts ran out of memory."""

from pathlib import Path

import pytest

from garage_ai.catalog import Place, Unweighed
from garage_ai.node.engines.vllm_options import Lent, VllmOptions
from garage_ai.node.group import lending as lending_module
from garage_ai.node.group.lending import Lending
from garage_ai.wire.ids import Digest

FULL = "the card's memory does not suffice (OutOfMemoryError: CUDA out of memory)"
UNCACHED = "ValueError: No available memory for the cache blocks."
_LOOKED = "ValueError: Free memory on device cuda:1 ({}/22.05 GiB) on startup is less than desired"
_WANTED = " GPU memory utilization (0.9, 19.84 GiB). Decrease GPU memory utilization or"
TAKEN = _LOOKED.format("3.1") + _WANTED
LINKED = _LOOKED.format("19.77") + _WANTED


def lending() -> Lending:
    """One card of which 1000 bytes are lent."""
    return Lending(
        VllmOptions(
            folder=Path("/models"),
            name="m",
            digest=Digest("sha256:" + "a" * 64),
            kind="chat",
            slots=2,
            context=512,
            memory_share=0.8,
            lent=Lent((Place("a card", 1000, None, (8, 9)),), Unweighed(16)),
        )
    )


def told(rig: Lending) -> tuple[int, float | None]:
    """What the others hear, and what vLLM is given."""
    return rig.cards[0].room, rig.options.memory_share


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (FULL, (950, 0.76)),
        (UNCACHED, (950, 0.8)),
        (TAKEN, (1000, 0.8)),
        (LINKED, (950, 0.76)),
        ("", (1000, 0.8)),
    ],
    ids=["full", "no cache", "taken by others", "taken by its own links", "told to end"],
)
def test_less_is_told_where_less_would_help(cause: str, expected: tuple[int, float]) -> None:
    """A cache that found no room needs the plan to ask for less, and vLLM to keep what it has."""
    rig = lending()
    rig.ended(cause)
    assert told(rig) == expected


def test_it_is_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After many failures something is lent still, and after a while all of it."""
    rig = lending()
    for _ in range(50):
        rig.ended(FULL)
    assert told(rig) == (800, 0.64)
    monkeypatch.setattr(lending_module, "_FORGET_SECONDS", 0.0)
    assert told(rig) == (1000, 0.8)
