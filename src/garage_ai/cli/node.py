"""`gai node`: lend this PC to a network."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garage_ai.cli import node_limits, node_service, output
from garage_ai.cli.ledger import gai
from garage_ai.cli.misuse_words import say as say_misuse
from garage_ai.cli.node_choice import EngineName, Said, choose, takes_choice
from garage_ai.cli.node_leave import leave
from garage_ai.cli.node_list import list_nodes
from garage_ai.cli.node_list_words import say as say_of_list
from garage_ai.cli.node_sandbox import image, sandbox
from garage_ai.cli.node_update import update
from garage_ai.cli.node_words import say
from garage_ai.cli.once import once
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, Member, NodeDir, client
from garage_ai.cli.update_words import say as say_of_update

if TYPE_CHECKING:
    from garage_ai.node.control import Op
    from garage_ai.node.pauses import Pause
    from garage_ai.node.status import Status

app = typer.Typer(help=say("help"), no_args_is_help=True)


@app.command(help=say("help.token"))
def token(
    *,
    region: Annotated[
        str | None, typer.Option("--region", metavar="SE-AB", help=say("option.region"))
    ] = None,
    member: Member = None,
    unsandboxed: Annotated[
        bool, typer.Option("--allow-unsandboxed", help=say("option.allow_unsandboxed"))
    ] = False,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an enrolment token; without --json, stdout holds the token alone."""
    asked = client(gateway, api_key, data_dir)
    made = asked.create_token(region, member, bare_allowed=unsandboxed)
    url = asked.target.url
    if as_json:
        told = {"id": made.id, "token": made.token, "gateway": url, "expires_at": made.expires_at}
        output.write_json(told)
        return
    output.remark(say("token.made", url=url, until=output.minute(made.expires_at)), style=None)
    output.write(made.token)
    if asked.target.is_only_here:
        output.remark(say_misuse("only_here"), style="yellow")


app.command("list", help=say_of_list("help"))(list_nodes)


