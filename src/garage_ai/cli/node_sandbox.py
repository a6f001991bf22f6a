"""`gai node sandbox` and `gai node image`: what fences the engine in, for its owner to see."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Failed
from garage_ai.cli.node_words import say
from garage_ai.cli.options import AsJson, NodeDir

if TYPE_CHECKING:
    from garage_ai.node.sandbox.check import Finding


def sandbox(
    *,
    check: Annotated[bool, typer.Option("--check", help=say("option.check"))] = False,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the command that runs the engine, or try from inside what must not work."""
    from garage_ai.cli.node_run import configure_logs, folder_at, guarded, run_async
    from garage_ai.cli.node_status import image_rows
    from garage_ai.node.engines.llama_server import ServerOptions
    from garage_ai.node.folder import RECORD
    from garage_ai.node.sandbox.check import probe
    from garage_ai.node.setup import sandbox_of

    folder = folder_at(data_dir)
    guarded(folder.load)
    configure_logs()
    launcher, options = run_async(sandbox_of(folder))
    if launcher is None:
        raise Failed(say("sandbox.none"), say("sandbox.none.next"))
    if check:
        if isinstance(options, ServerOptions):
            raise Failed(say("check.no_python"), say("check.no_python.next"))
        _show_findings(
            run_async(probe(launcher, options, str(folder.path / RECORD))), as_json=as_json
        )
        return
    argv = launcher.argv(options)
    if as_json:
        made_from = launcher.fence.image
        output.write_json({"argv": argv, "image": launcher.image, "made_from": made_from})
        return
    for name, text in image_rows(launcher.fence.image):
        output.remark(f"{name}: {output.harmless(text)}", style=None)
    output.write(" \\\n  ".join(_grouped(argv)))


def image(
    *,
    engine: Annotated[
        Literal["llamacpp", "vllm"], typer.Option("--engine", help=say("option.image_engine"))
    ] = "llamacpp",
    base: Annotated[
        str | None, typer.Option("--base", metavar="IMAGE", help=say("option.base"))
    ] = None,
    runtime: Annotated[
        Literal["auto", "podman", "docker"], typer.Option("--sandbox", help=say("option.runtime"))
    ] = "auto",
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Have the engine's image here: built out of what is installed, or, for vLLM, fetched."""
    from garage_ai.cli.node_run import configure_logs, folder_at, run_async
    from garage_ai.node.sandbox.build import build_image
    from garage_ai.node.sandbox.detect import find_runtime
    from garage_ai.node.sandbox.vllm_image import choose_image

    configure_logs()
    folder = folder_at(data_dir)

    async def work() -> None:
        found = await find_runtime(runtime)
        folder.prepare()
        if engine == "vllm":
            chosen = await choose_image(found, folder.path, base, on_pull=_say_pull)
            if as_json:
                output.write_json({"image": chosen})
            else:
                output.write(say("image.chosen", image=chosen))
            return
        built = await build_image(found, folder.path, base)
        if as_json:
            output.write_json(built)
        else:
            output.write(say("image.built", image=built.image, base=built.base))

    run_async(work())


def _say_pull(name: str) -> None:
    output.remark(say("image.pull", image=name), style=None)


def _show_findings(findings: "Sequence[Finding]", *, as_json: bool) -> None:
    """Show what was tried. Raises: Failed when anything worked that must not."""
    if as_json:
        output.write_json(findings)
    else:
        for each in findings:
            mark = say("check.held") if each.held else say("check.open")
            output.write(f"{mark:<6} {each.name}: {output.harmless(each.words)}")
    if not all(each.held for each in findings):
        raise Failed(say("check.failed"), say("check.failed.next"))


def _grouped(argv: Sequence[str]) -> list[str]:
    """Put the command on lines: its options one each, the rest on the last."""
    beginning = next(place for place, word in enumerate(argv) if word == "run")
    options = [place for place, word in enumerate(argv) if word.startswith("--entrypoint=")]
    last = options[0] + 1
    lines = [shlex.join(argv[: beginning + 1])]
    lines += [shlex.quote(word) for word in argv[beginning + 1 : last]]
    return [*lines, shlex.join(argv[last:])]


__all__ = ["image", "sandbox"]
