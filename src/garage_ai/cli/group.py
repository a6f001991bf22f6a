"""`gai group`: PCs on one LAN that run one model together.

An invitation holds the group's secret, so it is read from stdin and written to stdout, and never
stands on a command line, where other users of a PC could read it.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.group_plan_words import say as of_plan
from garage_ai.cli.group_words import say
from garage_ai.cli.options import AsJson, NodeDir
from garage_ai.cli.piped import read_piped

if TYPE_CHECKING:
    from garage_ai.node.folder import NodeFolder

app = typer.Typer(help=say("help"), no_args_is_help=True)

Listen = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS[:PORT]", help=say("option.listen"))
]
Peers = Annotated[
    list[str] | None, typer.Option("--peer", metavar="ADDRESS[:PORT]", help=say("option.peer"))
]

Find = Annotated[bool, typer.Option("--find", help=say("option.find"))]

_MAX_LINE = 4096


@app.command(help=say("help.create"))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help=say("argument.name"))] = "garage",
    *,
    listen: Listen,
    peers: Peers = None,
    find: Find = False,
    data_dir: NodeDir = None,
) -> None:
    """Begin a group; stdout holds the invitation alone."""
    from garage_ai.cli.node_run import folder_at, guarded
    from garage_ai.node.group import folder as group

    line = guarded(lambda: group.create(name))
    _join(folder_at(data_dir), line, listen, peers, find=find)
    words = "created.find" if find else "created"
    output.remark(say(words, name=name, address=listen), style=None)
    output.remark(say("secret"), style=None)
    output.write(line)


@app.command(help=say("help.join"))
def join(
    *, listen: Listen, peers: Peers = None, find: Find = False, data_dir: NodeDir = None
) -> None:
    """Join a group by the invitation on stdin."""
    from garage_ai.cli.node_run import folder_at

    if sys.stdin.isatty():
        output.remark(say("paste"), style=None)
    folder = folder_at(data_dir)
    line = read_piped(lambda: sys.stdin.readline(_MAX_LINE))
    name = _join(folder, line, listen, peers, find=find)
    output.write(say("joined", name=name, folder=folder.path))


@app.command(help=say("help.invite"))
def invite(*, data_dir: NodeDir = None) -> None:
    """Print the invitation to the group of this PC."""
    from garage_ai.cli.node_run import folder_here, guarded
    from garage_ai.node.group import folder as group

    folder = folder_here(data_dir)
    output.write(guarded(lambda: group.invitation_of(folder)))


@app.command(help=say("help.leave"))
def leave(*, data_dir: NodeDir = None) -> None:
    """Leave the group."""
    from garage_ai.cli.node_run import folder_here, guarded
    from garage_ai.node.group import folder as group
    from garage_ai.node.group.setup import take_down_tunnel

    folder = folder_here(data_dir)
    group.leave(folder)
    if _runs_in_group(folder):
        # Its gang would lose the network from under it, and still be a gang.
        output.write(say("left.runs"))
        output.remark(say("left.then", folder=folder.path), style="yellow")
        return
    output.write(say("left"))
    if not guarded(lambda: take_down_tunnel(folder)):
        output.remark(say("left.tunnel", folder=folder.path), style="yellow")


@app.command("plan", help=of_plan("help.plan"))
def plan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=of_plan("argument.model"))],
    *,
    rig: Annotated[
        list[str], typer.Option("--rig", metavar="CARD,CARD", help=of_plan("option.rig"))
    ],
    gbit: Annotated[
        float | None,
        typer.Option("--gbit", min=0.001, max=10_000, metavar="N", help=of_plan("option.gbit")),
    ] = None,
    rtt_ms: Annotated[
        float | None,
        typer.Option("--rtt-ms", min=0, max=60_000, metavar="N", help=of_plan("option.rtt_ms")),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--form", metavar="NAME", help=of_plan("option.form"))
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", min=128, max=1 << 24, metavar="N", help=of_plan("option.context")
        ),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option("--sequences", min=1, max=4096, metavar="N", help=of_plan("option.sequences")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how these rigs would run a model, or why they cannot; 1 if they cannot."""
    from garage_ai.catalog import USUAL, Wish
    from garage_ai.cli.group_plan import Asked, show_plan

    wish = Wish(context or USUAL.context, sequences or USUAL.sequences)
    fits = show_plan(model, Asked(rig, gbit, rtt_ms, form), wish, as_json=as_json)
    if not fits:
        raise typer.Exit(1)


def _runs_in_group(folder: "NodeFolder") -> bool:
    """Tell whether an agent runs that is part of a group, or does not say what it is."""
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent

    if not folder.held:
        return False
    try:
        return ask_agent(folder.run, "status").group is not None
    except NoAgent:
        return True


def _join(
    folder: "NodeFolder", line: str, listen: str, peers: list[str] | None, *, find: bool
) -> str:
    """Keep the choice, and give the group's name. Raises: CliError."""
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.group import folder as group
    from garage_ai.node.group.finding import check_installed

    if find:
        guarded(check_installed)
    own = guarded(lambda: group.address(listen))
    others = guarded(lambda: tuple(group.address(each) for each in peers or ()))
    guarded(lambda: group.join(folder, line, own, others, find=find))
    return group.read_invitation(line)[0]


__all__ = ["app"]
