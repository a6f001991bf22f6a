"""A model that this PC does not know is asked of its network, once, and kept.

Where its owner named none and there is a card, the network's best one that fits there is taken.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import structlog

from garage_ai.catalog import DEFAULT_MODEL, Catalog, Manifest, ModelName
from garage_ai.node.catalogue import MOST_BYTES, is_own, keep, known_models, read_entry, suited
from garage_ai.node.engines.llamacpp_setup import find_seat
from garage_ai.node.errors import BadManifest, GatewayAway, ModelAway, NodeError, NoSuchModel
from garage_ai.node.events import Begun, Done, Event, Unlisted
from garage_ai.node.fitting.best import best_model
from garage_ai.node.fitting.forms import lesser_forms
from garage_ai.node.folder import Choice
from garage_ai.node.gateway_client import GatewayClient, GatewayRefused
from garage_ai.node.guard.limits import load_limits
from garage_ai.node.hardware.pc import disk_free

_log = structlog.get_logger(__name__)

_PATH: Final = "/api/v1/manifests"
_ENGINES: Final = frozenset({"llamacpp", "vllm"})
"""Those that serve a model by what it is made of; an external one has names of its own."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LIST_BYTES: Final = 8 * MOST_BYTES
_NOT_FOUND: Final = 404
_DISK_RESERVE: Final = 1 << 30
"""Bytes that a picked model leaves free: its engine and the owner need some too."""
_MOST_FORMS: Final = 3
"""How many smaller forms of a model that was picked are kept beside it, the largest of them."""

_NAMED: Final = 5
"""How many of the network's models are named to an owner who asked for another."""


class _Named(msgspec.Struct, frozen=True):
    name: ModelName


