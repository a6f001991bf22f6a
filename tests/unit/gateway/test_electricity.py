"""What a node draws and what that costs, and what of it is assumed."""

from dataclasses import replace

import msgspec
import pytest
from tests.parts.played_network import node_view

from garage_ai.gateway.electricity import all_in, electricity_of
from garage_ai.network.models import NodeView
from garage_ai.wire.benchmarks import Benchmark, Level
from garage_ai.wire.messages import Energy

LEVEL = Level(
    streams=4, answered=8, failed=0, decode=100.0, prefill=1000.0, ttft=0.1, ttft_worst=0.2
)
BENCHMARK = Benchmark(
    at=1.0,
    agent="0.1.0",
    engine="llamacpp",
    model="m",
    digest="sha256:" + "a" * 64,
    context=4096,
    slots=4,
    cpu="",
    gpus=("NVIDIA GeForce RTX 3090",),
    levels=(LEVEL,),
    seconds=10.0,
)


def node(energy: Energy | None = None, region: str | None = "SE-AB") -> NodeView:
    return replace(node_view("ready"), energy=energy, region=region)


def test_what_was_metered_is_told_with_its_cost() -> None:
    """Tax, transfer and VAT are assumed even then: only the owner has the bill."""
    shown = electricity_of(node(Energy(300.0, 20.0, 0.55, "SE4")), None)
    assert (shown.area, shown.watts, shown.kwh) == ("SE4", 300.0, 20.0)
    assert shown.price == pytest.approx(1.51, abs=0.005)
    assert shown.kronor == pytest.approx(20 * all_in(0.55), abs=0.01)
    assert shown.assumed == ("fees",)


@pytest.mark.parametrize(
    ("region", "area"), [("SE-BD", "SE1"), ("SE-Y", "SE2"), ("SE-M", "SE4"), (None, "SE3")]
)
def test_a_node_that_says_nothing_is_guessed_at(region: str | None, area: str) -> None:
    """By its county and the year's mean; no kWh are made up."""
    shown = electricity_of(node(region=region), None)
    assert (shown.area, shown.kwh, shown.kronor, shown.kwh_per_million) == (area, None, None, None)
    assert shown.assumed == ("fees", "area", "spot")


def test_a_million_tokens_as_they_were_measured() -> None:
    """Watt-hours for a thousand are kilowatt-hours for a million."""
    measured = msgspec.structs.replace(BENCHMARK, watt_hours=0.9)
    shown = electricity_of(node(Energy(spot=0.55, area="SE3")), measured)
    assert shown.kwh_per_million == 0.9
    assert shown.kronor_per_million == pytest.approx(0.9 * all_in(0.55), abs=0.01)
    assert "draw" not in shown.assumed


def test_a_million_tokens_by_the_cards_power() -> None:
    """Where nothing was metered: 280 of 350 W at 100 tokens a second, said to be a guess."""
    shown = electricity_of(node(), BENCHMARK)
    assert shown.kwh_per_million == pytest.approx(280 / 360, abs=0.001)
    assert "draw" in shown.assumed
    unknown = msgspec.structs.replace(BENCHMARK, gpus=("a card of mine",))
    assert electricity_of(node(), unknown).kwh_per_million is None


@pytest.mark.parametrize(("spot", "price"), [(0.25, 1.14), (0.55, 1.51), (0.75, 1.76), (1.5, 2.7)])
def test_all_that_a_kilowatt_hour_costs(spot: float, price: float) -> None:
    """With energy tax, what a grid takes, a mark-up and VAT."""
    assert all_in(spot) == pytest.approx(price, abs=0.005)
