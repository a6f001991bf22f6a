"""From what the owner chose to a llama.cpp that can be started: on cards, or on the processor."""

import asyncio
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Final

import msgspec
import structlog

from garage_ai.catalog import (
    DEFAULT_MODEL,
    CatalogError,
    Demand,
    Manifest,
    ModelStore,
    OnProgress,
    TooLarge,
    burden_of,
    digest_of,
    offload,
    read_gguf,
    shape_of,
)
from garage_ai.node.catalogue import is_own, known_models, refusal_of, suited
from garage_ai.node.engines.cards import Seat, place_of, seat
from garage_ai.node.engines.devices import devices_for
from garage_ai.node.engines.launch import Launcher
from garage_ai.node.engines.llama_server import ServerOptions, listed_devices, look_inside
from garage_ai.node.engines.llamacpp import DEFAULT_SLOTS, LesserForm, LlamaEngine
from garage_ai.node.engines.llamacpp_cards import LlamaOnCards
from garage_ai.node.engines.llamacpp_options import LlamaOptions
from garage_ai.node.engines.llamacpp_room import check_memory, too_large
from garage_ai.node.errors import CardUnusable, NoImage, NoRoom, NotPossible
from garage_ai.node.fitting.book import Book
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.forms import lesser_forms
from garage_ai.node.fitting.machines import OnCards, Processor
from garage_ai.node.fitting.words import lacking
from garage_ai.node.folder import Choice, NodeFolder
from garage_ai.node.hardware.bounds import read_bounds
from garage_ai.node.hardware.models import Gpus
from garage_ai.node.hardware.pc import nvidia_on_the_bus, read_gpus
from garage_ai.node.sandbox.build import build_image, built_image
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import Built, ImageBook, OnPull, allowed, pulled
from garage_ai.node.sandbox.launcher import ContainerLauncher
from garage_ai.node.sandbox.order import memory_limit
from garage_ai.node.sandbox.spec import Runtime
from garage_ai.node.weights import room_for
from garage_ai.wire.ids import Digest

_log = structlog.get_logger(__name__)

DEFAULT_CONTEXT: Final = 4096
"""Tokens of a slot on the processor unless the owner says otherwise; memory grows with it."""

IMAGE: Final = "llamacpp-cuda"
"""The name of llama.cpp's own image in the allow-list."""

_LIST_SECONDS: Final = 120
_ROOT: Final = Path("/")


async def check_llamacpp(choice: Choice) -> None:
    """Check what llama.cpp needs of this PC, without starting anything. Raises: NotPossible."""
    _check_choice(choice)
    await find_seat(choice)
    if choice.sandbox != "none":
        await find_runtime(choice.sandbox)


async def find_seat(choice: Choice) -> Seat:
    """Look at the cards and decide where it is to compute.

    Raises: NotPossible, CardUnusable where it cannot compute there.
    """
    gpus, plugged_in = await asyncio.to_thread(look_at_cards)
    where = seat(choice.gpus, gpus, plugged_in=plugged_in)
    if where.cards and choice.sandbox == "none":
        raise CardUnusable(
            "{card} is here, and llama.cpp without a sandbox computes on the processor alone. Give "
            "it one: --sandbox auto",
            card=where.cards[0].name,
        )
    if where.cards:
        return where
    if choice.gpu_layers:
        raise NotPossible("--gpu-layers is for a card, and llama.cpp is to use none here.")
    if importlib.util.find_spec("xllamacpp") is None:
        raise NotPossible("llama.cpp is not installed: pip install 'garage-ai[local]'.")
    return where


def look_at_cards() -> tuple[Gpus, bool]:
    """Give the cards that answer, and whether there is one at all."""
    return read_gpus(), nvidia_on_the_bus(_ROOT)


async def llama_image(
    runtime: Runtime, folder: Path, where: Seat, on_pull: OnPull | None = None
) -> tuple[str, Built | None]:
    """Have llama.cpp's image here: its makers' for cards, else one built of what is installed.

    `on_pull` hears what is fetched. Raises: NoImage, RuntimeBroken.
    """
    if not where.cards:
        built = await built_image(runtime, folder) or await build_image(runtime, folder)
        return built.image, built
    image = allowed(IMAGE)
    try:
        return await pulled(runtime, image, ImageBook(folder), on_pull=on_pull), None
    except NoImage as error:
        raise NoImage(
            "llama.cpp's image for cards, {image}, is not here and cannot be pulled. Look at the "
            "connection and try again, or serve on the processor: --gpu none",
            image=image.reference,
        ) from error


