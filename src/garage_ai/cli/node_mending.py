"""`gai node doctor --fix` at a terminal: a fix that is a command is offered, and run on a yes."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Final

import typer

from garage_ai.cli import output
from garage_ai.cli.node_words import say
from garage_ai.cli.preflight_words import command_of, then_of
from garage_ai.node.preflight.models import CheckId, Finding

_SECONDS: Final = 1800
"""Longest run of one command: a distribution's packages come through slow lines too."""

_ADVICE: Final[frozenset[CheckId]] = frozenset({"cgroup", "linger", "clock"})
"""Whose warnings are worth a question; others' are of what only another engine needs."""

_ROOTS_PATH: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where sudo finds programs that no user's PATH has on Debian (sudoers(5), secure_path)."""


def offer(findings: Iterable[Finding]) -> bool:
    """Ask about each command that would put something right; tell whether any was run.

    Whoever only presses Enter says yes to what the engine cannot do without. Nothing is asked where
    nobody sits at a terminal. Raises: KeyboardInterrupt.
    """
    if not output.at_terminal():
        return False
    ran = False
    for command, finding in _commands(findings).items():
        output.write(f"  $ {command}")
        try:
            wanted = typer.confirm(say("doctor.offer"), default=finding.state == "fail")
        except typer.Abort:
            raise KeyboardInterrupt from None
        if wanted:
            ran = True
            _run(command, then_of(finding))
    return ran


def _commands(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Give each command that can be run here once, with what it puts right."""
    found: dict[str, Finding] = {}
    for each in findings:
        if each.state == "fail" or (each.state == "warn" and each.check in _ADVICE):
            command = _here(command_of(each))
            if command:
                found.setdefault(command, each)
    return found


def _here(command: str) -> str:
    """Give a command as it is run here; nothing where this system has no such program."""
    if os.geteuid() == 0:
        command = command.replace("sudo ", "")
    words = command.split()
    programs = words[: 2 if words[:1] == ["sudo"] else 1]
    return command if all(shutil.which(each, path=_path()) for each in programs) else ""


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_ROOTS_PATH))


def _run(command: str, then: str) -> None:
    try:
        # Written here, in `preflight_words`; what this PC says of itself is quoted in it.
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            check=False,
            timeout=_SECONDS,
            env=os.environ | {"PATH": _path()},
        )
        code = done.returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        output.remark(say("doctor.not_run", error=str(error)[:200]))
        return
    if code:
        output.remark(say("doctor.command_failed", code=code))
    elif then:
        output.write(f"  {then}")


__all__ = ["offer"]
