"""Run the agent in the foreground, and turn its errors into the command line's."""

import asyncio
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from garage_ai.cli import output
from garage_ai.cli.errors import CliError
from garage_ai.cli.node_error_words import in_words
from garage_ai.cli.node_words import has, say
from garage_ai.data_folder import default_data_dir
from garage_ai.local.folders import Folders
from garage_ai.local.whereabouts import find, find_any
from garage_ai.node.errors import NodeError
from garage_ai.node.folder import RECORD, Choice, NodeFolder

T = TypeVar("T")


class NodeFailed(CliError):
    """An error of the node, with an exit status of its own."""

    def __init__(self, error: NodeError) -> None:
        key = f"next.{error.code}"
        super().__init__(in_words(error), say(key) if has(key) else "")
        self.exit_code = error.exit_code
        self.code = error.code


def folder_at(data_dir: Path | None) -> NodeFolder:
    """Give the node's folder, the default one unless another is meant."""
    return NodeFolder((data_dir or default_data_dir()).expanduser().absolute())


def folder_here(data_dir: Path | None) -> NodeFolder:
    """Give the folder of the node that lives there: its own, else that of a `gai up` that runs."""
    folder = folder_at(data_dir)
    if (folder.path / RECORD).exists():
        return folder
    up = find_any(folder.path) if data_dir is None else find(folder.path)
    return folder if up is None else NodeFolder(Folders(Path(up.data_dir)).node)


def guarded(work: Callable[[], T]) -> T:
    """Do something with a node. Raises: CliError."""
    try:
        return work()
    except NodeError as error:
        raise NodeFailed(error) from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop until it is done. Raises: CliError."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return guarded(lambda: runner.run(work))


def serve_again(folder: NodeFolder, choice: Choice | None, gateway: str | None) -> None:
    """Serve with the identity that is there. Raises: CliError."""
    from garage_ai.cli.node_screen import NodeScreen
    from garage_ai.node.gateway_client import gateway_base
    from garage_ai.node.serve import serve

    configure_logs()
    screen = NodeScreen()
    output.write(say("title", folder=folder.path))
    base = guarded(lambda: gateway_base(gateway)) if gateway else None
    try:
        again = run_async(serve(folder, choice, base, screen.tell))
    finally:
        screen.end()
    stopped(folder, again=again)


def stopped(folder: NodeFolder, *, again: bool) -> None:
    """Say that it is over, or begin anew: the same process, terminal and unit."""
    if not again:
        output.write(say("stopped"))
        return
    from garage_ai.cli.handover import become

    become(Path(sys.executable), ["node", "run", "--data-dir", str(folder.path)])


class _Stderr(io.TextIOBase):
    """Where the log goes: a full disk, or a terminal that is gone, loses it and ends no agent."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logs() -> None:
    """Log to stderr as logfmt; `GAI_LOG_LEVEL` says how much.

    If it says nothing: warnings, and at a terminal, where the screen tells them, only errors.
    """
    import structlog

    usual = "error" if sys.stderr.isatty() else "warning"
    level = (os.environ.get("GAI_LOG_LEVEL") or usual).upper()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level, logging.WARNING)
        ),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
    )
    # nats-py and asyncio speak through the standard library.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


__all__ = [
    "NodeFailed",
    "configure_logs",
    "folder_at",
    "folder_here",
    "guarded",
    "run_async",
    "serve_again",
    "stopped",
]
