"""From what the owner chose to an engine that can be started."""

import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from garage_ai.catalog import OnProgress
from garage_ai.node.engines.cards import NONE, Seat, chosen_cards
from garage_ai.node.engines.devices import devices_for
from garage_ai.node.engines.external import DEFAULT_SLOTS as EXTERNAL_SLOTS
from garage_ai.node.engines.external import ExternalEngine
from garage_ai.node.engines.launch import BareLauncher, Launcher, Startable
from garage_ai.node.engines.link import base_of
from garage_ai.node.engines.llamacpp_setup import (
    check_llamacpp,
    find_seat,
    llama_image,
    llama_options,
    make_llama,
    see_cards,
)
from garage_ai.node.engines.orphans import end_orphans
from garage_ai.node.engines.port import Engine
from garage_ai.node.engines.vllm import VllmEngine
from garage_ai.node.engines.vllm_options import MARK, VllmOptions
from garage_ai.node.engines.vllm_setup import check_vllm, vllm_fitting, vllm_options
from garage_ai.node.errors import NotPossible
from garage_ai.node.fitting.book import Book
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.group.folder import group_of
from garage_ai.node.group.setup import check_fence, group_engine
from garage_ai.node.hardware.pc import read_gpus
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import Built, OnPull
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.seccomp import write_profile
from garage_ai.node.sandbox.spec import Runtime
from garage_ai.node.sandbox.vllm_image import facts_inside, vllm_image

ENGINE_KEY: Final = "GAI_ENGINE_KEY"


async def check(choice: Choice, member: str = "") -> None:
    """Check what the chosen engine needs of this PC, and nothing else. Raises: NotPossible."""
    _check_cards(choice)
    if choice.engine == "external":
        await _check_external(choice, member)
    elif choice.engine == "llamacpp":
        await check_llamacpp(choice)
    elif choice.engine == "vllm":
        await check_vllm(choice)
        if choice.sandbox != "none":
            await find_runtime(choice.sandbox)
    else:
        raise NotPossible(
            "There is no engine {engine!r}; choose llamacpp, vllm or external.",
            engine=choice.engine,
        )


async def make_launcher(
    choice: Choice, folder: NodeFolder, node: str, on_pull: OnPull | None = None
) -> Launcher:
    """Make what starts the engine; the sandbox's image is built or fetched if it is not here.

    `on_pull` hears what is fetched. Raises: NotPossible.
    """
    where = await find_seat(choice) if choice.engine == "llamacpp" else Seat()
    if choice.sandbox == "none":
        return BareLauncher()
    runtime = await find_runtime(choice.sandbox)
    again = partial(_image, choice.engine, runtime, folder.path, where, on_pull)
    image, built = await again()
    seccomp = None
    if runtime.program == "podman":
        seccomp = await asyncio.to_thread(write_profile, runtime.profile, folder.path)
    containers = Containers(runtime, folder.path, node)
    launcher = ContainerLauncher(containers, image, folder.run, seccomp, built=built, again=again)
    if where.cards:
        await see_cards(launcher, where)
    return launcher


async def _image(
    engine: str, runtime: Runtime, folder: Path, where: Seat, on_pull: OnPull | None
) -> tuple[str, Built | None]:
    """Give the image's name, and what it was built of if it was built here."""
    if engine == "vllm":
        return await vllm_image(runtime, folder, on_pull), None
    return await llama_image(runtime, folder, where, on_pull)


async def sandbox_of(folder: NodeFolder) -> tuple[ContainerLauncher | None, Startable]:
    """Give what a node's engine is started by and how; None for one without a sandbox.

    Raises: NotEnrolled, NotPossible.
    """
    record = folder.load()
    launcher = await make_launcher(record.choice, folder, record.node)
    container = launcher if isinstance(launcher, ContainerLauncher) else None
    if record.choice.engine == "vllm":
        return container, await _vllm_options(record.choice, folder, None, launcher)
    return container, await llama_options(record.choice, folder)


