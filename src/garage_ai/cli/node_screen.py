"""What a node in the foreground shows: a moving line on a terminal, plain lines elsewhere."""

import contextlib
import sys

from rich.console import Console
from rich.status import Status

from garage_ai.catalog import Progress
from garage_ai.cli import output
from garage_ai.cli.device_words import device_words
from garage_ai.cli.node_findings import show_findings
from garage_ai.cli.node_words import say
from garage_ai.cli.reason_words import reason_in_words
from garage_ai.cli.words import language
from garage_ai.node.events import (
    Begun,
    Computes,
    Done,
    Event,
    Exposed,
    Fetching,
    Link,
    Missing,
    Refused,
    State,
    Stopping,
    Unlisted,
)

_MEGABYTE = 1_000_000


class NodeScreen:
    """Put an agent's events into words: progress to stdout, trouble to stderr."""

    def __init__(self) -> None:
        self._moving: Status | None = None
        self._shown = ""
        if output.is_rich(sys.stdout):
            self._moving = Console(highlight=False).status("")

    def end(self) -> None:
        """Let the terminal rest."""
        if self._moving is not None:
            with contextlib.suppress(OSError):
                self._moving.stop()

    def done(self, text: str) -> None:
        """Tick something off."""
        self.end()
        mark = output.styled("ok", "green", sys.stdout)
        output.write(f"  {mark} {text}")

    def tell(self, event: Event) -> None:
        """Show an event; a terminal that is gone, or a full disk under `nohup`, ends no agent."""
        with contextlib.suppress(OSError):
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Begun(step, detail):
                self._move(f"{say(f'step.{step}')} {output.harmless(detail)}")
            case Done(step, detail):
                self.done(say(f"done.{step}", detail=output.harmless(detail)))
            case Unlisted(model):
                self.end()
                output.remark(say("unlisted", model=output.harmless(model)), style="yellow")
                output.remark(say("unlisted.next"), style="yellow")
            case Missing(findings):
                self.end()
                show_findings(findings)
            case Fetching(progress):
                self._fetching(progress)
            case Link(url, ""):
                self.done(say("done.network", detail=url))
            case Link(_, error):
                output.remark(say("link.down", error=output.harmless(error)), style="yellow")
            case Exposed(how):
                output.remark(say(f"exposed.{how}"), style="red")
                output.remark(say(f"exposed.{how}.next"), style="red")
            case Computes(device):
                self.done(say("done.device", where=device_words(device)))
            case State():
                self._state(event)
            case Refused(code):
                _refused(code)
            case Stopping(running, seconds):
                self.end()
                output.write(say("stopping", running=running, seconds=seconds))

    def _state(self, state: State) -> None:
        self.end()
        in_swedish = language() == "sv" and state.swedish
        reason = output.harmless(state.swedish if in_swedish else reason_in_words(state.reason))
        serves = state.state in ("ready", "dedicated")
        name = "loading" if serves and reason else state.state
        models = ", ".join(state.models)
        text = say(f"state.{name}", reason=reason, models=output.harmless(models))
        if name == "ready":
            output.write(text)
        else:
            output.remark(text, style=None)

    def _fetching(self, progress: Progress) -> None:
        share = int(100 * progress.done / progress.total) if progress.total else 100
        what = f"{say(f'fetch.{progress.phase}')} {output.harmless(progress.file)}"
        size = f"{progress.done / _MEGABYTE:.0f}/{progress.total / _MEGABYTE:.0f} MB"
        if self._moving is not None:
            speed = f" {progress.speed / _MEGABYTE:.1f} MB/s" if progress.speed else ""
            self._move(f"{what} {share} % ({size}{speed})")
            return
        # Every tenth part is enough for a log.
        line = f"  {what} {share // 10 * 10} %"
        if line != self._shown:
            self._shown = line
            output.write(line)

    def _move(self, text: str) -> None:
        if self._moving is not None:
            self._moving.update(f"{text} …")
            self._moving.start()


def _refused(code: str) -> None:
    if code:
        output.remark(say("refused", why=say(f"refused.{code}")), style="yellow")
    else:
        output.write(say("refused.no_more"))


__all__ = ["NodeScreen"]
