"""Stop being a node, and take away all that was one: each step may be the last before a crash.

The network is told first; then identity, service, containers, images and files go. Whatever is gone
already is no trouble, so that the same command ends what was cut short. What the owner brought
himself stays where it is: model files named by their path, an environment of vLLM, a base image.
"""

import asyncio
import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import structlog

from garage_ai.node.errors import GatewayAway, NodeError, NotEnrolled, NotPossible
from garage_ai.node.folder import LOCK, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient, GatewayRefused, NodeGoneForGood
from garage_ai.node.group.setup import take_down_tunnel
from garage_ai.node.records import tls_for
from garage_ai.node.rotation import settled
from garage_ai.node.sandbox.containers import Containers
from garage_ai.node.sandbox.detect import find_runtime
from garage_ai.node.sandbox.images import ImageBook, Pins, remove_built
from garage_ai.node.sandbox.spec import Program
from garage_ai.node.service.user_manager import NodeService
from garage_ai.wire.identity import IdentityError
from garage_ai.wire.secret_files import unfinished
from garage_ai.wire.trust import TrustError

_log = structlog.get_logger(__name__)

Farewell = Literal["left", "gone_already", "not_told", "no_node"]
"""What the network knows: told now, or before, or not at all; or there was no node to tell of."""

_OWN_FILES: Final = (
    *("benchmarks.json", "group.json", "group.secret", "images.json", "limits.json"),
    *("memory.json", "paused", "seccomp.json", "service.env", "tally.json"),
)
_HEX: Final = "[0-9a-f]" * 64
_OWN_FOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "manifests": ("*.json", ".*.json.*"),
    "prices": ("????-??-??_SE?.*",),
    "versions": ("[0-9]*.[0-9]*.[0-9]*", ".fetched", ".lock", ".trial", "*state.json*"),
}
"""What the agent writes in folders whose names others use too."""

_MODEL_FOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "checked": (f"{_HEX}.json", f".{_HEX}.json.*"),
    "locks": (f"{_HEX}.lock",),
}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SHARED: Final = ("up.json", "up.lock")
"""What a `gai up` of the same folder keeps in run/."""


class Left(msgspec.Struct, frozen=True):
    """What leaving did: `removed` names what is gone, `kept` what could not be removed, and why.

    `shared` stays, since another node or something else on this PC uses it.
    """

    node: str | None
    gateway: str | None
    network: Farewell
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    freed_bytes: int = 0


