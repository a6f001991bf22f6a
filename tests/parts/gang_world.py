"""Rigs with their gangs on one simulated LAN: links break, messages take their time, ranks die."""

from collections import deque
from dataclasses import dataclass, field
from functools import partial

from garage_ai.node.group.gang import EndRank, Gang, Instruction, Refusal, Send, StartRank
from garage_ai.node.group.messages import (
    Epoch,
    GangMessage,
    GangPlan,
    Member,
    Place,
    Started,
)
from garage_ai.node.group.planning import around_failures
from garage_ai.wire.ids import NodeId

DIGEST = "sha256:" + "a" * 64


def rigs_of(size: int) -> tuple[NodeId, ...]:
    """Name so many rigs."""
    return tuple(NodeId(f"rig-{number}") for number in range(size))


def needs(size: int, free: tuple[Member, ...]) -> GangPlan | Refusal:
    """Plan for exactly the first so many rigs."""
    if len(free) < size:
        return Refusal(f"{len(free)} of {size} rigs are there")
    return GangPlan(tuple(Place(each.node) for each in free[:size]), tensor=size)


@dataclass
class Rig:
    """One rig: its gang, and the part that runs."""

    gang: Gang
    told: Member
    runs: Epoch | None = None
    ending: bool = False
    started: list[Epoch] = field(default_factory=list)


class World:
    """All of them; `need` rigs make a gang."""

    def __init__(self, size: int, need: int) -> None:
        self.names = rigs_of(size)
        self.need = need
        self.now = 0.0
        self.rigs: dict[NodeId, Rig] = {}
        self.up: set[frozenset[NodeId]] = set()
        self.wires: dict[tuple[NodeId, NodeId], deque[GangMessage | Member]] = {}
        for name in self.names:
            self._boot(name)
        for one in self.names:
            for other in self.names:
                if one < other:
                    self.join(one, other)

    # --- what happens

    def deliver(self, sender: NodeId, to: NodeId) -> bool:
        """Let the oldest message between two rigs arrive."""
        wire = self.wires.get((sender, to))
        if not wire:
            return False
        message = wire.popleft()
        gang = self.rigs[to].gang
        if isinstance(message, Member):
            self._do(to, gang.met(message, self.now))
        else:
            self._do(to, gang.heard(sender, message, self.now))
        return True

    def join(self, one: NodeId, other: NodeId) -> None:
        """Make a link."""
        if frozenset((one, other)) in self.up:
            return
        self.up.add(frozenset((one, other)))
        self.wires[one, other] = deque([self.rigs[one].told])
        self.wires[other, one] = deque([self.rigs[other].told])

    def cut(self, one: NodeId, other: NodeId) -> None:
        """Break a link: what is on its way is gone, and both find out."""
        if frozenset((one, other)) not in self.up:
            return
        self.up.discard(frozenset((one, other)))
        for way in ((one, other), (other, one)):
            self.wires.pop(way)
        self._do(one, self.rigs[one].gang.lost(other, self.now))
        self._do(other, self.rigs[other].gang.lost(one, self.now))

    def reboot(self, name: NodeId) -> None:
        """Let a rig's agent die and begin anew: it remembers nothing, and nothing of it runs."""
        linked = [other for other in self.names if frozenset((name, other)) in self.up]
        self.rigs[name].runs = None
        for other in linked:
            self.up.discard(frozenset((name, other)))
            for way in ((name, other), (other, name)):
                self.wires.pop(way)
            self._do(other, self.rigs[other].gang.lost(name, self.now))
        self._boot(name)
        for other in linked:
            self.join(name, other)

    def comes_up(self, name: NodeId) -> None:
        """Let a rig's part say that it runs; a leader's answers only once all others run."""
        rig = self.rigs[name]
        if rig.runs is None or rig.ending:
            return
        # Who was of a gang of this number before its leader began anew is none of this one's.
        assert rig.gang.plan is not None
        ranks = [self.rigs[node] for node in rig.gang.plan.nodes]
        if rig.runs.leader == name and any(each.runs != rig.runs for each in ranks):
            return
        self._do(name, rig.gang.rank_up(rig.runs, self.now))

    def dies(self, name: NodeId) -> None:
        """Let a rig's part end: as it was told to, or by itself."""
        rig = self.rigs[name]
        if rig.runs is None:
            return
        epoch, rig.runs = rig.runs, None
        asked, rig.ending = rig.ending, False
        self._do(name, rig.gang.rank_ended(epoch, "" if asked else "it died", self.now))

    def lends(self, name: NodeId, *, willing: bool) -> None:
        """Let an owner lend his PC, or take it back."""
        rig = self.rigs[name]
        self._do(name, rig.gang.met(_member(name, willing=willing), self.now))

    def tick(self, seconds: float, chance: float) -> None:
        """Let time pass."""
        self.now += seconds
        for name, rig in self.rigs.items():
            self._do(name, rig.gang.tick(self.now, chance))

    def settle(self, rounds: int = 60) -> None:
        """Let all links be there, everybody lend, and everything arrive, for some time."""
        for one in self.names:
            self.lends(one, willing=True)
            for other in self.names:
                if one != other:
                    self.join(one, other)
        for number in range(rounds):
            while sum(self.deliver(*way) for way in list(self.wires)):
                pass
            for name in self.names:
                if self.rigs[name].ending:
                    self.dies(name)
                self.comes_up(name)
            self.tick(2.0, (number * 7 % 10) / 10)

    # --- what must hold

    def check(self) -> None:
        """No rig runs two parts, and who serves was told by each rank that it runs."""
        for name, rig in self.rigs.items():
            assert rig.started == sorted(set(rig.started)), f"{name} went back: {rig.started}"
            assert (rig.runs is not None) == rig.gang.runs
            if rig.gang.phase == "apart":
                assert rig.runs is None
        serving = [rig for rig in self.rigs.values() if rig.gang.phase == "serving"]
        held: dict[NodeId, Epoch] = {}
        for rig in serving:
            assert rig.gang.plan is not None
            for node in rig.gang.plan.nodes:
                if self.rigs[node].runs == rig.gang.epoch:
                    assert held.setdefault(node, rig.gang.epoch) == rig.gang.epoch

    def _boot(self, name: NodeId) -> None:
        member = _member(name, willing=True)
        gang = Gang(member, around_failures(partial(needs, self.need)))
        self.rigs[name] = Rig(gang, gang.myself)

    def _do(self, name: NodeId, instructions: list[Instruction]) -> None:
        rig = self.rigs[name]
        for each in instructions:
            match each:
                case Send(to, message):
                    if isinstance(message, Started):
                        assert rig.runs == message.epoch, "said to run what does not"
                    if frozenset((name, to)) in self.up:
                        self.wires[name, to].append(message)
                case StartRank(epoch):
                    assert rig.runs is None, f"{name} runs {rig.runs} and is to start {epoch}"
                    rig.runs = epoch
                    rig.started.append(epoch)
                case EndRank(epoch):
                    assert rig.runs == epoch
                    rig.ending = True
        if rig.gang.myself != rig.told:
            rig.told = rig.gang.myself
            for other in self.names:
                if frozenset((name, other)) in self.up:
                    self.wires[name, other].append(rig.told)


def _member(name: NodeId, *, willing: bool) -> Member:
    return Member(name, DIGEST, willing=willing)


__all__ = ["DIGEST", "World", "needs", "rigs_of"]
