"""From what the owner chose to a vLLM that can be started."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from garage_ai.catalog import (
    CONFIG,
    Catalog,
    CatalogError,
    Manifest,
    ModelStore,
    OnProgress,
    digest_of,
    read_folder_config,
)
from garage_ai.node.engines.vllm import VllmEngine
from garage_ai.node.engines.vllm_plan import Model, VllmOptions, Wishes, plan
from garage_ai.node.engines.vllm_python import ask_facts, ask_version, find_python
from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.wire.ids import Digest


async def check_vllm(choice: Choice) -> None:
    """Check what vLLM needs of this PC: an environment with a version that may run, and a model.

    Raises: NotPossible.
    """
    _check_choice(choice)
    await ask_version(find_python(choice.vllm_python))


async def make_vllm(
    choice: Choice, folder: NodeFolder, on_progress: OnProgress | None = None
) -> VllmEngine:
    """Make the engine; fetches the model's files if they are not here. Raises: NotPossible."""
    options = await options_for(choice, folder, on_progress)
    return VllmEngine(options, run=folder.run, logs=folder.logs)


async def options_for(
    choice: Choice, folder: NodeFolder, on_progress: OnProgress | None = None
) -> VllmOptions:
    """Decide how vLLM is run. Raises: NotPossible."""
    name = _check_choice(choice)
    python = find_python(choice.vllm_python)
    facts = await ask_facts(python)
    model = await _model(name, ModelStore(folder.path), on_progress)
    return plan(python, facts, model, await asyncio.to_thread(_wishes, choice))


def _check_choice(choice: Choice) -> str:
    """Give the model's name. Raises: NotPossible."""
    if choice.engine_url:
        raise NotPossible("--engine-url belongs to --engine external.")
    if len(choice.models) != 1:
        raise NotPossible("vLLM serves one model: give --model once, a name or a folder.")
    return choice.models[0]


async def _model(name: str, store: ModelStore, on_progress: OnProgress | None) -> Model:
    try:
        manifest = await _manifest(name, store, on_progress)
        files = await store.ensure(manifest, on_progress)
        folder = _folder_of(manifest, files)
        config = await asyncio.to_thread(read_folder_config, folder)
    except CatalogError as error:
        raise NotPossible(f"The model {name} cannot be used: {error}") from error
    return Model(
        folder=folder,
        name=manifest.name,
        digest=Digest(digest_of(manifest)),
        kind=manifest.kind,
        context=manifest.context_length,
        config=config,
    )


async def _manifest(name: str, store: ModelStore, on_progress: OnProgress | None) -> Manifest:
    """Find a model by its name in the catalogue, or describe the owner's folder."""
    known = Catalog.load().by_name(name)
    if known is not None:
        return known
    path = Path(name)
    if await asyncio.to_thread((path / CONFIG).is_file):
        return await store.adopt_folder(path, on_progress)
    raise NotPossible(
        f"There is no model {name!r} for vLLM. Give a folder with {CONFIG} and weights as "
        ".safetensors files, as Hugging Face has them."
    )


def _folder_of(manifest: Manifest, files: Mapping[str, Path]) -> Path:
    """Give the one folder that holds all files by their paths. Raises: NotPossible."""
    folders = {file.parents[len(Path(path).parts) - 1] for path, file in files.items()}
    if CONFIG not in files or not any(path.endswith(".safetensors") for path in files):
        raise NotPossible(
            f"{manifest.name} has no weights as .safetensors files, which vLLM needs; "
            "serve it with --engine llamacpp."
        )
    if len(folders) > 1:
        raise NotPossible(
            f"The files of {manifest.name} lie in several folders: "
            f"{', '.join(sorted(map(str, folders)))}. Remove the incomplete one."
        )
    return folders.pop()


def _wishes(choice: Choice) -> Wishes:
    template = Path(choice.chat_template).expanduser().absolute() if choice.chat_template else None
    if template is not None and not template.is_file():
        raise NotPossible(f"There is no chat template {template}.")
    return Wishes(
        slots=choice.slots,
        context=choice.context,
        tensor_parallel=choice.tensor_parallel,
        memory_share=choice.memory_share,
        cache_gib=choice.kv_cache_gib,
        threads=choice.threads,
        chat_template=template,
    )


__all__ = ["check_vllm", "make_vllm", "options_for"]