async def leave(folder: NodeFolder, *, keep_models: bool = False, force: bool = False) -> Left:
    """Leave the network and remove what was a node; no agent may run.

    `force` goes on where the network cannot be told; it then keeps the node in its books.
    Raises: AlreadyRunning, GatewayAway, EnrolmentFailed, NotEnrolled; then nothing is removed.
    """
    if not any((folder.path / name).exists() for name in (LOCK, "identity.json")):
        # Nobody's home: what lies here is none of ours.
        return Left(None, None, "no_node")
    with folder.lock():
        record = _known(folder, force=force)
        farewell: Farewell = "no_node"
        if record is not None:
            farewell = await _say_goodbye(folder, record, force=force)
        folder.forget()
        leaving = _Leaving(folder)
        await leaving.take_away(keep_models=keep_models)
        if not leaving.kept:
            # Its being there is how the next try knows that this was a node's home.
            (folder.path / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.path.rmdir()
    return Left(
        node=record.node if record else None,
        gateway=record.gateway if record else None,
        network=farewell,
        removed=tuple(leaving.removed),
        kept=tuple(leaving.kept),
        shared=tuple(leaving.shared),
        freed_bytes=leaving.freed,
    )


def _known(folder: NodeFolder, *, force: bool) -> Record | None:
    try:
        return folder.load()
    except NotEnrolled:
        # One that is there and cannot be read may still be told of, once it is put right.
        if (folder.path / "identity.json").exists() and not force:
            raise
        return None


async def _say_goodbye(folder: NodeFolder, record: Record, *, force: bool) -> Farewell:
    try:
        async with GatewayClient(record.gateway, tls=tls_for(record)) as client:
            identity = await settled(folder.identity, record.node, client)
            await client.leave(identity, record.node)
    except NodeGoneForGood:
        return "gone_already"
    except (GatewayAway, GatewayRefused) as error:
        if isinstance(error, GatewayRefused) and error.reason == "node_not_found":
            return "gone_already"
        if not force:
            raise
        _log.info("network_not_told", node=record.node, detail=str(error)[:200])
        return "not_told"
    except (IdentityError, TrustError) as error:
        if not force:
            raise NotEnrolled(
                "{error}",
                error=error,
            ) from error
        return "not_told"
    return "left"


class _Leaving:
    """Takes away one kind of thing after the other, and goes on past what cannot be taken."""

    def __init__(self, folder: NodeFolder) -> None:
        self._folder = folder
        self.removed: list[str] = []
        self.kept: list[str] = []
        self.shared: list[str] = []
        self.freed = 0

    async def take_away(self, *, keep_models: bool) -> None:
        await self._service()
        for name in get_args(Program):
            if await asyncio.to_thread(shutil.which, name):
                await self._containers(name)
        await self._images()
        await self._tunnel()
        for path in self._files(keep_models=keep_models):
            await asyncio.to_thread(self._remove, path)
        for name in ("models", "logs", "run"):
            with contextlib.suppress(OSError):
                (self._folder.path / name).rmdir()

    async def _service(self) -> None:
        service = NodeService(self._folder)
        try:
            if await service.remove():
                self.removed.append(f"service {service.unit}")
        except NodeError as error:
            self.kept.append(f"service {service.unit}: {error}")

    async def _containers(self, name: Program) -> None:
        try:
            containers = Containers(await find_runtime(name), self._folder.path)
            count = await containers.clear()
        except NotPossible as error:
            # One that does not work for this user has run nothing for him either, unless it did.
            if name in self._built():
                self.kept.append(f"containers of {name}: {error}")
            return
        if count:
            self.removed.append(f"containers of {name}: {count}")

    async def _images(self) -> None:
        built, fetched = self._built(), self._pins().pulled
        try:
            stay = await remove_built(self._folder.path)
        except NotPossible as error:
            self.kept.append(f"images: {error}")
            return
        images = [(f"image {image} of {name}", image) for name, image in built.items()]
        for reference, digest in fetched.items():
            exact = f"{reference.rpartition(':')[0]}@{digest}"
            images.append((f"image {reference}", exact))
        self.removed += (told for told, image in images if image not in stay)
        self.shared += (told for told, image in images if image in stay)

    async def _tunnel(self) -> None:
        try:
            gone = await asyncio.to_thread(take_down_tunnel, self._folder)
        except NodeError as error:
            self.kept.append(f"network of the group: {error}")
            return
        if not gone:
            command = f"gai group leave --data-dir {self._folder.path}"
            self.kept.append(f"network of the group: as root: {command}")

    def _built(self) -> dict[Program, str]:
        return {name: built.image for name, built in self._pins().built.items()}

    def _pins(self) -> Pins:
        try:
            return ImageBook(self._folder.path).read()
        except NotPossible:
            return Pins()

    def _files(self, *, keep_models: bool) -> Iterator[Path]:
        """Name what is ours in the folder, and nothing that only lies there."""
        home = self._folder.path
        run = self._folder.run
        if any((run / name).exists() for name in _SHARED):
            yield from run.glob("*.sock")
        else:
            yield run
        yield from self._folder.logs.glob("engine.log*")
        yield from home.glob("image-*")
        for path in (home / name for name in _OWN_FILES):
            yield from (path, *unfinished(path))
        for name, patterns in _OWN_FOLDERS.items():
            yield from _own_part(home / name, patterns)
        if not keep_models:
            yield from (each for each in (home / "models").glob("*") if _is_model(each))
            for name, patterns in _MODEL_FOLDERS.items():
                yield from _own_part(home / name, patterns)

    def _remove(self, path: Path) -> None:
        if not path.exists() and not path.is_symlink():
            return
        size = _size_of(path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            self.kept.append(f"{path}: {error.strerror or error}")
            return
        self.freed += size
        self.removed.append(str(path))


def _own_part(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Give a folder as a whole where all in it is the agent's, else what is."""
    if not folder.is_dir() or folder.is_symlink():
        return
    own = {each for pattern in patterns for each in folder.glob(pattern)}
    whole = own == set(folder.iterdir())
    yield from ([folder] if whole else sorted(own))


def _is_model(path: Path) -> bool:
    return _DIGEST.fullmatch(path.name) is not None


def _size_of(path: Path) -> int:
    found = [path] if not path.is_dir() or path.is_symlink() else path.rglob("*")
    total = 0
    for each in found:
        with contextlib.suppress(OSError):
            total += each.lstat().st_size
    return total


__all__ = ["Farewell", "Left", "leave"]
