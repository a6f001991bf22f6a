"""What an engine holds, on the processor and on cards."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from garage_ai.node.fitting import machines
from garage_ai.node.fitting.forms import lesser_forms
from garage_ai.node.fitting.machines import (
    OnCards,
    Processor,
    machine_for,
    resident_peak,
)
from garage_ai.node.fitting.sizes import Ruled, Size
from garage_ai.node.fitting.words import refusal
from garage_ai.node.guard.readers.nvml import Card, GpuProcess, NoCards
from garage_ai.node.guard.words import sentence
from garage_ai.node.hardware.models import Gpu, Gpus

GIB = 1 << 30
GPUS = Gpus(
    source="nvml",
    driver="575.64",
    cards=(Gpu(name="NVIDIA GeForce RTX 3090", uuid="GPU-1", total=24 * GIB, free=20 * GIB),),
)


class Told:
    """Cards that show what the test says; None: nobody tells."""

    def __init__(self, cards: Sequence[Card] | None) -> None:
        self._cards = cards

    def look(self) -> Sequence[Card]:
        if self._cards is None:
            raise NoCards(sentence("gpu.none"))
        return self._cards


def test_a_process_has_held_what_it_holds_at_least() -> None:
    """Our own, read as the kernel tells it."""
    me = psutil.Process()
    peak = resident_peak(os.getpid())
    assert peak is not None
    assert peak >= me.memory_info().rss * 0.98
    assert Processor().held({os.getpid()}) == pytest.approx(peak, rel=0.05)


def test_who_is_gone_holds_nothing(tmp_path: Path) -> None:
    """Nor does a process without memory of its own, which says no peak."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "status").write_text("Name:\tkthreadd\nState:\tS\n")
    assert resident_peak(1, tmp_path) is None
    assert resident_peak(2, tmp_path) is None
    assert Processor().held(frozenset()) is None


def test_a_sandbox_leaves_no_more_than_its_limit() -> None:
    """Where it holds; else all that is available."""
    assert Processor(limit=1000).room() == 1000
    assert Processor().room() > 1000


def test_on_cards_the_engines_processes_are_added_up() -> None:
    """Over all cards; what others hold there is theirs."""
    cards = [
        Card("GPU-1", (GpuProcess(10, 5 * GIB), GpuProcess(99, 3 * GIB))),
        Card("GPU-2", (GpuProcess(11, 2 * GIB), GpuProcess(12, None))),
    ]
    machine = OnCards(GPUS, Told(cards))
    assert machine.held({10, 11, 12}) == 7 * GIB
    assert (machine.device, machine.driver) == ("NVIDIA GeForce RTX 3090", "575.64")


def test_what_is_on_the_other_cards_is_not_all() -> None:
    """Where one of the engine's says nothing: a part would be kept as what it takes."""
    cards = [Card("GPU-1", (GpuProcess(10, 5 * GIB),))]
    assert OnCards(GPUS, Told(cards), ["GPU-1"]).held({10}) == 5 * GIB
    assert OnCards(GPUS, Told(cards), ["GPU-1", "GPU-2"]).held({10}) is None


def test_an_engine_that_is_given_one_card_has_the_room_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one is its owner's; an engine that is given none by name may take all."""
    other = Gpu(name="NVIDIA GeForce RTX 3060", uuid="GPU-2", total=12 * GIB, free=11 * GIB)
    both = Gpus(source="nvml", driver="575.64", cards=(*GPUS.cards, other))
    monkeypatch.setattr(machines, "read_gpus", lambda: both)
    one = machine_for(on_cards=True, uuids=("GPU-2",))
    assert (one.device, one.room()) == ("NVIDIA GeForce RTX 3060", 11 * GIB)
    assert machine_for(on_cards=True).room() == 31 * GIB


@pytest.mark.parametrize("cards", [None, [], [Card("GPU-1", (GpuProcess(10, None),))]])
def test_where_no_card_tells_nothing_is_measured(cards: list[Card] | None) -> None:
    """As under WSL2: not zero, but not known."""
    assert OnCards(GPUS, Told(cards)).held({10}) is None


def test_a_refusal_says_what_to_do() -> None:
    """In both languages, with the figures where there are some."""
    said = refusal("m", Ruled(Size(4096, 1), 5 * 10**9, 4 * 10**9))
    assert (
        "1 requests of 4096 tokens took 5.0 GB when measured here, and 4.0 GB are free" in said.en
    )
    assert "gai models --fits" in said.sv


def test_a_lesser_form_is_the_same_model_with_fewer_bytes() -> None:
    """The largest that is smaller comes first."""
    from msgspec.structs import replace

    from garage_ai.catalog import Catalog

    known = next(iter(Catalog.load()))

    def form(name: str, size: int, **more: object) -> object:
        files = (replace(known.weights, size=size),)
        return replace(known, id=name, name=name, files=files, **more)

    planned, half, quarter = form("q8", 80), form("q4", 40), form("q2", 20)
    others = [form("other", 30, family="else"), form("bigger", 30, parameters=1), form("q16", 160)]
    shards = replace(known.weights, path="m.safetensors", size=30)
    others.append(replace(known, id="vllm", name="vllm", files=(shards,)))
    found = lesser_forms([quarter, planned, *others, half], planned)  # type: ignore[arg-type, list-item]
    assert [each.name for each in found] == ["q4", "q2"]
