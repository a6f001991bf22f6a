"""What the guard believes where it does not see the whole PC."""

import pytest

from garage_ai.node.guard.limits import Limits
from garage_ai.node.guard.readers.outlook import HIDDEN, seen_from
from garage_ai.node.guard.readers.port import FREE, Finding
from garage_ai.node.guard.signals import RULES, SignalName
from garage_ai.node.guard.words import sentence
from garage_ai.node.hardware.models import Place

pytestmark = pytest.mark.anyio

BUSY = Finding("busy", sentence("game", name="factorio"))


class Sees:
    """A reader that always finds the same."""

    every = 1.0

    def __init__(self, signal: SignalName, finding: Finding) -> None:
        self.signal = signal
        self._finding = finding

    def wanted(self, limits: Limits) -> bool:
        return limits.max_cpu is None

    async def read(self, limits: Limits) -> Finding:
        assert limits == Limits()
        return self._finding


async def found(place: Place, signal: SignalName, finding: Finding) -> Finding:
    (reader,) = seen_from(place, [Sees(signal, finding)])
    assert (reader.signal, reader.every) == (signal, 1.0)
    assert reader.wanted(Limits())
    assert not reader.wanted(Limits(max_cpu=50))
    return await reader.read(Limits())


@pytest.mark.parametrize("signal", RULES)
async def test_on_the_pc_itself_everything_is_believed(signal: SignalName) -> None:
    """A free PC is a free PC."""
    assert await found("pc", signal, FREE) == FREE
    assert await found("pc", signal, BUSY) == BUSY


@pytest.mark.parametrize(
    ("place", "signal", "why"),
    [
        ("wsl", "game", "wsl"),
        ("wsl", "cpu", "wsl"),
        ("wsl", "idle", "idle.wsl"),
        ("wsl", "gpu", "gpu.wsl"),
        ("container", "game", "container"),
        ("container", "gpu", "container"),
    ],
)
async def test_what_is_hidden_is_never_taken_for_free(
    place: Place, signal: SignalName, why: str
) -> None:
    """Windows' games are in no list of WSL2's, the PC's in none of a container's.

    Nor is Windows' keyboard one of the terminals that WSL2's logind knows.
    """
    finding = await found(place, signal, FREE)
    assert (finding.verdict, finding.why) == ("unknown", sentence(why))


async def test_what_is_seen_all_the_same_counts() -> None:
    """But for a card's processes: in a container their numbers mean others, our own engine too."""
    assert await found("wsl", "game", BUSY) == BUSY
    assert (await found("container", "gpu", BUSY)).verdict == "unknown"


async def test_hours_price_and_pause_hold_everywhere() -> None:
    """They are what guards an owner whose programs cannot be seen."""
    for place in HIDDEN:
        for signal in ("owner", "schedule", "price", "upload"):
            assert await found(place, signal, FREE) == FREE