class _List(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


async def settle(
    choice: Choice, folder: Path, client: GatewayClient, tell: Callable[[Event], None]
) -> Choice:
    """Pick a model where none is chosen, and have what is chosen known in a node's folder.

    One that was picked and that the network no longer describes is none any more.
    Raises: NoSuchModel, BadManifest, GatewayAway, GatewayRefused, NotPossible.
    """
    choice = await pick(choice, folder, client, tell)
    try:
        await learn(choice, folder, client, tell, anew=True)
    except NoSuchModel:
        if not choice.picked:
            raise
        open_again = msgspec.structs.replace(choice, models=(), picked=False)
        choice = await pick(open_again, folder, client, tell)
        await learn(choice, folder, client, tell, anew=True)
    return choice


async def pick(
    choice: Choice, folder: Path, client: GatewayClient, tell: Callable[[Event], None]
) -> Choice:
    """Name the network's best model for this PC's cards, where its owner named none.

    Its smaller forms are kept in the node's folder, for when memory does not suffice. Without a
    card, and where the network describes none that fits, the choice stays open, which is the small
    model of the installation. Raises: GatewayAway, GatewayRefused; NotPossible for cards or a
    folder that cannot be used.
    """
    if choice.engine != "llamacpp" or choice.models:
        return choice
    cards = (await find_seat(choice)).cards
    if not cards:
        return choice
    tell(Begun("pick", " + ".join(card.name for card in cards)))
    models = await _described(client)
    if models is None:
        tell(Unlisted(DEFAULT_MODEL))
        return choice
    disk = await asyncio.to_thread(_disk_room, folder)
    best = best_model(models, cards, context=choice.context, slots=choice.slots, disk=disk)
    tell(Done("pick", DEFAULT_MODEL if best is None else best.name))
    if best is None:
        return choice
    for form in lesser_forms(models, best)[:_MOST_FORMS]:
        # One that the installation knows by itself is not kept a second time.
        with contextlib.suppress(BadManifest):
            await asyncio.to_thread(keep, folder, form, client.base)
    return msgspec.structs.replace(choice, models=(best.name,), picked=True)


def _disk_room(folder: Path) -> int:
    """Give the bytes that a model may take here. Raises: NotPossible for limits that are broken."""
    most = load_limits(folder).disk
    free = max(0, disk_free(folder) - _DISK_RESERVE)
    return free if most is None else min(most, free)


async def learn(
    choice: Choice,
    folder: Path,
    client: GatewayClient,
    tell: Callable[[Event], None],
    *,
    anew: bool = False,
) -> None:
    """Have the chosen models known in a node's folder, and fit for the engine.

    `anew` asks again for what is kept, as far as the gateway is reached: its word is newer. Without
    it a path that leads nowhere did once: its disk may come up later.
    Raises: NoSuchModel, ModelAway, BadManifest, GatewayAway, GatewayRefused, NotPossible.
    """
    for name in choice.models if choice.engine in _ENGINES else ():
        catalog = await asyncio.to_thread(known_models, folder)
        manifest = catalog.by_name(name)
        if manifest is None and await asyncio.to_thread(is_own, choice.engine, name):
            continue
        if manifest is None and not anew and await asyncio.to_thread(_is_away, name):
            raise ModelAway("{name} is not here just now: is its disk mounted?", name=name)
        if manifest is None or (anew and Catalog.load().by_name(name) is None):
            manifest = await _asked(choice.engine, name, client, tell, manifest)
            await asyncio.to_thread(keep, folder, manifest, client.base)
        suited(choice.engine, manifest)


async def _asked(
    engine: str,
    name: str,
    client: GatewayClient,
    tell: Callable[[Event], None],
    kept: Manifest | None,
) -> Manifest:
    _check_name(engine, name)
    tell(Begun("ask", name))
    try:
        manifest = await ask(client, name)
    except GatewayAway:
        if kept is None:
            raise
        _log.warning("kept_model_used", name=name, gateway=client.base)
        manifest = kept
    tell(Done("ask", name))
    return manifest


async def ask(client: GatewayClient, name: str) -> Manifest:
    """Ask a gateway what a model is made of, and believe what can be checked.

    Raises: NoSuchModel, BadManifest, GatewayAway, GatewayRefused.
    """
    try:
        page = await client.get(f"{_PATH}/{quote(name, safe='')}", MOST_BYTES)
    except GatewayRefused as error:
        if error.status != _NOT_FOUND:
            raise
        raise _unknown(client.base, name, await _names(client)) from error
    return read_entry(page, name, client.base)


async def _names(client: GatewayClient) -> list[str]:
    """Name the models that a gateway describes; none where it does not say so."""
    try:
        return sorted({msgspec.json.decode(each, type=_Named).name for each in await _list(client)})
    except (NodeError, *_UNREADABLE):
        return []


async def _described(client: GatewayClient) -> list[Manifest] | None:
    """Give the models that a node can have of its network; None where it tells no list of them.

    An entry that cannot be read is passed over. Raises: GatewayAway, GatewayRefused.
    """
    try:
        entries = await _list(client)
    except (GatewayRefused, *_UNREADABLE) as error:
        if isinstance(error, GatewayRefused) and error.status != _NOT_FOUND:
            raise
        _log.warning("models_not_listed", gateway=client.base, reason=str(error)[:200])
        return None
    found = []
    for entry in entries:
        with contextlib.suppress(BadManifest, *_UNREADABLE):
            name = msgspec.json.decode(entry, type=_Named).name
            found.append(read_entry(bytes(entry), name, client.base))
    return found


async def _list(client: GatewayClient) -> list[msgspec.Raw]:
    page = await client.get(_PATH, _LIST_BYTES)
    return msgspec.json.decode(page, type=_List).data


def _unknown(base: str, name: str, known: list[str]) -> NoSuchModel:
    if not known:
        return NoSuchModel(
            "{base} describes no model {name}. A file or folder of your own is given by its path.",
            base=base,
            name=name,
        )
    more = ", …" if len(known) > _NAMED else ""
    return NoSuchModel(
        "{base} describes no model {name}, but {known}. A file or folder of your own is given by "
        "its path.",
        base=base,
        name=name,
        known=", ".join(known[:_NAMED]) + more,
    )


def _is_away(name: str) -> bool:
    return Path(name).is_absolute() and not Path(name).exists()


def _check_name(engine: str, name: str) -> None:
    """Refuse what can be no model's name, and is no path either. Raises: NoSuchModel."""
    try:
        msgspec.convert(name, type=ModelName)
    except msgspec.ValidationError as error:
        if engine == "vllm":
            raise NoSuchModel(
                "{name} is neither a model's name nor a folder here with a config.json.",
                name=repr(name),
            ) from error
        raise NoSuchModel(
            "{name} is neither a model's name nor a .gguf file here.", name=repr(name)
        ) from error


__all__ = ["ask", "learn", "pick", "settle"]
