"""Gangs of a few rigs, whatever happens to links, ranks, agents and owners."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.parts.gang_world import World, rigs_of

from garage_ai.wire.ids import NodeId

RIGS = st.sampled_from(rigs_of(3))


class Gangs(RuleBasedStateMachine):
    """Three rigs of which two, or all three, make a gang."""

    world: World

    @initialize(need=st.integers(2, 3))
    def begin(self, need: int) -> None:
        """All of them see each other."""
        self.world = World(3, need)

    @rule(sender=RIGS, to=RIGS)
    def arrives(self, sender: str, to: str) -> None:
        """A message comes in."""
        self.world.deliver(*self._pair(sender, to))

    @rule()
    def all_arrives(self) -> None:
        """All messages come in, and what they bring about."""
        for _ in range(5):
            for way in list(self.world.wires):
                self.world.deliver(*way)

    @rule(one=RIGS, other=RIGS)
    def cut(self, one: str, other: str) -> None:
        """A link breaks."""
        self.world.cut(*self._pair(one, other))

    @rule(one=RIGS, other=RIGS)
    def join(self, one: str, other: str) -> None:
        """A link is there again."""
        if one != other:
            self.world.join(*self._pair(one, other))

    @rule(rig=RIGS)
    def reboots(self, rig: str) -> None:
        """An agent begins anew."""
        self.world.reboot(self._rig(rig))

    @rule(rig=RIGS)
    def comes_up(self, rig: str) -> None:
        """A part runs."""
        self.world.comes_up(self._rig(rig))

    @rule(rig=RIGS)
    def dies(self, rig: str) -> None:
        """A part ends."""
        self.world.dies(self._rig(rig))

    @rule(rig=RIGS)
    def fails_time_after_time(self, rig: str) -> None:
        """A part ends by itself in each gang that it is of."""
        for _ in range(3):
            for _ in range(2):
                self.world.tick(70.0, 0.5)
                self.all_arrives()
            self.world.dies(self._rig(rig))
            for name in self.world.names:
                self.all_arrives()
                if self.world.rigs[name].ending:
                    self.world.dies(name)

    @rule(rig=RIGS, willing=st.booleans())
    def lends(self, rig: str, willing: bool) -> None:
        """An owner lends his PC, or takes it back."""
        self.world.lends(self._rig(rig), willing=willing)

    @rule(seconds=st.sampled_from([1.0, 20.0, 4000.0]), chance=st.floats(0, 1))
    def time_passes(self, seconds: float, chance: float) -> None:
        """What is late is given up."""
        self.world.tick(seconds, chance)

    @invariant()
    def one_gang_at_a_time(self) -> None:
        """Each rig runs one part at most, of ever later gangs."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Left in peace, one gang serves, and nothing else runs."""
        if not hasattr(self, "world"):
            return
        self.world.settle()
        self.world.check()
        phases = [self.world.rigs[name].gang.phase for name in self.world.names]
        assert phases.count("serving") == 1, self._story()
        assert phases.count("working") == self.world.need - 1, self._story()
        running = [rig.runs for rig in self.world.rigs.values() if rig.runs is not None]
        assert len(running) == self.world.need
        assert len(set(running)) == 1

    def _story(self) -> str:
        return str(
            {
                name: (rig.gang.phase, rig.gang.epoch, rig.gang.reason)
                for name, rig in self.world.rigs.items()
            }
        )

    def _rig(self, name: str) -> NodeId:
        return NodeId(name)

    def _pair(self, one: str, other: str) -> tuple[NodeId, NodeId]:
        return NodeId(one), NodeId(other)


TestGangs = Gangs.TestCase
TestGangs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
