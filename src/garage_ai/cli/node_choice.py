"""The options of `gai node join` and `gai node run` that say how the node is run."""

import contextlib
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict, get_type_hints

import typer

from garage_ai.cli.node_words import say

if TYPE_CHECKING:
    from garage_ai.node.folder import Choice

EngineName = Literal["llamacpp", "vllm", "external"]
SandboxChoice = Literal["auto", "podman", "docker", "none"]


def _gpus(words: list[str] | None) -> list[str] | None:
    """Refuse what is no card before anything else is done."""
    from garage_ai.node.engines.cards import is_choice

    wrong = next((word for word in words or () if not is_choice(word)), None)
    if wrong is not None:
        raise typer.BadParameter(say("gpu.no_uuid", word=wrong[:80]))
    return words


class Said(TypedDict, total=False):
    """What the owner said, by the fields of `Choice`; None where nothing was."""

    engine: Annotated[EngineName | None, typer.Option("--engine", help=say("option.engine"))]
    engine_url: Annotated[
        str | None,
        typer.Option("--engine-url", metavar="URL/v1", help=say("option.engine_url")),
    ]
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help=say("option.model"))
    ]
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, max=4096, metavar="N", help=say("option.slots"))
    ]
    gpus: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="UUID", callback=_gpus, help=say("option.gpu")),
    ]
    gpu_layers: Annotated[
        int | None,
        typer.Option("--gpu-layers", min=1, max=4096, metavar="N", help=say("option.gpu_layers")),
    ]
    context: Annotated[
        int | None, typer.Option("--context", min=128, metavar="N", help=say("option.context"))
    ]
    threads: Annotated[
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
    sandbox: Annotated[SandboxChoice | None, typer.Option("--sandbox", help=say("option.sandbox"))]
    vllm_python: Annotated[
        Path | None,
        typer.Option(
            "--vllm-python",
            metavar="PATH",
            envvar="GAI_VLLM_PYTHON",
            help=say("option.vllm_python"),
        ),
    ]
    tensor_parallel: Annotated[
        int | None,
        typer.Option(
            "--tensor-parallel", min=1, max=64, metavar="N", help=say("option.tensor_parallel")
        ),
    ]
    memory_share: Annotated[
        float | None,
        typer.Option(
            "--memory-share", min=0.1, max=0.98, metavar="0.8", help=say("option.memory_share")
        ),
    ]
    kv_cache_gib: Annotated[
        int | None,
        typer.Option(
            "--kv-cache-gib", min=1, max=4096, metavar="N", help=say("option.kv_cache_gib")
        ),
    ]
    chat_template: Annotated[
        Path | None,
        typer.Option("--chat-template", metavar="FILE", help=say("option.chat_template")),
    ]


_OPTIONS: Final = get_type_hints(Said, include_extras=True)


def takes_choice(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Said`; it gets what was said as its argument `said`."""

    @functools.wraps(command)
    def taking(**words: Any) -> None:
        command(said={name: words.pop(name) for name in _OPTIONS}, **words)

    own = inspect.signature(command, eval_str=True).parameters.values()
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    before = [each for each in own if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    after = [
        each for each in own if each.kind is inspect.Parameter.KEYWORD_ONLY and each.name != "said"
    ]
    signature = inspect.Signature([*before, *shared, *after])
    taking.__signature__ = signature  # type: ignore[attr-defined]
    taking.__annotations__ = {each.name: each.annotation for each in [*before, *shared, *after]}
    return taking


def choose(before: "Choice", said: Said) -> "Choice":
    """Put what was said in place of what was chosen before; another engine begins anew."""
    import msgspec

    from garage_ai.node.folder import Choice

    engine = said.get("engine")
    if engine is not None and engine != before.engine:
        before = Choice(engine=engine)
    changed = {name: _kept(value) for name, value in said.items() if value}
    if "models" in changed:
        own = [_placed(before.engine, name) for name in said["models"] or ()]
        changed |= {"models": tuple(own), "picked": False}
    elif before.picked and changed.get("gpus", before.gpus) != before.gpus:
        # It was picked for other cards.
        changed |= {"models": (), "picked": False}
    return msgspec.structs.replace(before, **changed)


def _placed(engine: str, name: str) -> str:
    """Give the whole path of a file or folder of the owner's: a service runs elsewhere.

    What is written as a name stays one, whatever lies here by that name.
    """
    from garage_ai.node.catalogue import is_own

    with contextlib.suppress(RuntimeError):  # ~ of nobody
        path = Path(name).expanduser().absolute()
        written_as_path = "/" in name or path.suffix == ".gguf"
        if engine != "external" and written_as_path and is_own(engine, str(path)):
            return str(path)
    return name


def _kept(value: object) -> object:
    """Give a value as the record keeps it; a path holds wherever the node is run from next."""
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    return tuple(value) if isinstance(value, list) else value


__all__ = ["EngineName", "Said", "choose", "takes_choice"]
