"""Whatever comes between, a version that has proved itself is what the owner falls back on."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from garage_ai.node.update.plan import (
    INSTALLED,
    State,
    confirmed,
    next_start,
    postponed,
    rolled_back,
    started,
    taken_back,
    updated,
)
from garage_ai.wire.versions import AgentVersion

OLD = AgentVersion(0, 1, 0)


class Updates(RuleBasedStateMachine):
    """An owner who updates, and a PC that may lose its power at any moment."""

    @initialize()
    def begin(self) -> None:
        """Only the installed version is there."""
        self.state = State()
        self.proved = {INSTALLED}
        self.tried = False
        self.number = 1

    @precondition(lambda self: not self.tried)
    @rule()
    def update(self) -> None:
        """A newer version is brought."""
        self.number += 1
        self.state = updated(
            next_start(self.state, OLD, lambda _: True, 0.0),
            f"0.{self.number}.0",
            seconds=60.0,
            installed="/python",
        )

    @precondition(lambda self: not self.tried)
    @rule()
    def start(self) -> None:
        """A start runs what has proved itself, or tries what never had its chance."""
        self.state = next_start(self.state, OLD, lambda _: True, 0.0)
        if self.state.trial is None:
            assert self.state.current in self.proved
            return
        assert self.state.current not in self.proved
        self.state = started(self.state)
        self.tried = True

    @precondition(lambda self: self.tried)
    @rule(end=st.sampled_from(["serves", "dies", "stopped", "killed"]))
    def trial_ends(self, end: str) -> None:
        """It serves, it does not, its owner stops it, or all of it is killed before a word."""
        self.tried = False
        if end == "serves":
            self.state = confirmed(self.state)
            self.proved.add(self.state.current)
        elif end == "dies":
            self.state = taken_back(self.state, "it died", 1.0)
        elif end == "stopped":
            self.state = postponed(self.state)
        else:
            after = next_start(self.state, OLD, lambda _: True, 2.0)
            assert after.current in self.proved
            assert after.trial is None

    @precondition(lambda self: not self.tried and self.state.before is not None)
    @rule()
    def roll_back(self) -> None:
        """The owner's word, before or after the trial."""
        self.state = rolled_back(next_start(self.state, OLD, lambda _: True, 0.0))

    @invariant()
    def what_is_behind_has_proved_itself(self) -> None:
        """There is always a way back to something that served."""
        assert self.state.before is None or self.state.before in self.proved
        assert self.state.trial is None or self.state.before is not None


TestUpdates = Updates.TestCase
TestUpdates.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
