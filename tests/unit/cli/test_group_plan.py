"""`gai group plan`, as somebody types it who has none of the rigs."""

import re
from typing import get_args

import msgspec
import pytest
from typer.testing import CliRunner, Result

from garage_ai.catalog import Obstacle
from garage_ai.catalog.groups import (
    CardTooOld,
    ExpertsTooNarrow,
    HeadsIndivisible,
    LinkTooNarrow,
    MemoryShort,
    TripTooLong,
    UnequalCards,
)
from garage_ai.cli import group_plan_words
from garage_ai.cli.app import make_app
from garage_ai.cli.errors import Misused
from garage_ai.cli.group_plan import PlanShown, in_words

NEXT = "Qwen3-Next-80B-A3B-Instruct"
TWO = ("--rig", "16,16", "--rig", "16,16")
LAN = ("--gbit", "1", "--rtt-ms", "0.3")


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["group", "plan", *arguments])


def asked(*arguments: str) -> PlanShown:
    return msgspec.json.decode(typed(*arguments, "--json").stdout, type=PlanShown)


def test_two_pcs_hold_the_reference_model() -> None:
    """The beginning of a name is enough; the plan is told with its source, as an estimate."""
    shown = asked("qwen3-next", *TWO, *LAN)
    assert (shown.model, shown.estimate, shown.fits) == (NEXT, True, True)
    assert "huggingface.co" in shown.source
    assert shown.form_source
    assert shown.plan
    assert (shown.plan.tensor, shown.plan.pipeline, len(shown.plan.ranks)) == (2, 2, 4)
    # As fast as the slowest card of 16 GiB.
    assert shown.plan.pace
    named = asked(NEXT, *["--rig", "RTX 4060 Ti 16GB,RTX 4060 Ti 16GB"] * 2, *LAN)
    assert named.plan
    assert named.plan.pace == shown.plan.pace


def test_people_get_a_table_and_a_warning() -> None:
    """A row for each card, what is not done and why, and below that it was computed."""
    done = typed(NEXT, *TWO, *LAN)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0].startswith(f"{NEXT} as int4-experts on rig-1, rig-2: tensor parallel 2")
    assert sum(line.startswith("rig-") for line in lines) == 4
    assert any("needs 8 Gbit/s, there are 1;" in line for line in lines)
    assert "not measured" in done.output


def test_a_refusal_ends_with_its_numbers_and_a_code() -> None:
    """2 x 24 GB: what the weights take, what a card would need, and what is missing."""
    done = typed(NEXT, "--rig", "24,24")
    assert done.exit_code == 1
    assert "weights alone are 44.9 GiB" in done.output
    assert "needs 23.7 GiB and has 23.0: short by 0.7 GiB" in done.output
    shown = asked(NEXT, "--rig", "24,24")
    assert not shown.fits
    assert isinstance(shown.obstacles[0], MemoryShort)


def test_cards_that_a_pc_does_not_lend_are_named() -> None:
    """The others keep their numbers."""
    words = "RTX 3060,RTX 3090,RTX 3090,RTX 3090"
    shown = asked(NEXT, "--rig", words)
    assert shown.left_out == {"rig-1": ("RTX 3060",)}
    assert shown.plan
    assert {rank.card for rank in shown.plan.ranks} == {1, 2, 3}
    said = "- rig-1: a PC lends cards of one kind, here RTX 3090; not used are RTX 3060"
    assert said in typed(NEXT, "--rig", words).output
    assert asked(NEXT, "--rig", "RTX 3090,RTX 3090,RTX 3090").left_out == {}


def test_a_wish_and_a_form_are_heard() -> None:
    """Less is asked for, in one form."""
    shown = asked(
        NEXT,
        "--rig",
        "24,24,24,24",
        "--form",
        "int4-experts",
        "--context",
        "8192",
        "--sequences",
        "2",
    )
    assert shown.plan
    found = shown.plan
    assert (found.form, found.context, found.sequences) == ("int4-experts", 8192, 2)


def test_a_size_that_no_card_has_is_planned_without_a_speed() -> None:
    """20 GiB is no card of the table."""
    shown = asked("Qwen3-14B", "--rig", "20,20")
    assert shown.plan
    assert shown.plan.pace is None
    assert typed("Qwen3-14B", "--rig", "20,20").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Qwen", "--rig", "16"), "Qwen"),
        (("GPT-4", "--rig", "16"), "GPT-4"),
        ((NEXT, "--rig", "Voodoo 3"), "Voodoo 3"),
        ((NEXT, "--rig", ","), "without cards"),
        ((NEXT, "--rig", "0.5"), "0.5"),
        ((NEXT, *TWO, "--gbit", "1"), "belong together"),
        ((NEXT, *TWO, "--form", "int3"), "int3"),
    ],
)
def test_what_makes_no_sense_is_told_with_a_way_out(arguments: tuple[str, ...], said: str) -> None:
    """What is wrong, and what to type instead."""
    done = typed(*arguments)
    assert isinstance(done.exception, Misused)
    assert said in done.exception.message
    assert done.exception.advice


EXAMPLES: list[tuple[Obstacle, str]] = [
    (TripTooLong(one="a", other="b", rtt_ms=8.0, limit_ms=2.0), "takes 8 ms, 2 is the limit"),
    (LinkTooNarrow(one="a", other="b", gbit=2.5, limit_gbit=8.0), "8 Gbit/s, there are 2.5"),
    (
        UnequalCards(rigs=("a",), cards=("RTX 3090", "RTX 3060"), rooms=(23 << 30, 11 << 30)),
        "RTX 3090 (23.0 GiB), RTX 3060 (11.0 GiB)",
    ),
    (HeadsIndivisible(tensor=3, what="attention", heads=16), "16 attention heads"),
    (HeadsIndivisible(tensor=3, what="key", heads=2), "2 key heads"),
    (
        CardTooOld(rig="a", card="RTX 2060", compute=(7, 5), form="bf16", wanted=(8, 0)),
        "capability 7.5, bf16 needs 8.0",
    ),
    (ExpertsTooNarrow(form="fp8", tensor=8, width=512, block=128), "width of 512"),
    (
        MemoryShort(
            form="fp8",
            rigs=1,
            cards=2,
            tensor=2,
            pipeline=1,
            weights=10 << 30,
            needed=(6 << 30) + 1,
            room=6 << 30,
            short=1,
        ),
        "short by 0.1 GiB",
    ),
]


@pytest.mark.parametrize(("told", "said"), EXAMPLES, ids=lambda each: type(each).__name__)
def test_an_obstacle_is_said_with_its_numbers(told: Obstacle, said: str) -> None:
    """What was measured beside what is wanted."""
    assert said in in_words(told)


def test_every_obstacle_has_words() -> None:
    """A code without a sentence would end in an error."""
    for kind in get_args(Obstacle):
        assert kind.__struct_config__.tag in group_plan_words._WORDS


def test_both_languages_fill_in_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A translation names what the English message names."""
    places = re.compile(r"{(\w+)")
    for key, (english, swedish) in group_plan_words._WORDS.items():
        assert swedish, key
        assert sorted(places.findall(english)) == sorted(places.findall(swedish)), key
    monkeypatch.setattr(group_plan_words, "language", lambda: "sv")
    assert in_words(EXAMPLES[0][0]).endswith("koppla ihop dem med kabel")
