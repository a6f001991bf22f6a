"""Where llama.cpp computes: on a card that is there, or on the processor if somebody said so."""

import msgspec
import pytest

from garage_ai.node.engines.cards import Seat, cdi_names, chosen_cards, is_choice, place_of, seat
from garage_ai.node.errors import CardUnusable, NotPossible
from garage_ai.node.hardware.models import Gpu, Gpus

GIB = 1 << 30
FIRST = "GPU-5e1f0c2a-0000-4000-8000-000000000001"
SECOND = "GPU-5e1f0c2a-0000-4000-8000-000000000002"
ABSENT = "GPU-5e1f0c2a-0000-4000-8000-00000000000f"

CARD = Gpu(
    name="NVIDIA GeForce RTX 3090", uuid=FIRST, total=24 * GIB, free=23 * GIB, compute=(8, 6)
)
OTHER = msgspec.structs.replace(CARD, name="NVIDIA GeForce RTX 3060", uuid=SECOND)
OLD = msgspec.structs.replace(CARD, name="NVIDIA GeForce GTX 980", uuid=SECOND, compute=(5, 2))
GOOD = Gpus(source="nvml", cards=(CARD, OTHER), driver="590.44.01", cuda=(13, 1))


def but(**changes: object) -> Gpus:
    return msgspec.structs.replace(GOOD, **changes)


def test_a_pc_without_a_card_computes_on_its_processor() -> None:
    """There is nothing else it could do, so nobody has to say it."""
    assert seat((), Gpus(), plugged_in=False) == Seat()


@pytest.mark.parametrize("chosen", [(), ("auto",)])
def test_cards_that_are_there_are_what_it_computes_on(chosen: tuple[str, ...]) -> None:
    """All of them may be taken; the plan takes as few as will do."""
    assert seat(chosen, GOOD, plugged_in=True).uuids == (FIRST, SECOND)


def test_the_processor_beside_a_card_is_the_owners_word() -> None:
    """--gpu none, also where the card's driver is broken."""
    assert seat(("none",), GOOD, plugged_in=True) == Seat()
    assert seat(("none",), Gpus(problem="mismatch"), plugged_in=True) == Seat()


def test_only_the_cards_named_are_used() -> None:
    """In the driver's order, whatever order they were named in."""
    assert seat((SECOND,), GOOD, plugged_in=True).uuids == (SECOND,)
    assert seat((SECOND, FIRST), GOOD, plugged_in=True).uuids == (FIRST, SECOND)


VAIN = [
    ((), but(cards=(), problem="Driver/library version mismatch"), "version mismatch"),
    ((), Gpus(), "none answers"),
    ((FIRST,), Gpus(), "none answers"),
    ((), but(cuda=(12, 4), driver="550.120"), "550.120 speaks CUDA 12.4.*12.8"),
    ((), but(cards=(OLD,)), "GTX 980.*5.2; 6.1"),
    ((SECOND,), but(cards=(CARD, OLD)), "GTX 980"),
    ((ABSENT,), GOOD, f"no card {ABSENT}.*{FIRST}.*{SECOND}"),
]


@pytest.mark.parametrize(("chosen", "gpus", "words"), VAIN)
def test_a_card_that_cannot_be_used_is_never_passed_over(
    chosen: tuple[str, ...], gpus: Gpus, words: str
) -> None:
    """The owner hears what is wrong; the processor is not taken behind his back."""
    with pytest.raises(CardUnusable, match=words):
        seat(chosen, gpus, plugged_in=True)


def test_an_old_card_beside_a_good_one_is_left_alone() -> None:
    """Nobody asked for it."""
    assert seat((), but(cards=(CARD, OLD)), plugged_in=True).uuids == (FIRST,)


def test_cards_are_chosen_for_another_engine_too() -> None:
    """By the same words, and refused for the same reasons."""
    assert chosen_cards((), GOOD.cards) == GOOD.cards
    assert chosen_cards((SECOND,), GOOD.cards) == (OTHER,)
    with pytest.raises(CardUnusable, match="no card"):
        chosen_cards((ABSENT,), GOOD.cards)
    with pytest.raises(NotPossible, match="UUID"):
        chosen_cards(("0",), GOOD.cards)


def test_a_driver_that_does_not_tell_is_believed() -> None:
    """The engine itself is asked in its sandbox before it serves."""
    unknown = but(cuda=None, cards=(msgspec.structs.replace(CARD, compute=None),))
    assert seat((), unknown, plugged_in=True).uuids == (FIRST,)


@pytest.mark.parametrize(
    "word",
    ["0", "all", "gpu-1", FIRST.upper(), FIRST + "0", f"{FIRST},{SECOND}", FIRST + "\n", "", "--x"],
)
def test_what_is_no_uuid_reaches_no_command(word: str) -> None:
    """It would be an option of podman's, or another device's name."""
    assert not is_choice(word)
    with pytest.raises(NotPossible, match="UUID"):
        seat((word,), GOOD, plugged_in=True)


@pytest.mark.parametrize("chosen", [("none", FIRST), ("auto", "none"), (FIRST, "auto")])
def test_words_that_exclude_each_other_are_refused(chosen: tuple[str, ...]) -> None:
    """It is not guessed which of the two is meant."""
    with pytest.raises(NotPossible, match="alone"):
        seat(chosen, GOOD, plugged_in=True)


def test_the_room_of_a_card_leaves_the_desktop_its_own() -> None:
    """What is free now less half a GiB, and never the last GiB of all."""
    assert place_of(CARD).room == int(22.5 * GIB)
    assert place_of(msgspec.structs.replace(CARD, free=24 * GIB)).room == 23 * GIB
    assert place_of(msgspec.structs.replace(CARD, free=0)).room == 0
    assert place_of(CARD).bandwidth == 936.2


def test_cards_are_told_to_containers_by_the_names_they_have_there() -> None:
    """By UUID; where only `all` is a name, for all of them; else the description must be remade."""
    assert cdi_names([FIRST], {FIRST, SECOND}, {"0", "1", FIRST, SECOND, "all"}) == (FIRST,)
    assert cdi_names([FIRST], {FIRST}, {"all"}) == ("all",)
    assert cdi_names([FIRST], {FIRST}, set()) == (FIRST,)
    with pytest.raises(CardUnusable, match="device-name-strategy=uuid"):
        cdi_names([FIRST], {FIRST, SECOND}, {"0", "1", "all"})