async def make_engine(
    choice: Choice,
    member: str,
    folder: NodeFolder,
    on_progress: OnProgress | None = None,
    launcher: Launcher | None = None,
) -> Engine:
    """Make the chosen engine; fetches the model's files if they are not here.

    To be called by who holds the node's folder. `launcher` None starts it bare.
    Raises: NotPossible, EngineLost.
    """
    _check_cards(choice)
    if choice.engine == "external":
        return _external(choice, member)
    if launcher is not None:
        # What an agent that died has left holds memory of the cards, which is counted next.
        await launcher.clear()
    group = group_of(folder)
    if group is not None:
        check_fence(choice, launcher)
        shared = await _vllm_options(choice, folder, on_progress, launcher, grouped=True)

        async def look() -> VllmOptions:
            # What a part has left behind holds memory, which is counted now.
            await end_orphans(MARK, folder.run)
            if launcher is not None:
                await launcher.clear()
            return await _vllm_options(choice, folder, None, launcher, grouped=True)

        return group_engine(folder, group, choice, shared, launcher, look=look)
    if choice.engine == "vllm":
        book = Book(folder.path)
        planned, fitting = await _planned_vllm(choice, folder, book, on_progress, launcher)
        return VllmEngine(
            planned,
            run=folder.run,
            logs=folder.logs,
            launcher=launcher,
            fitting=fitting,
            # A processor is not shared out: what is free there changes no plan.
            plan_again=None
            if planned.on_cpu
            else lambda taken: _planned_vllm(
                choice, folder, book, None, launcher, beforehand=taken
            ),
        )
    return await make_llama(choice, folder, on_progress, launcher)


async def _planned_vllm(
    choice: Choice,
    folder: NodeFolder,
    book: Book,
    on_progress: OnProgress | None,
    launcher: Launcher | None,
    *,
    beforehand: int = 0,
) -> tuple[VllmOptions, Fitting]:
    planned = await _vllm_options(choice, folder, on_progress, launcher, beforehand=beforehand)
    image = launcher.image if isinstance(launcher, ContainerLauncher) else None
    bounded = launcher is not None and launcher.fence.limits
    return planned, await vllm_fitting(planned, book, image, bounded=bounded)


async def _vllm_options(
    choice: Choice,
    folder: NodeFolder,
    on_progress: OnProgress | None,
    launcher: Launcher | None,
    *,
    grouped: bool = False,
    beforehand: int = 0,
) -> VllmOptions:
    if not isinstance(launcher, ContainerLauncher):
        return await vllm_options(
            choice, folder, on_progress, grouped=grouped, beforehand=beforehand
        )
    gpus = await asyncio.to_thread(read_gpus)
    facts = await facts_inside(launcher, chosen_cards(choice.gpus, gpus.cards))
    options = await vllm_options(
        choice, folder, on_progress, facts, grouped=grouped, beforehand=beforehand
    )
    options = replace(options, devices=await devices_for(launcher.runtime, options.gpus))
    # What keeps it from ever starting is better said now.
    launcher.argv(options)
    return options


def _check_cards(choice: Choice) -> None:
    """Refuse what would not be heeded. Raises: NotPossible."""
    if choice.gpu_layers and choice.engine != "llamacpp":
        raise NotPossible("--gpu-layers is for --engine llamacpp.")
    fenced = choice.engine == "vllm" and choice.sandbox != "none" and NONE not in choice.gpus
    if choice.gpus and choice.engine != "llamacpp" and not fenced:
        raise NotPossible("--gpu is for llamacpp, and names cards for vllm in its sandbox.")


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
        raise NotPossible(
            "The engine at {url} cannot be used: {problem}", url=choice.engine_url, problem=problem
        )


__all__ = ["ENGINE_KEY", "check", "llama_options", "make_engine", "make_launcher", "sandbox_of"]
