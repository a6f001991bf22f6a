"""`gai node service`: the node in the background."""

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_words import say
from garage_ai.cli.options import AsJson, NodeDir
from garage_ai.cli.reason_words import reason_in_words

if TYPE_CHECKING:
    from garage_ai.node.folder import NodeFolder
    from garage_ai.node.service.user_manager import NodeService, ServiceState

app = typer.Typer(help=say("help.service"), no_args_is_help=True)

READY_SECONDS: Final = 60.0
"""Longest look at a service that was just started; a large model takes longer."""

_LOOK_SECONDS: Final = 0.3


@app.command(help=say("help.service.install"))
def install(
    *,
    start: Annotated[bool, typer.Option("--start/--no-start", help=say("option.start"))] = True,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the service."""
    from garage_ai.cli.node_run import configure_logs, folder_at, guarded

    configure_logs()
    folder = folder_at(data_dir)
    guarded(folder.load)
    state = make_service(folder, start=start)
    if as_json:
        output.write_json(state)
    else:
        _show_made(state)


@app.command(help=say("help.service.remove"))
def remove(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Stop the service and remove it."""
    from garage_ai.cli.node_run import configure_logs, folder_at, run_async

    configure_logs()
    service = service_of(folder_at(data_dir))
    removed = run_async(service.remove())
    if as_json:
        output.write_json({"unit": service.unit, "removed": removed})
        return
    output.write(say("service.removed" if removed else "service.none", unit=service.unit))


@app.command(help=say("help.service.status"))
def status(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Show how the service is."""
    from garage_ai.cli.node_run import folder_at, run_async

    state = run_async(service_of(folder_at(data_dir)).state())
    if as_json:
        output.write_json(state)
        return
    if not state.installed:
        output.write(say("service.none", unit=state.unit))
        output.remark(say("service.none.next"))
        return
    enabled = say("limits.yes" if state.enabled else "limits.no")
    output.write(say("service.state", unit=state.unit, state=state.state, enabled=enabled))
    if state.exit_code and not state.runs:
        output.write(say("service.ended", code=state.exit_code, unit=state.unit))
    _advise(state)


def service_of(folder: "NodeFolder") -> "NodeService":
    """Give the service of a node's folder."""
    from garage_ai.node.service.user_manager import NodeService

    return NodeService(folder)


def wants_service(folder: "NodeFolder", said: bool | None) -> bool:
    """Tell whether the node is to run as a service; asks only at a terminal, and only once."""
    if said is not None:
        return said
    service = service_of(folder)
    if service.absence() is not None:
        return False
    if service.installed:
        return True
    if not output.at_terminal():
        return False
    try:
        return typer.confirm(say("service.ask"), default=False)
    except typer.Abort:
        raise KeyboardInterrupt from None


def make_service(folder: "NodeFolder", *, start: bool = True) -> "ServiceState":
    """Write the unit, start it, and watch until its agent is ready, or loads. Raises: CliError."""
    from garage_ai.cli.node_run import run_async

    service = service_of(folder)
    run_async(service.install(_argv(folder), start=start))
    return _watched(service, folder) if start else run_async(service.state())


def serve_in_background(folder: "NodeFolder") -> None:
    """Hand the node over to its service and show how it is. Raises: CliError."""
    from garage_ai.cli.node_status import lines
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent

    _show_made(make_service(folder))
    # One that still makes its engine answers nobody yet, which was told by now.
    with contextlib.suppress(NoAgent):
        for line in lines(ask_agent(folder.run, "status")):
            output.write(line)


def _show_made(state: "ServiceState") -> None:
    mark = output.styled("ok", "green", sys.stdout)
    output.write(f"  {mark} {say('service.installed', unit=state.path)}")
    if state.pid is not None:
        output.write(f"  {mark} {say('service.started', pid=state.pid)}")
    output.write(f"  {say('service.commands', unit=state.unit)}")
    _advise(state)


def _advise(state: "ServiceState") -> None:
    if state.linger is False:
        output.remark(say("service.linger"), style="yellow")
    if state.wsl:
        output.remark(say("service.wsl"), style="yellow")
        output.remark(say("service.wsl.next"), style="yellow")


def _watched(service: "NodeService", folder: "NodeFolder") -> "ServiceState":
    from garage_ai.cli.node_run import run_async
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent

    deadline = time.monotonic() + READY_SECONDS
    reason = ""
    while time.monotonic() < deadline:
        state = run_async(service.state())
        if not state.runs or state.restarts:
            raise Failed(
                say("service.died", code=state.exit_code),
                say("service.died.next", unit=state.unit),
            )
        try:
            shown = ask_agent(folder.run, "status")
        except NoAgent:
            time.sleep(_LOOK_SECONDS)
            continue
        reason = shown.reason
        if shown.state != "joining" and not (shown.state == "ready" and reason):
            return state
        time.sleep(_LOOK_SECONDS)
    why = output.harmless(reason_in_words(reason)) or say("service.preparing")
    output.remark(say("service.loading", reason=why), style=None)
    return run_async(service.state())


def _argv(folder: "NodeFolder") -> tuple[str, ...]:
    """Give the command of the service: the installed `gai`, which becomes the chosen version."""
    from garage_ai.node.update.plan import INSTALLED
    from garage_ai.node.update.versions import Versions

    versions = Versions(folder.path)
    python = Path(sys.executable)
    if not versions.runs_installed:
        # An updated version is removed by a later one; what was installed stays.
        python = versions.python(INSTALLED, versions.load())
    gai = python.parent / "gai"
    program = [str(gai)] if gai.exists() else [str(python), "-m", "garage_ai.cli"]
    return (*program, "node", "run", "--data-dir", str(folder.path))


__all__ = [
    "app",
    "make_service",
    "serve_in_background",
    "service_of",
    "wants_service",
]
