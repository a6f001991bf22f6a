"""What `gai up` shows: a moving line on a terminal, plain lines everywhere else."""

import json
import shlex
import sys

from rich.console import Console
from rich.status import Status

from garage_ai.cli import output
from garage_ai.cli.up_words import say as say_of_up
from garage_ai.cli.words import language, say
from garage_ai.local.events import (
    Leaving,
    Left,
    LeftoversEnded,
    Ready,
    StandsBack,
    StepBegun,
    StepDone,
    UpEvent,
)
from garage_ai.local.folders import Folders
from garage_ai.local.supervisor import Change


class Screen:
    """Put events into words. Progress and results to stdout, trouble to stderr."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._is_up = False
        self._moving: Status | None = None
        if output.is_rich(sys.stdout):
            self._moving = Console(highlight=False).status("")

    def end(self) -> None:
        """Let the terminal rest."""
        if self._moving is not None:
            self._moving.stop()
            self._moving = None

    def tell(self, event: UpEvent) -> None:
        """Show an event."""
        match event:
            case StepBegun(name):
                self._move(say(f"step.{name}"))
            case StepDone(name, seconds):
                mark = output.styled("ok", "green", sys.stdout)
                output.write(f"  {mark} {say(f'step.{name}')} ({seconds:.1f} s)")
            case LeftoversEnded(names):
                listed = ", ".join(say(f"child.{name}") for name in names)
                output.remark(say("up.leftovers", names=listed), style="yellow")
            case StandsBack(reason):
                why = reason.sv if language() == "sv" else reason.en
                output.remark(say_of_up("stands_back", reason=why), style="yellow")
                output.remark(say_of_up("stands_back.next"))
            case Ready():
                self.end()
                self._is_up = True
                self._show_ready(event)
            case Leaving(seconds):
                self.end()
                output.write(say("up.leaving", seconds=seconds))
            case Left():
                output.write(say("up.left"))
            case Change():
                self._show_change(event)

    def _move(self, text: str) -> None:
        if self._moving is not None:
            self._moving.update(f"{text} …")
            self._moving.start()

    def _show_ready(self, event: Ready) -> None:
        output.write()
        output.write(f"  {say('up.url')}  {event.url}")
        output.write(f"  {say('up.api')}  {event.url}/v1")
        if output.in_journal(sys.stdout):  # which others may read, and for months
            output.write(f"  {say('up.key')}  {say('up.key.kept', path=self._folders.admin_key)}")
            output.write()
        else:
            output.write(f"  {say('up.key')}  {event.key}")
            output.write()
            output.write(say("up.try"))
            output.write(curl(event))
            output.write()
        if event.model is None:
            output.write(say("up.ready", seconds=event.seconds))
        else:
            output.write(say("up.ready.model", model=event.model, seconds=event.seconds))

    def _show_change(self, change: Change) -> None:
        name = say(f"child.{change.name}")
        how = _how(change.code)
        if change.kind == "ready" and self._is_up:
            output.remark(say("up.back", name=name), style="green")
        elif change.kind == "ended" and change.worry:
            log = self._folders.logs / f"{change.name}.log"
            words = say("up.worry", name=name, how=how, failures=change.failures, log=log)
            output.remark(words, style="red")
        elif change.kind == "ended":
            words = say("up.ended", name=name, how=how, delay=change.delay)
            output.remark(words, style="yellow")


def curl(event: Ready) -> str:
    """Give the command that shows that it works, fit to be pasted into any POSIX shell."""
    trust = ["--cacert", str(event.ca)] if event.ca else []
    argv = ["curl", *trust, "-H", f"Authorization: Bearer {event.key}"]
    if event.model is None:
        argv.append(f"{event.url}/v1/models")
    else:
        messages = [{"role": "user", "content": say("up.hello")}]
        # A model of this size may not find an end, and the first answer should not take a minute.
        body = json.dumps({"model": event.model, "messages": messages, "max_tokens": 60})
        argv += ["-H", "Content-Type: application/json", "-d", body]
        argv.append(f"{event.url}/v1/chat/completions")
    return shlex.join(argv)


def _how(code: int) -> str:
    if code < 0:
        return say("up.signal", number=-code)
    return say("up.exit", number=code)


__all__ = ["Screen", "curl"]
