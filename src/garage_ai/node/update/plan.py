"""Which version of the agent is to run: pure, one small file of state, no clock of its own.

The installed version is called "", all others by their number. A new version is current as soon as
it is chosen, and on trial until it serves:

    updated ─start→ trial started ─serves→ confirmed
                        └─ends, is killed, or does not serve in time→ back to the one before

Every step is one file replaced, so whatever is killed in between, the next start finds one of
these: not chosen yet (the old one runs), chosen but not started (it is tried), started but not
confirmed (it has had its chance: back).
"""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from garage_ai.wire.versions import VERSION_PATTERN, AgentVersion, agent_version

INSTALLED: Final = ""

Name = Annotated[str, msgspec.Meta(pattern=f"^({VERSION_PATTERN})?$")]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many seconds the current version has to begin to serve, and whether it has begun to."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    started: bool = False


class Failure(msgspec.Struct, frozen=True):
    """A version that was taken back, and why; `at` in seconds since 1970."""

    version: Name
    reason: Text
    at: float


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is chosen.

    `before` is the version to go back to, None where there is none. `installed` is the Python of
    the environment that `gai` was installed in, as seen at the last update.
    """

    current: Name = INSTALLED
    before: Name | None = None
    trial: Trial | None = None
    failed: Failure | None = None
    installed: Text = ""


def updated(state: State, version: str, *, seconds: float, installed: str) -> State:
    """Choose a new version, on trial; behind it is the last one that has proved itself."""
    before = state.current if state.trial is None else state.before
    return State(version, before, Trial(seconds), installed=installed)


def started(state: State) -> State:
    """Let the trial begin."""
    return _with_trial(state, started=True)


def postponed(state: State) -> State:
    """Stop the trial without a verdict: the owner ended it, not the version."""
    return _with_trial(state, started=False)


def confirmed(state: State) -> State:
    """End the trial well."""
    return msgspec.structs.replace(state, trial=None)


def taken_back(state: State, reason: str, at: float) -> State:
    """End the trial badly."""
    failed = Failure(state.current, reason[:1000], at)
    return State(state.before or INSTALLED, failed=failed, installed=state.installed)


def rolled_back(state: State) -> State:
    """Go back on the owner's word; what was before has proved itself already."""
    return State(state.before or INSTALLED, installed=state.installed)


def next_start(
    state: State, installed: AgentVersion | None, can_run: Callable[[str], bool], at: float
) -> State:
    """Decide what a start does: the state it leaves behind says which version, on trial or not.

    `installed` is the version of the process that asks, if it is the installed one. An installed
    version that is newer by now, or a chosen one that is gone, ends the choice.
    """
    if state.trial is not None and state.trial.started:
        state = taken_back(state, "it ended before it served", at)
    chosen = agent_version(state.current)
    if chosen is None:
        return state
    if not can_run(state.current):
        gone = taken_back(state, "its environment cannot be used", at)
        return next_start(gone, installed, can_run, at)
    if installed is not None and installed >= chosen:
        return State(failed=state.failed, installed=state.installed)
    return state


def _with_trial(state: State, *, started: bool) -> State:
    if state.trial is None:
        return state
    trial = msgspec.structs.replace(state.trial, started=started)
    return msgspec.structs.replace(state, trial=trial)


__all__ = [
    "INSTALLED",
    "Failure",
    "State",
    "Trial",
    "confirmed",
    "next_start",
    "postponed",
    "rolled_back",
    "started",
    "taken_back",
    "updated",
]
