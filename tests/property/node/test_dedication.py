"""Under any order of askings, ends, pauses and time no request meets an engine of another's."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from garage_ai.node.dedication import MOST_SECONDS, Dedication

JOBS = ("a", "b")


class Node(RuleBasedStateMachine):
    """A dedication and beside it the engine, as the shell would run it."""

    def __init__(self) -> None:
        super().__init__()
        self.dedication = Dedication(allowed=True)
        self.now = 0.0
        self.engine: str | None = ""
        self.begun: dict[str, float] = {}
        self.may_run = self.serves = True
        self.busy = False

    @rule(seconds=st.sampled_from([1.0, 9.0, 44.0, 70.0, 3600.0]))
    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.settle()

    @rule(job=st.sampled_from(JOBS), seconds=st.sampled_from([1.0, 45.0, 600.0]))
    def asked(self, job: str, seconds: float) -> None:
        before = self.dedication.job
        if self.dedication.ask(job, seconds, self.now):
            assert before in ("", job)
            if not before:
                self.begun[job] = self.now
        self.settle()

    @rule(job=st.sampled_from(JOBS))
    def ended(self, job: str) -> None:
        self.dedication.end(job, self.now)
        self.settle()

    @rule(may_run=st.booleans(), serves=st.booleans(), allowed=st.booleans(), busy=st.booleans())
    def said(self, may_run: bool, serves: bool, allowed: bool, busy: bool) -> None:
        self.may_run, self.serves, self.busy = may_run, serves, busy
        self.dedication.allowed = allowed
        self.settle()

    def settle(self) -> None:
        """Do what is to be done, as often as there is something; that has an end."""
        for _ in range(6):
            turn = self.dedication.turn(
                self.now,
                runs=self.engine is not None,
                may_run=self.may_run,
                serves=self.serves,
                busy=self.busy,
            )
            match turn.what:
                case "release":
                    assert self.engine is not None
                    self.engine, self.busy = None, False
                case "start":
                    assert self.engine is None
                    self.dedication.started()
                    self.engine = self.dedication.made_for
                case "wait":
                    assert turn.seconds is None or turn.seconds >= 0
                    return
        raise AssertionError("it never comes to rest")

    @invariant()
    def whoever_is_served_has_an_engine_made_for_him(self) -> None:
        if self.engine is not None and not self.dedication.changes:
            assert self.engine == self.dedication.job

    @invariant()
    def the_owner_has_his_pc(self) -> None:
        if not self.may_run:
            assert self.engine is None
        if not (self.may_run and self.serves and self.dedication.allowed):
            assert not self.dedication.job

    @invariant()
    def no_job_has_it_for_ever(self) -> None:
        if self.dedication.job:
            assert self.now - self.begun[self.dedication.job] < MOST_SECONDS


TestNode = Node.TestCase
