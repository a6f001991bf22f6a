"""Slots that are all taken: batch requests give way to those that somebody waits for."""

from tests.unit.node.test_core import DIGEST, frames, greeted, job, offer, ready, refusal

from garage_ai.node.core import Core
from garage_ai.wire.frames import Accepted, Data, Fail, Packet, cancel_packet
from garage_ai.wire.ids import AttemptId


def batch(name: str, age: float = 0.0, **more: object) -> Packet:
    return job(name, batch_age=age, **more)


def filled(*ages: float) -> Core:
    """A node whose slots are all taken by batch requests of these ages."""
    core = ready(slots=len(ages))
    for number, age in enumerate(ages):
        assert greeted(core, batch(f"b{number}", age), 0.0).run is not None
    return core


def test_the_youngest_gives_way_at_once() -> None:
    """A chat gets the slot before the engine has let go of the one who held it, who is told so."""
    core = filled(30.0, 5.0, 60.0)
    step = greeted(core, job("c1"), 1.0)
    assert frames(step) == [Accepted()]
    assert step.run is core.running[AttemptId("c1")]
    ((youngest, code),) = step.stop
    assert (youngest.id, code) == ("b1", "preempted")
    told = core.failed(youngest, code, "", 1.1)
    assert frames(told) == [Fail("preempted")]
    assert (core.totals.preempted, core.totals.failed) == (1, 0)
    assert core.full


def test_each_chat_takes_one_slot_until_none_gives_way() -> None:
    """Youngest first, nobody twice, and a chat gives way to nobody."""
    core = filled(1.0, 2.0)
    given = [greeted(core, job(f"c{number}"), 1.0).stop[0][0].id for number in range(2)]
    assert given == ["b0", "b1"]
    assert refusal(greeted(core, job("c2"), 1.0)) == "busy"
    assert refusal(greeted(core, batch("b2", 90.0), 1.0)) == "busy"


def test_batch_does_not_push_batch_out() -> None:
    """However old it is: it waits for a slot that is free."""
    core = filled(1.0)
    assert refusal(greeted(core, batch("b1", 90.0), 1.0)) == "busy"
    assert list(core.running) == ["b0"]


def test_nobody_gives_way_while_a_slot_is_free() -> None:
    """Batch keeps what nobody else needs."""
    core = ready(slots=2)
    greeted(core, batch("b0"), 0.0)
    assert greeted(core, job("c0"), 0.0).stop == []
    assert len(core.running) == 2


def test_one_whose_body_still_comes_is_told_at_once() -> None:
    """No engine has to let go of it."""
    core = ready(slots=1)
    first = batch("b0")
    core.job(Packet(first.attempt, 0, (first.frames[0], Data(b"{"))), 0.0)
    step = greeted(core, job("c0"), 0.0)
    assert Fail("preempted") in frames(step)
    assert list(core.running) == ["c0"]


def test_a_slot_that_was_given_away_is_not_free_when_its_holder_is_gone() -> None:
    """The engine's letting go makes no further room, and a chat's end does."""
    core = filled(1.0)
    step = greeted(core, job("c0"), 0.0)
    core.failed(step.stop[0][0], "preempted", "", 0.1)
    assert refusal(greeted(core, job("c1"), 0.2)) == "busy"
    assert step.run is not None
    core.answered(step.run)
    assert not core.full


def test_one_that_is_being_cancelled_still_makes_room() -> None:
    """Its engine lets go of it anyway: no other has to give way."""
    core = filled(1.0)
    core.cancel(cancel_packet(AttemptId("b0"), ""), 0.0)
    assert greeted(core, job("c0"), 0.0).run is not None


def test_gateways_hear_what_would_give_way() -> None:
    """How many of a model run, how many of them are batch; a full node says so when that ends."""
    core = filled(1.0, 2.0)
    assert core.load(offer()) == (2, 2)
    before = core.face
    greeted(core, job("c0"), 0.0)
    assert core.load(offer()) == (3, 1)
    assert core.face == before
    greeted(core, job("c1"), 0.0)
    assert core.face != before
    assert core.offers[0].digest == DIGEST
