"""`gai node rotate`: through the agent that runs, or alone where none does."""

import time
from typing import Final

from garage_ai.cli import output
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_run import NodeFailed, configure_logs, guarded, run_async
from garage_ai.cli.node_words import say
from garage_ai.node.control import Op, ask_agent
from garage_ai.node.errors import (
    EnrolmentFailed,
    GatewayAway,
    NoAgent,
    NodeError,
    NotEnrolled,
    NotKept,
    Removed,
)
from garage_ai.node.folder import NodeFolder
from garage_ai.node.rotation import rotate_alone
from garage_ai.node.status import RotationStatus

WAIT_SECONDS: Final = 960.0
"""Longest wait for an agent: its longest request, and a gateway that is slow to answer."""

_LOOK_SECONDS: Final = 0.2
_KINDS: Final[dict[str, type[NodeError]]] = {
    each.code: each for each in (EnrolmentFailed, GatewayAway, NotEnrolled, NotKept, Removed)
}


def rotate_key(folder: NodeFolder, *, as_json: bool) -> None:
    """Give the node another key, and say which. Raises: CliError."""
    configure_logs()
    record = guarded(folder.load)
    try:
        _through_agent(folder)
    except NoAgent:
        run_async(rotate_alone(folder))
    key = folder.identity.load().public_key
    if as_json:
        output.write_json({"node": record.node, "gateway": record.gateway, "public_key": key})
        return
    output.write(say("rotated", node=record.node, key=key))


def _through_agent(folder: NodeFolder) -> None:
    """Ask the agent, and wait until it has done it. Raises: NoAgent, CliError."""
    deadline = time.monotonic() + WAIT_SECONDS
    op: Op = "rotate"
    told = False
    while True:
        shown = ask_agent(folder.run, op)
        if is_over(shown.rotation):
            return
        if shown.running and not told:
            output.remark(say("rotate.waiting", running=shown.running), style=None)
            told = True
        if time.monotonic() > deadline:
            raise Failed(say("rotate.under_way"))
        op = "status"
        time.sleep(_LOOK_SECONDS)


def is_over(rotation: RotationStatus) -> bool:
    """Tell whether the agent has changed its key. Raises: NodeFailed if it could not."""
    if rotation.state == "failed":
        raise NodeFailed(_KINDS.get(rotation.code, NodeError)(rotation.message))
    return rotation.state == "done"


__all__ = ["WAIT_SECONDS", "is_over", "rotate_key"]