async def see_cards(launcher: ContainerLauncher, where: Seat) -> None:
    """Have the engine itself list the cards it finds in its sandbox. Raises: CardUnusable."""
    devices = await devices_for(launcher.runtime, where.uuids)
    said = await launcher.ask(look_inside(), seconds=_LIST_SECONDS, gpus=devices)
    found = listed_devices(said.out)
    if not said.well or len(found) < len(where.cards):
        detail = said.words if not said.well else ", ".join(found) or "none"
        raise CardUnusable(
            "In its sandbox llama.cpp finds {found} of {all} cards ({detail}). How to put that "
            "right: gai node doctor. If it finds nothing amiss, update the driver and "
            "nvidia-container-toolkit.",
            found=len(found),
            all=len(where.cards),
            detail=detail,
        )


async def make_llama(
    choice: Choice,
    folder: NodeFolder,
    on_progress: OnProgress | None = None,
    launcher: Launcher | None = None,
) -> LlamaEngine:
    """Make the engine; fetches the model's files if they are not here. `launcher` None: bare.

    Raises: NotPossible.
    """
    options = await llama_options(choice, folder, on_progress)
    if isinstance(launcher, ContainerLauncher):
        # What keeps it from ever starting is better said now.
        launcher.argv(options)
    meant = choice.models[0] if choice.picked else ""
    lesser = _lesser(choice, options, folder)
    book = Book(folder.path)
    if isinstance(options, ServerOptions):
        if launcher is None:
            raise CardUnusable("llama.cpp on a card needs its sandbox.")
        image = launcher.image if isinstance(launcher, ContainerLauncher) else ""

        async def plan_again(name: str) -> tuple[ServerOptions, Fitting]:
            # A form that was taken stays; only what the owner named has a name of its own.
            form = msgspec.structs.replace(choice, models=(name,), picked=False)
            own = choice.models and not choice.picked
            again = await llama_options(choice if own else form, folder)
            if not isinstance(again, ServerOptions):
                raise CardUnusable("The card that llama.cpp is to compute on is gone.")
            return again, await _fitting_on(again, book, image, meant)

        return LlamaOnCards(
            options,
            run=folder.run,
            logs=folder.logs,
            launcher=launcher,
            fitting=await _fitting_on(options, book, image, meant),
            lesser=lesser,
            plan_again=plan_again,
        )
    bounded = launcher is not None and launcher.fence.limits
    processor = Processor(memory_limit() if bounded else None)
    version = importlib.metadata.version("xllamacpp")
    return LlamaEngine(
        options,
        run=folder.run,
        logs=folder.logs,
        launcher=launcher,
        fitting=Fitting(book, processor, f"llamacpp {version}", meant=meant),
        lesser=lesser,
    )


async def _fitting_on(options: ServerOptions, book: Book, image: str, meant: str) -> Fitting:
    """Give what remembers how much llama.cpp may take on on these cards."""
    machine = await asyncio.to_thread(lambda: OnCards(read_gpus(), uuids=options.gpus))
    return Fitting(book, machine, f"llamacpp {image}", meant=meant)


def _lesser(
    choice: Choice, options: LlamaOptions | ServerOptions, folder: NodeFolder
) -> list[LesserForm]:
    """Give smaller forms of the model on the same cards, if it was not the owner who chose it."""
    if isinstance(options, ServerOptions):
        choice = msgspec.structs.replace(choice, gpus=options.gpus)

    def form(smaller: Choice) -> LesserForm:
        return lambda: _lesser_options(smaller, folder, type(options))

    return [form(each) for each in _smaller(choice, options.name, folder.path)]


async def _lesser_options(
    choice: Choice, folder: NodeFolder, kind: type[LlamaOptions | ServerOptions]
) -> LlamaOptions | ServerOptions:
    options = await llama_options(choice, folder)
    if not isinstance(options, kind):
        raise NotPossible("A card has come since the engine began on the processor.")
    return options


def _smaller(choice: Choice, name: str, folder: Path) -> list[Choice]:
    """Choose smaller forms of a model, the largest first; none if its owner chose it."""
    if choice.models and not choice.picked:
        return []
    catalog = known_models(folder)
    known = catalog.by_name(name)
    forms = lesser_forms(catalog, known) if known is not None else ()
    return [msgspec.structs.replace(choice, models=(each.name,), picked=False) for each in forms]


