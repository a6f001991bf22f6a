"""From what the owner chose to an engine that can be started."""

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Final

from garage_ai.catalog import (
    DEFAULT_MODEL,
    Catalog,
    CatalogError,
    Manifest,
    ModelStore,
    OnProgress,
    digest_of,
)
from garage_ai.node.engines.external import DEFAULT_SLOTS as EXTERNAL_SLOTS
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.engines.launch import BareLauncher, Launcher, LlamaOptions
from garage_ai.node.engines.link import base_of
from garage_ai.node.engines.llamacpp import DEFAULT_SLOTS as LLAMA_SLOTS
from garage_ai.node.engines.llamacpp import LlamaEngine
from garage_ai.node.engines.port import Engine
from garage_ai.node.engines.vllm_setup import check_vllm, make_vllm
from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.sandbox.build import build_image, built_image
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.seccomp import write_profile
from garage_ai.wire.ids import Digest

ENGINE_KEY: Final = "GAI_ENGINE_KEY"
DEFAULT_CONTEXT: Final = 4096
"""Tokens of a slot unless the owner says otherwise: a conversation; memory grows with it."""

_CACHE_SHARE: Final = 0.35
"""Memory beside the weights, as a share of them, for small models a fixed sum at least."""

_CACHE_LEAST: Final = 512 * 1024 * 1024


async def check(choice: Choice, member: str = "") -> None:
    """Check what the chosen engine needs of this PC, and nothing else. Raises: NotPossible."""
    if choice.engine == "external":
        await _check_external(choice, member)
    elif choice.engine == "llamacpp":
        _check_llamacpp(choice)
        if choice.sandbox != "none":
            await find_runtime(choice.sandbox)
    elif choice.engine == "vllm":
        await check_vllm(choice)
    else:
        raise NotPossible(
            f"There is no engine {choice.engine!r}; choose llamacpp, vllm or external."
        )


async def make_launcher(choice: Choice, folder: NodeFolder, node: str) -> Launcher:
    """Make what starts the engine; the sandbox's image is built if it is not here.

    Raises: NotPossible.
    """
    if choice.sandbox == "none":
        return BareLauncher()
    runtime = await find_runtime(choice.sandbox)
    image = await built_image(runtime, folder.path)
    if image is None:
        image = (await build_image(runtime, folder.path)).image
    seccomp = None
    if runtime.program == "podman":
        seccomp = await asyncio.to_thread(write_profile, runtime.profile, folder.path)
    containers = Containers(runtime, folder.path, node)
    return ContainerLauncher(containers, image, folder.run, seccomp)


async def sandbox_of(folder: NodeFolder) -> tuple[ContainerLauncher | None, LlamaOptions]:
    """Give what a node's engine is started by and how; None for one without a sandbox.

    Raises: NotEnrolled, NotPossible.
    """
    record = folder.load()
    launcher = await make_launcher(record.choice, folder, record.node)
    options = await llama_options(record.choice, folder)
    return (launcher if isinstance(launcher, ContainerLauncher) else None), options


async def make_engine(
    choice: Choice,
    member: str,
    folder: NodeFolder,
    on_progress: OnProgress | None = None,
    launcher: Launcher | None = None,
) -> Engine:
    """Make the chosen engine; fetches the model's files if they are not here.

    `launcher` None starts it bare. Raises: NotPossible.
    """
    if choice.engine == "external":
        return _external(choice, member)
    if choice.engine == "vllm":
        return await make_vllm(choice, folder, on_progress)
    options = await llama_options(choice, folder, on_progress)
    if isinstance(launcher, ContainerLauncher):
        # What keeps it from ever starting is better said now.
        launcher.argv(options)
    return LlamaEngine(options, run=folder.run, logs=folder.logs, launcher=launcher)


async def llama_options(
    choice: Choice, folder: NodeFolder, on_progress: OnProgress | None = None
) -> LlamaOptions:
    """Decide how llama.cpp is run; fetches the model's files if they are not here.

    Raises: NotPossible.
    """
    _check_llamacpp(choice)
    name = choice.models[0] if choice.models else DEFAULT_MODEL
    try:
        store = ModelStore(folder.path)
        manifest = await _manifest(name, store, on_progress)
        files = await store.ensure(manifest, on_progress)
    except CatalogError as error:
        raise NotPossible(f"The model {name} cannot be used: {error}") from error
    _check_memory(manifest)
    return LlamaOptions(
        weights=files[manifest.weights.path],
        name=manifest.name,
        digest=Digest(digest_of(manifest)),
        kind=manifest.kind,
        slots=choice.slots or LLAMA_SLOTS,
        context=choice.context or min(DEFAULT_CONTEXT, manifest.context_length),
        threads=choice.threads or _threads(),
        beside=tuple(files[each.path] for each in manifest.files[1:]),
    )


async def _manifest(name: str, store: ModelStore, on_progress: OnProgress | None) -> Manifest:
    """Find a model by its name in the catalogue, or describe the owner's GGUF file."""
    known = Catalog.load().by_name(name)
    if known is not None:
        return known
    path = Path(name)
    if path.suffix == ".gguf" and await asyncio.to_thread(path.is_file):
        return await store.adopt(path, on_progress=on_progress)
    names = ", ".join(sorted(manifest.name for manifest in Catalog.load()))
    raise NotPossible(f"There is no model {name!r}. Known: {names}; or give a .gguf file.")


def _external(choice: Choice, member: str) -> ExternalEngine:
    if not choice.engine_url:
        raise NotPossible("An external engine needs --engine-url http://HOST:PORT/v1.")
    if not choice.models:
        raise NotPossible("An external engine needs --model NAME, once for each model.")
    return ExternalEngine(
        base_of(choice.engine_url),
        choice.models,
        member=member,
        slots=choice.slots or EXTERNAL_SLOTS,
        key=os.environ.get(ENGINE_KEY) or None,
    )


async def _check_external(choice: Choice, member: str) -> None:
    problem = await _external(choice, member).look_once()
    if problem:
        raise NotPossible(problem)


def _check_llamacpp(choice: Choice) -> None:
    if len(choice.models) > 1:
        raise NotPossible("llama.cpp serves one model: give --model once.")
    if choice.engine_url:
        raise NotPossible("--engine-url belongs to --engine external.")
    if importlib.util.find_spec("xllamacpp") is None:
        raise NotPossible("llama.cpp is not installed: pip install 'garage-ai[local]'.")


def _check_memory(manifest: Manifest) -> None:
    import psutil

    needed = manifest.size + max(int(manifest.size * _CACHE_SHARE), _CACHE_LEAST)
    available = psutil.virtual_memory().available
    if available < needed:
        raise NotPossible(
            f"{manifest.name} needs about {needed / 1e9:.1f} GB of memory; "
            f"{available / 1e9:.1f} GB are free."
        )


def _threads() -> int:
    """Leave one core to whatever else the owner does."""
    import psutil

    return max(1, (psutil.cpu_count(logical=False) or 2) - 1)


__all__ = ["ENGINE_KEY", "check", "llama_options", "make_engine", "make_launcher", "sandbox_of"]
