"""`gai node`: lend this PC to a network."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from garage_ai.cli import node_limits, output
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_sandbox import image, sandbox
from garage_ai.cli.node_vllm import (
    CacheGib,
    ChatTemplate,
    MemoryShare,
    TensorParallel,
    VllmPython,
)
from garage_ai.cli.node_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, Member, NodeDir, client

if TYPE_CHECKING:
    from garage_ai.node.control import Op
    from garage_ai.node.folder import Choice, NodeFolder
    from garage_ai.node.pauses import Pause
    from garage_ai.node.status import Status

app = typer.Typer(help=say("help"), no_args_is_help=True)

STOP_SECONDS: Final = 35.0
"""Longest wait for an agent to finish what it does before it leaves the network."""

EngineName = Literal["llamacpp", "vllm", "external"]
SandboxChoice = Literal["auto", "podman", "docker", "none"]

Engine = Annotated[EngineName | None, typer.Option("--engine", help=say("option.engine"))]
EngineUrl = Annotated[
    str | None,
    typer.Option("--engine-url", metavar="URL/v1", help=say("option.engine_url")),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help=say("option.model"))
]
Sandbox = Annotated[SandboxChoice | None, typer.Option("--sandbox", help=say("option.sandbox"))]
Slots = Annotated[
    int | None, typer.Option("--slots", min=1, max=4096, metavar="N", help=say("option.slots"))
]
Context = Annotated[
    int | None, typer.Option("--context", min=128, metavar="N", help=say("option.context"))
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        metavar="N",
        envvar="GAI_ENGINE_THREADS",
        help=say("option.threads"),
    ),
]


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
    if as_json:
        output.write_json({"token": made.token, "id": made.id, "expires_at": made.expires_at})
        return
    output.remark(say("token.made", url=asked.target.url), style=None)
    output.write(made.token)


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


@app.command(help=say("help.join"))
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help=say("argument.url"))],
    enrolment_token: Annotated[
        str, typer.Argument(metavar="TOKEN", help=say("argument.token"))
    ] = "",
    *,
    engine: Engine = None,
    engine_url: EngineUrl = None,
    model: Models = None,
    slots: Slots = None,
    context: Context = None,
    threads: Threads = None,
    sandbox_kind: Sandbox = None,
    vllm_python: VllmPython = None,
    tensor_parallel: TensorParallel = None,
    memory_share: MemoryShare = None,
    kv_cache_gib: CacheGib = None,
    chat_template: ChatTemplate = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", envvar="GAI_NODE_NAME", help=say("option.name"))
    ] = "",
    data_dir: NodeDir = None,
) -> None:
    """Enrol this PC and serve."""
    from garage_ai.cli.node_run import folder_at, join_and_serve
    from garage_ai.node.folder import Choice

    chosen = _choice(
        Choice(),
        engine=engine,
        engine_url=engine_url,
        model=model,
        slots=slots,
        context=context,
        threads=threads,
        sandbox=sandbox_kind,
        vllm_python=vllm_python,
        tensor_parallel=tensor_parallel,
        memory_share=memory_share,
        kv_cache_gib=kv_cache_gib,
        chat_template=chat_template,
    )
    join_and_serve(url, enrolment_token, folder_at(data_dir), chosen, name)


@app.command(help=say("help.run"))
def run(
    *,
    engine: Engine = None,
    engine_url: EngineUrl = None,
    model: Models = None,
    slots: Slots = None,
    context: Context = None,
    threads: Threads = None,
    sandbox_kind: Sandbox = None,
    vllm_python: VllmPython = None,
    tensor_parallel: TensorParallel = None,
    memory_share: MemoryShare = None,
    kv_cache_gib: CacheGib = None,
    chat_template: ChatTemplate = None,
    data_dir: NodeDir = None,
    gateway: Annotated[
        str | None, typer.Option("--gateway", metavar="URL", help=say("option.gateway"))
    ] = None,
) -> None:
    """Serve again; what is not said stays as it was."""
    from garage_ai.cli.node_run import folder_at, guarded, serve_again

    folder = folder_at(data_dir)
    chosen = _choice(
        guarded(folder.load).choice,
        engine=engine,
        engine_url=engine_url,
        model=model,
        slots=slots,
        context=context,
        threads=threads,
        sandbox=sandbox_kind,
        vllm_python=vllm_python,
        tensor_parallel=tensor_parallel,
        memory_share=memory_share,
        kv_cache_gib=kv_cache_gib,
        chat_template=chat_template,
    )
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


app.command("sandbox", help=say("help.sandbox"))(sandbox)
app.command("image", help=say("help.image"))(image)


@app.command(help=say("help.leave"))
def leave(*, data_dir: NodeDir = None, as_json: AsJson = False) -> None:
    """Stop the agent, leave the network and forget the identity."""
    from garage_ai.cli.node_run import configure_logs, folder_at, run_async
    from garage_ai.node.join import leave as leave_network

    configure_logs()
    folder = folder_at(data_dir)
    _stop_agent(folder)
    record = run_async(leave_network(folder))
    if as_json:
        output.write_json({"node": record.node, "gateway": record.gateway})
        return
    output.write(say("left", node=record.node, gateway=record.gateway))


def _choice(
    before: "Choice",
    *,
    engine: EngineName | None,
    engine_url: str | None,
    model: list[str] | None,
    slots: int | None,
    context: int | None,
    threads: int | None,
    sandbox: SandboxChoice | None,
    vllm_python: Path | None = None,
    tensor_parallel: int | None = None,
    memory_share: float | None = None,
    kv_cache_gib: int | None = None,
    chat_template: Path | None = None,
) -> "Choice":
    """Put what was said in place of what was chosen before; another engine begins anew."""
    from garage_ai.node.folder import Choice

    if engine is not None and engine != before.engine:
        before = Choice(engine=engine)
    return Choice(
        engine=engine or before.engine,
        engine_url=engine_url or before.engine_url,
        models=tuple(model) if model else before.models,
        slots=slots or before.slots,
        context=context or before.context,
        threads=threads or before.threads,
        sandbox=sandbox or before.sandbox,
        vllm_python=_absolute(vllm_python) or before.vllm_python,
        tensor_parallel=tensor_parallel or before.tensor_parallel,
        memory_share=memory_share or before.memory_share,
        kv_cache_gib=kv_cache_gib or before.kv_cache_gib,
        chat_template=_absolute(chat_template) or before.chat_template,
    )


def _absolute(path: Path | None) -> str | None:
    """Give a path that holds wherever the node is run from the next time."""
    return None if path is None else str(path.expanduser().absolute())


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
        elif wanted:
            output.write(say("paused"))
        return
    _show(shown, as_json=as_json)


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


def _show(shown: "Status", *, as_json: bool) -> None:
    if as_json:
        output.write_json(shown)
        return
    from garage_ai.cli.node_status import lines

    for line in lines(shown):
        output.write(line)


__all__ = ["app"]
