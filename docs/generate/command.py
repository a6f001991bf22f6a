"""The page of the `gai` command, from the command line itself."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from docs.generate.markdown import code, page, table

_WIDTH: Final = 1000
_LEAF: Final = re.compile(r"[│ ]*[├└]── (\w+) +(.*)")
_CODE_FIRST: Final = re.compile(r"(?P<code>[a-z_]+) +(?P<exit>\d+) +(?P<meaning>.+)")
_EXIT_FIRST: Final = re.compile(r"(?P<exit>\d+) +(?P<code>[a-z_]+) +(?P<meaning>.+)")

_INTRO = """
Every command has `--help`. What a command finds out goes to stdout, everything else to stderr. With
`--json` it prints JSON for programs. Off a terminal there are no colours. Commands that talk to a
gateway find the `gai up` that you run on this machine by themselves, by `--data-dir` where it has a
folder of its own; otherwise they take `--gateway` and `--api-key`, or `GAI_GATEWAY` and
`GAI_API_KEY`.
"""


def made() -> str:
    """Write the page."""
    from typer.main import get_command

    from garage_ai.cli.app import make_app

    top = get_command(make_app())
    return page(
        "The gai command",
        "src/garage_ai/cli/",
        _INTRO,
        *_commands(top, "gai"),
        _exit_codes(),
    )


def _commands(command: Any, path: str) -> Iterator[str]:
    context = command.make_context(
        path, [], resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    inner = getattr(command, "commands", {})
    if not inner:
        yield _command(command, context, path)
        return
    if path == "gai" or command.invoke_without_command:
        yield _command(command, context, path)
    for name, each in inner.items():
        if not each.hidden:
            yield from _commands(each, f"{path} {name}")


def _command(command: Any, context: Any, path: str) -> str:
    usage = " ".join(context.get_usage().removeprefix("Usage:").split())
    rows = [
        (code(record[0]), record[1])
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and "--help" not in record[0]
    ]
    blocks = [f"## {path}", " ".join((command.help or "").split()), f"```text\n{usage}\n```"]
    if rows:
        blocks.append(table(["argument or option", "meaning"], rows))
    return "\n\n".join(blocks)


def _exit_codes() -> str:
    headers = ["code", "name", "meaning"]
    every = [("0", "", "It is done."), *_told("garage_ai.cli.errors"), ("130", "", "Ctrl-C.")]
    blocks = [
        "## Exit codes",
        table(headers, every),
        "`gai node join`, `run` and the other commands for a node have these instead of 2 to 4:",
        table(headers, _told("garage_ai.node.errors")),
    ]
    return "\n\n".join(blocks)


def _told(module: str) -> Iterator[tuple[str, str, str]]:
    """Read exit codes from the tree that stands in a module's docstring."""
    tree = inspect.getdoc(importlib.import_module(module)) or ""
    for line in tree.splitlines():
        leaf = _LEAF.match(line)
        if leaf is None:
            continue
        told = _EXIT_FIRST.match(leaf[2]) or _CODE_FIRST.match(leaf[2])
        if told is not None:
            meaning = told["meaning"]
            yield told["exit"], code(told["code"]), meaning[0].upper() + meaning[1:] + "."
