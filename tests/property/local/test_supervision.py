"""Whatever happens to a child, the machine keeps its promises."""

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.local.supervision import (
    Begin,
    Due,
    Event,
    Exited,
    Instruction,
    Policy,
    Ready,
    Report,
    Spawn,
    Stop,
    Supervision,
    Unanswered,
    Wait,
    backoff,
)

policies = st.builds(
    Policy,
    first_delay=st.floats(0.001, 10),
    max_delay=st.floats(0.001, 100),
    good_after=st.floats(0, 100),
    start_limit=st.floats(0.1, 100),
    stop_limit=st.floats(0.1, 100),
    worry_after=st.integers(1, 10),
    hung_after=st.none() | st.integers(1, 5),
)
draws = st.floats(0, 1, exclude_max=True)
steps = st.lists(
    st.sampled_from(["ready", "silent", "exited", "due", "stop", "begin"]), max_size=60
)


@given(policies, st.integers(1, 10_000), draws)
def test_backoff_is_bounded(policy: Policy, failures: int, draw: float) -> None:
    """No wait is longer than the policy's longest, none shorter than half of the first."""
    delay = backoff(policy, failures, draw)
    assert 0 < delay <= policy.max_delay
    assert delay >= min(policy.first_delay, policy.max_delay) / 2


@given(policies, st.integers(1, 60))
def test_backoff_never_shrinks(policy: Policy, failures: int) -> None:
    """With the same draw, a further failure waits at least as long."""
    assert backoff(policy, failures + 1, 0.5) >= backoff(policy, failures, 0.5)


@given(policies, steps, draws)
def test_at_most_one_child_lives(policy: Policy, names: list[str], draw: float) -> None:
    """Whatever comes, a child is started only when none runs, and none after a stop."""
    child = Child(Supervision(policy), draw)
    for name in ["begin", *names]:
        event = child.possible(name)
        if event is not None:
            child.obey(event, child.machine.handle(event))


@given(policies, st.integers(1, 30), draws)
def test_it_never_gives_up(policy: Policy, failures: int, draw: float) -> None:
    """After any number of failures the next start is under way, and worry is said aloud."""
    machine = Supervision(policy)
    machine.handle(Begin())
    for number in range(1, failures + 1):
        report, wait = machine.handle(Exited(float(number), 1, draw))
        assert isinstance(report, Report)
        assert report.failures == number
        assert report.worry == (number >= policy.worry_after)
        assert wait == Wait(report.delay)
        assert Spawn() in machine.handle(Due())


class Child:
    """What the shell would see: at most one process, and a clock that goes on."""

    def __init__(self, machine: Supervision, draw: float) -> None:
        self.machine = machine
        self.draw = draw
        self.at = 0.0
        self.alive = False
        self.stopped = False

    def possible(self, name: str) -> Event | None:
        """Give the event where the shell can send it."""
        self.at += 1.0
        match name:
            case "begin" if self.machine.state == "stopped" and not self.stopped:
                return Begin()
            case "ready" | "silent" if self.alive:
                was_ready = self.machine.state != "starting"
                return Unanswered() if was_ready and name == "silent" else Ready(self.at)
            case "exited" if self.alive:
                return Exited(self.at, 1, self.draw)
            case "due" if self.machine.state != "stopped":
                return Due()
            case "stop":
                return Stop()
            case _:
                return None

    def obey(self, event: Event, instructions: tuple[Instruction, ...]) -> None:
        self.alive = self.alive and not isinstance(event, Exited)
        self.stopped = self.stopped or isinstance(event, Stop)
        if Spawn() in instructions:
            assert not self.alive
            assert not self.stopped
            self.alive = True