@app.command(help=say("help.admit"))
def admit(
    node: Annotated[str, typer.Argument(metavar="NODE", help=say("argument.node"))],
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a node serve although its sandbox is not whole."""
    admitted = client(gateway, api_key, data_dir).admit_node(node)
    if as_json:
        output.write_json(admitted)
        return
    output.write(say("admitted", node=admitted.id, name=output.harmless(admitted.name)))


@app.command(help=say("help.remove"))
def remove(
    node: Annotated[str, typer.Argument(metavar="NODE", help=say("argument.node"))],
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Cut a node off for good."""
    removed = client(gateway, api_key, data_dir).remove_node(node)
    if as_json:
        output.write_json(removed)
        return
    output.write(say("removed" if removed.cut_off else "removed.soon", node=removed.id))


@app.command(help=say("help.names"))
def names(
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the names that members serve models of their own under, those that wait first."""
    found = sorted(
        client(gateway, api_key, data_dir).names(), key=lambda each: each.state != "pending"
    )
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("names.none"), style=None)
        return
    rows = [(output.harmless(each.name), each.member, say(f"name.{each.state}")) for each in found]
    output.write_table([say(f"column.{name}") for name in ("name", "member", "state")], rows)


@app.command(help=say("help.approve"))
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME", help=say("argument.name"))],
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=say("argument.whose"))],
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a member serve under a name that waits for it."""
    approved = client(gateway, api_key, data_dir).approve_name(name, member)
    if as_json:
        output.write_json(approved)
        return
    output.write(say("approved", name=output.harmless(approved.name), member=approved.member))


@app.command(help=say("help.forfeit"))
def forfeit(
    node: Annotated[str, typer.Argument(metavar="NODE", help=say("argument.node"))],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=say("option.reason"))],
    key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help=say("option.key"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give what is held back of a node to the pool."""
    asked = client(gateway, api_key, data_dir)
    with once(key) as name:
        forfeited = asked.forfeit(node, reason, name)
    if as_json:
        output.write_json(forfeited)
        return
    output.write(say("forfeited", node=forfeited.id, gai=gai(forfeited.amount)))


@app.command(help=say("help.join"))
@takes_choice
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help=say("argument.url"))],
    enrolment_token: Annotated[
        str, typer.Argument(metavar="TOKEN", envvar="GAI_NODE_TOKEN", help=say("argument.token"))
    ] = "",
    *,
    said: Said,
    share: node_limits.Sharing = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", envvar="GAI_NODE_NAME", help=say("option.name"))
    ] = "",
    service: Annotated[
        bool | None, typer.Option("--service/--no-service", help=say("option.service"))
    ] = None,
    data_dir: NodeDir = None,
) -> None:
    """Enrol this PC and serve."""
    from garage_ai.cli.node_join import join_and_serve
    from garage_ai.cli.node_run import folder_at
    from garage_ai.node.folder import Choice

    folder = folder_at(data_dir)
    node_limits.set_share(folder, share)
    join_and_serve(url, enrolment_token, folder, choose(Choice(), said), name, service=service)


@app.command(help=say("help.run"))
@takes_choice
def run(
    *,
    said: Said,
    share: node_limits.Sharing = None,
    data_dir: NodeDir = None,
    gateway: Annotated[
        str | None, typer.Option("--gateway", metavar="URL", help=say("option.gateway"))
    ] = None,
) -> None:
    """Serve again; what is not said stays as it was."""
    from garage_ai.cli.node_run import folder_at, guarded, serve_again

    folder = folder_at(data_dir)
    chosen = choose(guarded(folder.load).choice, said)
    node_limits.set_share(folder, share)
    serve_again(folder, chosen, gateway)


@app.command(help=say("help.status"))
def status(
    *,
    live: Annotated[bool, typer.Option("--live", help=say("option.live"))] = False,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show how the agent is doing."""
    if live and not as_json:
        from garage_ai.cli.node_status import show_live

        show_live(lambda: _ask(data_dir, "status"))
        return
    _show(_ask(data_dir, "status"), as_json=as_json)


@app.command(help=say("help.pause"))
def pause(
    *,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="2h", help=say("option.for"))
    ] = None,
    now: Annotated[bool, typer.Option("--now", help=say("option.now"))] = False,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Take no work; kept for the next start when no agent runs."""
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.guard.quantities import duration
    from garage_ai.node.pauses import Pause

    until = time.time() + guarded(lambda: duration(lasting)) if lasting else None
    _pause(data_dir, Pause(until, now), as_json=as_json)


@app.command(help=say("help.resume"))
def resume(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Take work again."""
    _pause(data_dir, None, as_json=as_json)


app.command("limits", help=say("help.limits"))(node_limits.limits)


@app.command(help=say("help.drain"))
def drain(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Finish what runs and take nothing new."""
    _show(_ask(data_dir, "drain"), as_json=as_json)


@app.command(help=say("help.rotate"))
def rotate(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Give the node another key; it stays the same node."""
    from garage_ai.cli.node_rotate import rotate_key
    from garage_ai.cli.node_run import folder_at

    rotate_key(folder_at(data_dir), as_json=as_json)


@app.command(help=say("help.doctor"))
def doctor(
    *,
    engine: Annotated[
        EngineName | None, typer.Option("--engine", help=say("option.doctor_engine"))
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help=say("option.fix"))] = False,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Check this PC."""
    from garage_ai.cli.node_doctor import doctor as check_pc
    from garage_ai.cli.node_run import folder_at

    check_pc(folder_at(data_dir), engine, fix=fix, as_json=as_json)


@app.command(help=say("help.bench"))
def bench(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Measure the engine; the agent must not be running."""
    from garage_ai.cli.node_bench import bench as measure
    from garage_ai.cli.node_run import folder_at

    measure(folder_at(data_dir), as_json=as_json)


app.add_typer(node_service.app, name="service")
app.command("update", help=say_of_update("help"))(update)
app.command("sandbox", help=say("help.sandbox"))(sandbox)
app.command("image", help=say("help.image"))(image)


app.command("leave", help=say("help.leave"))(leave)


def _ask(data_dir: Path | None, op: "Op") -> "Status":
    from garage_ai.cli.node_run import folder_here, guarded
    from garage_ai.node.control import ask_agent

    folder = folder_here(data_dir)
    return guarded(lambda: ask_agent(folder.run, op))


def _pause(data_dir: Path | None, wanted: "Pause | None", *, as_json: bool) -> None:
    from garage_ai.cli.node_run import folder_here, guarded
    from garage_ai.node.control import ask_agent
    from garage_ai.node.errors import NoAgent

    folder = folder_here(data_dir)
    try:
        shown = ask_agent(folder.run, "pause" if wanted else "resume", pause=wanted)
    except NoAgent:
        # Kept for the next start, if there is a node at all.
        guarded(folder.load)
        folder.pause = wanted
        if as_json:
            output.write_json({"paused": wanted is not None})
        else:
            output.write(say("paused" if wanted else "resumed"))
        return
    _show(shown, as_json=as_json)


def _show(shown: "Status", *, as_json: bool) -> None:
    if as_json:
        output.write_json(shown)
        return
    from garage_ai.cli.node_status import lines

    for line in lines(shown):
        output.write(line)


__all__ = ["app"]
