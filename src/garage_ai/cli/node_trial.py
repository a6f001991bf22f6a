"""A new version of the agent on trial: started, watched until it serves, taken back if it does not.

The watcher is the old version. It holds the new one as its child, tied to it by the kernel, and
stays its parent until that run ends; the next start goes straight to the new version. It is killed
at any point: the child ends with it, and the next start finds a trial that was begun and not won.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from garage_ai.cli import output
from garage_ai.cli.update_words import say
from garage_ai.local import tether
from garage_ai.node.control import GroupSigns, Signs, ask_agent, glance
from garage_ai.node.errors import NoAgent, NodeError
from garage_ai.node.update.plan import State, confirmed, postponed, started, taken_back
from garage_ai.node.update.versions import Versions

LOOK_SECONDS: Final = 0.3
END_SECONDS: Final = 40.0
"""An agent that is asked to end finishes what runs, within 30 s."""

_ENDS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""By which an owner, systemd or a terminal that is closed ends an agent."""

_AGAIN_SECONDS: Final = 10.0
"""Between two tries to keep what a full disk did not take."""

_SERVING: Final = frozenset({"ready", "dedicated", "paused", "draining"})

Handler = Callable[[int, FrameType | None], Any] | int | None


class Trial:
    """One start of a version on trial."""

    def __init__(self, versions: Versions, state: State, words: list[str]) -> None:
        if state.trial is None:
            raise AssertionError("only a version on trial is watched")
        self._versions = versions
        self._state = state
        self._seconds = state.trial.seconds
        self._words = words
        self._run = versions.path.parent / "run"
        self._asked: int | None = None
        self._begun = state
        self._kept = True
        self._child: subprocess.Popen[bytes] | None = None
        self.goes_on = False
        """Whether the child is to be waited for: it serves, or the owner ended it."""

    def judge(self) -> State:
        """Start the version and watch it; give what is chosen after that."""
        untried = self._state
        self._begun = self._keep(started(untried))
        if not self._kept:
            # The next start would not know that it has had its chance.
            output.remark(say("trial.put_off", version=untried.current))
            return taken_back(untried, "the disk keeps nothing", time.time())
        # What is ignored, as under nohup, stays so.
        heard = [each for each in _ENDS if signal.getsignal(each) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._received) for number in heard}
        output.remark(say("trial.begun", version=self._state.current), style=None)
        child = self._child = self._start()
        deadline = time.monotonic() + self._seconds
        while True:
            ended = child.poll()
            if self._asked is not None:
                self.goes_on = True
                return self._keep(postponed(self._state))
            signs = glance(self._run)
            late = time.monotonic() > deadline
            reason = verdict(signs, self._state.current, child.pid, ended, late=late)
            if reason is None and late:
                reason = f"it did not serve within {self._seconds:g} s"
            if reason == "":
                self.goes_on = True
                output.remark(say("trial.won", version=self._state.current), style=None)
                return self._keep(confirmed(self._state))
            if reason is not None:
                self._end(child)
                output.remark(say("trial.lost", version=self._state.current, why=reason))
                state = self._keep(taken_back(self._state, reason, time.time()))
                self._let_go(before)
                return state
            time.sleep(LOOK_SECONDS)

    def wait(self) -> int:
        """Wait until the version ends, pass on what it is told, and give its exit status."""
        child = self._child
        if child is None:
            raise AssertionError("nothing was started")
        told = False
        again = time.monotonic()
        while child.poll() is None:
            if not self._kept and time.monotonic() >= again:
                again = time.monotonic() + _AGAIN_SECONDS
                self._keep_late()
            if self._asked is not None and not told:
                told = True
                self._tell_to_stop(child)
            with suppress(subprocess.TimeoutExpired):
                child.wait(LOOK_SECONDS)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _start(self) -> subprocess.Popen[bytes]:
        python = self._versions.python(self._state.current, self._state)
        tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        return subprocess.Popen([*tied, str(python), "-P", "-m", "garage_ai.cli", *self._words])

    def _keep(self, state: State) -> State:
        """Keep what is chosen; `wait` tries again what a full disk does not take."""
        self._state = state
        try:
            self._versions.save(state)
        except OSError:
            self._kept = False
        else:
            self._kept = True
        return state

    def _keep_late(self) -> None:
        """Keep it now, unless something else was chosen meanwhile."""
        with suppress(NodeError), self._versions.trying():
            if self._versions.load() == self._begun:
                self._keep(self._state)
            else:
                self._kept = True

    def _received(self, number: int, _: object) -> None:
        self._asked = number

    def _let_go(self, before: dict[signal.Signals, Handler]) -> None:
        """Hear signals as before: the old version goes on here, unless it was told to end."""
        for number, handler in before.items():
            signal.signal(number, handler)
        if self._asked is not None:
            signal.raise_signal(self._asked)

    def _tell_to_stop(self, child: subprocess.Popen[bytes]) -> None:
        """Ask it to finish; a signal sent besides the one it may have got would hurry it."""
        if self._asked == signal.SIGINT:
            return  # Ctrl-C reaches all in front of the terminal.
        try:
            ask_agent(self._run, "stop")
        except NoAgent:
            child.terminate()

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def verdict(
    signs: Signs, version: str, pid: int, ended: int | None, *, late: bool = False
) -> str | None:
    """Judge what is seen: "" it serves, None not known yet, else why it failed. Pure.

    An agent that its owner has paused, or that a game holds, serves as well as it may; so does one
    that waits for room, which has made all but its engine, and a rig that computes for another. One
    that when its time is over (`late`) waits for other rigs is not at fault.
    """
    if ended is not None:
        return f"it ended with status {ended}"
    if (signs.pid, signs.agent) != (pid, version):
        return None
    if signs.waits_for_room:
        return ""
    if signs.link.state != "connected":
        return None
    return "" if signs.state in _SERVING or _is_in_a_gang(signs.group, late=late) else None


def _is_in_a_gang(group: GroupSigns | None, *, late: bool) -> bool:
    return group is not None and (group.phase == "working" or (late and group.waits))


__all__ = ["Trial", "verdict"]
