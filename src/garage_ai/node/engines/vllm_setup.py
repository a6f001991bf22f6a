"""From what the owner chose to a vLLM that can be started."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from garage_ai.catalog import (
    NO_WEIGHTS,
    CatalogError,
    Manifest,
    ModelStore,
    OnProgress,
    digest_of,
    read_folder_config,
    read_folder_shape,
    read_folder_weights,
)
from garage_ai.node.catalogue import is_own, known_models, refusal_of, suited
from garage_ai.node.engines.vllm_options import VllmOptions
from garage_ai.node.engines.vllm_plan import Model, Wishes, plan
from garage_ai.node.engines.vllm_python import Facts, ask_facts, ask_version, find_python
from garage_ai.node.errors import NotPossible
from garage_ai.node.fitting.book import Book
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.machines import machine_for
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.sandbox.order import memory_limit
from garage_ai.node.weights import room_for
from garage_ai.wire.ids import Digest


async def check_vllm(choice: Choice) -> None:
    """Check what vLLM needs of this PC: a model, and without a container an environment.

    Raises: NotPossible.
    """
    _check_choice(choice)
    if choice.sandbox == "none":
        await ask_version(find_python(choice.vllm_python))


async def vllm_fitting(
    options: VllmOptions, book: Book, image: str | None, *, bounded: bool
) -> Fitting:
    """Give what remembers how much vLLM may take on here.

    `image` is what it comes from, if any, and `bounded` whether its container's limits hold.

    Raises: EngineMissing, EngineUnfit.
    """
    on_cards = not options.on_cpu
    limit = memory_limit() if bounded else None
    machine = await asyncio.to_thread(
        machine_for, on_cards=on_cards, limit=limit, uuids=options.gpus
    )
    version = image or await ask_version(find_python(str(options.python)))
    return Fitting(book, machine, f"vllm {version}", takes_all=on_cards)


async def vllm_options(
    choice: Choice,
    folder: NodeFolder,
    on_progress: OnProgress | None = None,
    inside: Facts | None = None,
    *,
    grouped: bool = False,
    beforehand: int = 0,
) -> VllmOptions:
    """Decide how vLLM is run; fetches the model's files if they are not here.

    `inside` is what a container has; None for an environment of the owner's, which is asked.
    `grouped`: this PC runs a part of the model, and its group decides which. `beforehand` as
    `Wishes` has it.
    Raises: NotPossible.
    """
    name = _check_choice(choice)
    python = find_python(choice.vllm_python) if inside is None else None
    facts = inside or await ask_facts(find_python(choice.vllm_python))
    store = ModelStore(folder.path, room=room_for(folder, choice))
    model = await _model(name, folder.path, store, on_progress)
    wishes = await asyncio.to_thread(_wishes, choice, grouped, beforehand)
    return plan(python, facts, model, wishes)


def _check_choice(choice: Choice) -> str:
    """Give the model's name. Raises: NotPossible."""
    if choice.engine_url:
        raise NotPossible("--engine-url belongs to --engine external.")
    if len(choice.models) != 1:
        raise NotPossible("vLLM serves one model: give --model once, a name or a folder.")
    if choice.vllm_python and choice.sandbox != "none":
        raise NotPossible(
            "In its sandbox vLLM comes from an image, not from an environment of yours: leave out "
            "--vllm-python and GAI_VLLM_PYTHON, or, for development, add --sandbox none."
        )
    return choice.models[0]


async def _model(name: str, home: Path, store: ModelStore, on_progress: OnProgress | None) -> Model:
    try:
        manifest = await _manifest(name, home, store, on_progress)
        files = await store.ensure(manifest, on_progress)
        folder = _folder_of(manifest, files)
        config = await asyncio.to_thread(read_folder_config, folder)
        shape = await asyncio.to_thread(read_folder_shape, folder, manifest.name)
        weights = NO_WEIGHTS
        if shape is not None:
            quantised = bool(config.quantisation)
            weights = await asyncio.to_thread(read_folder_weights, files, quantised=quantised)
    except CatalogError as error:
        raise refusal_of(name, error) from error
    return Model(
        folder=folder,
        files=tuple(sorted(files.items())),
        name=manifest.name,
        digest=Digest(digest_of(manifest)),
        kind=manifest.kind,
        context=manifest.context_length,
        config=config,
        shape=shape,
        weights=weights,
    )


async def _manifest(
    name: str, home: Path, store: ModelStore, on_progress: OnProgress | None
) -> Manifest:
    """Find a model by its name among those known, or describe the owner's folder."""
    known = known_models(home).by_name(name)
    if known is not None:
        return suited("vllm", known)
    if await asyncio.to_thread(is_own, "vllm", name):
        return await store.adopt_folder(Path(name), on_progress)
    raise NotPossible(
        "There is no model {name} for vLLM. Give a folder with config.json and weights as "
        ".safetensors files, as Hugging Face has them.",
        name=name,
    )


def _folder_of(manifest: Manifest, files: Mapping[str, Path]) -> Path:
    """Give the one folder that holds all files by their paths. Raises: NotPossible."""
    folders = {file.parents[len(Path(path).parts) - 1] for path, file in files.items()}
    if len(folders) > 1:
        raise NotPossible(
            "The files of {name} lie in several folders: {folders}. Remove the incomplete one.",
            name=manifest.name,
            folders=", ".join(sorted(map(str, folders))),
        )
    return folders.pop()


def _wishes(choice: Choice, grouped: bool, beforehand: int) -> Wishes:
    template = Path(choice.chat_template).expanduser().absolute() if choice.chat_template else None
    if template is not None and not template.is_file():
        raise NotPossible("There is no chat template {file}.", file=template)
    return Wishes(
        slots=choice.slots,
        context=choice.context,
        tensor_parallel=choice.tensor_parallel,
        memory_share=choice.memory_share,
        cache_gib=choice.kv_cache_gib,
        threads=choice.threads,
        chat_template=template,
        grouped=grouped,
        beforehand=beforehand,
    )


__all__ = ["check_vllm", "vllm_fitting", "vllm_options"]
