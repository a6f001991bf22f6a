"""`gai node leave`: from a node back to a PC on which nothing of it is left."""

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import CliError, Failed
from garage_ai.cli.node_words import say
from garage_ai.cli.options import AsJson, NodeDir
from garage_ai.cli.reason_words import reason_in_words

if TYPE_CHECKING:
    from garage_ai.node.control import Op
    from garage_ai.node.folder import NodeFolder
    from garage_ai.node.leaving import Left

STOP_SECONDS: Final = 35.0
"""Longest wait for an agent to finish what it does before it leaves the network."""


def leave(
    *,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help=say("option.keep_models"))
    ] = False,
    force: Annotated[bool, typer.Option("--force", help=say("option.force"))] = False,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Stop the agent, leave the network and remove what was the node."""
    from garage_ai.cli.node_run import configure_logs, folder_at, run_async
    from garage_ai.cli.node_service import service_of
    from garage_ai.node.leaving import leave as leave_network

    configure_logs()
    folder = folder_at(data_dir)
    service = service_of(folder)
    ran = run_async(service.stop())
    try:
        _stop_agent(folder)
        left = run_async(leave_network(folder, keep_models=keep_models, force=force))
    except BaseException as error:
        if ran:
            # Also after Ctrl-C: whoever did not leave serves on. Its unit may be gone by then.
            with contextlib.suppress(CliError):
                run_async(service.start())
        if isinstance(error, CliError) and _was_not_reached(error.__cause__):
            error.advice = say("left.away.next")
        raise
    if as_json:
        output.write_json(left)
    else:
        _show(left, folder)
    if left.kept:
        raise Failed(say("left.kept"), say("left.kept.next"), left.kept)


def _was_not_reached(error: BaseException | None) -> bool:
    """Tell whether the gateway heard nothing: away, or showing another CA than the node's."""
    from garage_ai.node.errors import GatewayAway
    from garage_ai.node.gateway_client import GatewayRefused

    return isinstance(error, GatewayAway) or (
        isinstance(error, GatewayRefused) and error.reason == "tls"
    )


def _show(left: "Left", folder: "NodeFolder") -> None:
    mark = output.styled("ok", "green", sys.stdout)
    words = say(
        f"left.{left.network}",
        node=left.node,
        gateway=output.harmless(left.gateway or ""),
        folder=folder.path,
    )
    if left.network == "not_told":
        output.remark(words, style="yellow")
        output.remark(f"    gai node remove {left.node}", style=None)
    else:
        output.write(f"  {mark} {words}")
    for each in left.removed:
        output.write(f"  {mark} {say('left.removed', what=reason_in_words(each))}")
    for each in left.shared:
        output.write(f"  {mark} {say('left.shared', what=reason_in_words(each))}")
    if left.freed_bytes >= 1e6:
        output.write(f"  {mark} {say('left.freed', megabytes=left.freed_bytes / 1e6)}")


def _stop_agent(folder: "NodeFolder") -> None:
    """Let a running agent finish and end. Raises: CliError."""
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent

    deadline = time.monotonic() + STOP_SECONDS
    op: Op = "stop"
    while True:
        try:
            shown = ask_agent(folder.run, op)
        except NoAgent:
            return
        if time.monotonic() > deadline:
            raise Failed(say("agent_still_there", pid=shown.pid))
        op = "status"
        time.sleep(0.1)


__all__ = ["leave"]