async def llama_options(
    choice: Choice, folder: NodeFolder, on_progress: OnProgress | None = None
) -> LlamaOptions | ServerOptions:
    """Decide how llama.cpp is run; fetches the model's files if they are not here.

    Of a model that can never fit, and that its owner did not choose, a smaller form is taken.
    Raises: NotPossible.
    """
    try:
        return await _options(choice, folder, on_progress)
    except NoRoom as error:
        if error.reason:
            raise
        refused = error
    for smaller in _smaller(choice, _named(choice), folder.path):
        try:
            return await _options(smaller, folder, on_progress)
        except NotPossible as error:
            if isinstance(error, NoRoom) and error.reason:
                raise
            _log.warning("lesser_form_unavailable", detail=str(error)[:200])
    raise refused


def _named(choice: Choice) -> str:
    return choice.models[0] if choice.models else DEFAULT_MODEL


async def _options(
    choice: Choice, folder: NodeFolder, on_progress: OnProgress | None
) -> LlamaOptions | ServerOptions:
    _check_choice(choice)
    where = await find_seat(choice)
    name = _named(choice)
    try:
        store = ModelStore(folder.path, room=room_for(folder, choice))
        manifest = await _manifest(name, folder.path, store, on_progress)
        files = await store.ensure(manifest, on_progress)
        weights = files[manifest.weights.path]
        beside = tuple(files[each.path] for each in manifest.files[1:])
        if where.cards:
            return await _on_cards(choice, where, manifest, weights, beside)
    except CatalogError as error:
        raise refusal_of(name, error) from error
    digest = Digest(digest_of(manifest))
    if not Book(folder.path).knows(digest):
        check_memory(manifest)
    return LlamaOptions(
        weights=weights,
        name=manifest.name,
        digest=digest,
        kind=manifest.kind,
        slots=choice.slots or DEFAULT_SLOTS,
        context=choice.context or min(DEFAULT_CONTEXT, manifest.context_length),
        threads=choice.threads or _threads(),
        beside=beside,
    )


async def _on_cards(
    choice: Choice, where: Seat, manifest: Manifest, weights: Path, beside: tuple[Path, ...]
) -> ServerOptions:
    """Plan the cards for a model's file. Raises: NotPossible, CatalogError."""
    header = await asyncio.to_thread(read_gguf, weights)
    shape, burden = shape_of(header, manifest.name), burden_of(header, manifest.size)
    places = [place_of(card) for card in where.cards]
    demand = Demand(choice.context, choice.slots, choice.gpu_layers)
    plan = offload(shape, burden, places, demand)
    if isinstance(plan, TooLarge):
        emptied = [place_of(msgspec.structs.replace(card, free=card.total)) for card in where.cards]
        ever = not isinstance(offload(shape, burden, emptied, demand), TooLarge)
        raise too_large(manifest.name, plan, where, lacking(plan.needed, plan.room) if ever else "")
    uuids = tuple(where.cards[n].uuid for n in plan.places)
    runtime = await find_runtime("auto" if choice.sandbox == "none" else choice.sandbox)
    return ServerOptions(
        weights=weights,
        name=manifest.name,
        digest=Digest(digest_of(manifest)),
        kind=manifest.kind,
        threads=choice.threads or _threads(),
        gpus=uuids,
        devices=await devices_for(runtime, uuids),
        plan=plan,
        beside=beside,
    )


def _check_choice(choice: Choice) -> None:
    if len(choice.models) > 1:
        raise NotPossible("llama.cpp serves one model: give --model once.")
    if choice.engine_url:
        raise NotPossible("--engine-url belongs to --engine external.")


async def _manifest(
    name: str, folder: Path, store: ModelStore, on_progress: OnProgress | None
) -> Manifest:
    """Find a model by its name among those known, or describe the owner's GGUF file."""
    catalog = known_models(folder)
    known = catalog.by_name(name)
    if known is not None:
        return suited("llamacpp", known)
    if await asyncio.to_thread(is_own, "llamacpp", name):
        return await store.adopt(Path(name), on_progress=on_progress)
    names = ", ".join(sorted(manifest.name for manifest in catalog))
    raise NotPossible(
        "There is no model {name}. Known: {known}; or give a .gguf file.",
        name=repr(name),
        known=names,
    )


def _threads() -> int:
    """Leave one core to whatever else the owner does."""
    import psutil

    return read_bounds().cores(max(1, (psutil.cpu_count(logical=False) or 2) - 1))


__all__ = [
    "check_llamacpp",
    "find_seat",
    "llama_image",
    "llama_options",
    "look_at_cards",
    "make_llama",
    "see_cards",
]
