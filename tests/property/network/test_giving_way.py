"""Batch beside chat, for any order of events: a gateway's placement and a node's slots together.

Chats never wait while batch holds a slot, the youngest gives way, no batch request takes a slot
that a chat waits for, and none waits while a slot is free.
"""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from garage_ai.network.answer import Request
from garage_ai.network.limits import DispatchLimits
from garage_ai.network.models import EnrolledNode, Replica
from garage_ai.network.names import KnownModel, Names
from garage_ai.network.placement import Placement
from garage_ai.network.registry import Effect, Registry, RoomMade
from garage_ai.node.engines.port import Offer
from garage_ai.node.exchange import Exchange
from garage_ai.node.slots import Slots
from garage_ai.wire.frames import Open, Priority
from garage_ai.wire.ids import AttemptId, Digest, NodeId, SessionId
from garage_ai.wire.messages import Beat, EngineImage, ModelServed

SMALL = KnownModel("small", Digest("sha256:" + "a" * 64), "chat", 10, 1)
NODE = NodeId("n0")
OFFER = Offer("small", SMALL.digest, "small")


@dataclass(eq=False)
class Asked:
    """A request, and the task that finds it a slot."""

    number: int
    priority: Priority
    task: "asyncio.Task[Replica]"
    born: float | None = None
    exchange: Exchange | None = None


@dataclass
class Gateway:
    """What one gateway knows, and who waits in it."""

    registry: Registry = field(default_factory=lambda: Registry(Names([SMALL])))
    placement: Placement = field(init=False)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry.enrol(EnrolledNode(NODE, "mbr", "n", None))
        self.placement = Placement(
            self.registry,
            limits=DispatchLimits(),
            apply_effects=self.apply,
            chance=random.Random(1),
        )

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, RoomMade):
                self.placement.room_made(effect.target)


class GivingWay(RuleBasedStateMachine):
    """A gateway, a node, and requests of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gateway = Gateway()
        self.slots = Slots()
        self.slots.count = 2
        self.now, self.seq, self.number = 0.0, 0, 0
        self.beat()

    def spin(self) -> None:
        """Let tasks that can go on do so, and put what found a slot to the node."""
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
            for asked in self.gateway.asked:
                if asked.task.done() and asked.exchange is None:
                    self.open(asked)

    def open(self, asked: Asked) -> None:
        """Do as the node does with a job."""
        if asked.priority == "batch" and asked.born is None:
            asked.born = self.now
        age = None if asked.born is None else self.now - asked.born
        opening = Open(1, "s", "", "chat", SMALL.digest, True, 0, 60.0, batch_age=age)
        name = AttemptId(f"a{asked.number}")
        asked.exchange = Exchange(name, opening, "chat", OFFER, self.now)
        if self.slots.full:
            assert asked.priority == "chat", "a batch request was sent where no slot is free"
            assert self.slots.gives_way, "a chat was sent where only chats are"
            others = [each for each in self.running() if each.priority == "batch"]
            youngest = self.slots.make_room()
            # An age is told, and subtracted from the node's own clock.
            assert youngest.born == pytest.approx(max(each.born or 0.0 for each in others))
            self.give_way(next(each for each in others if each.exchange is youngest))
        self.slots.hold(asked.exchange)

    def running(self) -> list[Asked]:
        return [each for each in self.gateway.asked if each.exchange is not None]

    def leave(self, asked: Asked) -> None:
        assert asked.exchange is not None
        assert self.slots.free(asked.exchange)
        asked.exchange = None
        released = self.gateway.registry.release(asked.task.result(), asked.priority)
        self.gateway.apply(released)

    def give_way(self, asked: Asked) -> None:
        """Let one wait again, the first of its line."""
        self.leave(asked)
        asked.task = self.find(asked.priority, first=True)

    def find(self, priority: Priority, *, first: bool = False) -> "asyncio.Task[Replica]":
        request = Request("chat", "small", b"", True, False, priority=priority)
        found = self.gateway.placement.find(request, excluded=(), failure=None, first=first)
        return self.loop.create_task(found)

    @rule(priority=st.sampled_from(["chat", "batch", "batch"]))
    def ask(self, priority: Priority) -> None:
        """A request comes."""
        self.number += 1
        self.gateway.asked.append(Asked(self.number, priority, self.find(priority)))
        self.spin()

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """An engine has said all."""
        asked = data.draw(st.sampled_from(self.running()))
        self.leave(asked)
        self.gateway.asked.remove(asked)
        self.spin()

    @rule(seconds=st.floats(0.1, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def beat(self) -> None:
        """The node says how it is."""
        self.seq += 1
        running, batch = self.slots.load(SMALL.digest)
        slots = self.slots.count
        model = ModelServed("small", SMALL.digest, slots=slots, running=running, batch=batch)
        image = EngineImage(SMALL.digest, SMALL.digest)
        told = Beat(
            SessionId("s"),
            self.seq,
            0,
            "ready",
            (model,),
            sandbox="podman",
            limits=True,
            image=image,
        )
        self.gateway.apply(self.gateway.registry.heard(NODE, told, self.now, self.now))
        self.spin()

    @invariant()
    def chats_wait_only_for_chats(self) -> None:
        """None waits while a batch request holds a slot."""
        waiting = [each for each in self.gateway.asked if each.exchange is None]
        if any(each.priority == "chat" for each in waiting):
            assert all(each.priority == "chat" for each in self.running())

    @invariant()
    def no_slot_is_idle(self) -> None:
        """None is free while anybody waits, and none is held twice."""
        waiting = [each for each in self.gateway.asked if each.exchange is None]
        assert len(self.running()) <= self.slots.count
        assert self.slots.full or not waiting

    def teardown(self) -> None:
        """Nobody is left waiting for ever."""
        for asked in self.gateway.asked:
            asked.task.cancel()
        tasks = [asked.task for asked in self.gateway.asked]
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()


GivingWay.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestGivingWay = GivingWay.TestCase
