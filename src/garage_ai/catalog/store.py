"""The models on this machine: find them, check them, fetch what is missing."""

import asyncio
import errno
import random
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from garage_ai.catalog.errors import (
    DiskFull,
    NoSourceLeft,
    SourceAbsent,
    SourceBroken,
    SourceError,
    StoreBroken,
    StoreBusy,
    StoreFull,
    WrongDigest,
)
from garage_ai.catalog.integrity import Notary, hash_file, stamp_of
from garage_ai.catalog.local_file import manifest_for_file
from garage_ai.catalog.local_folder import files_of, manifest_for_folder
from garage_ai.catalog.locks import file_lock
from garage_ai.catalog.manifest import Manifest, ModelFile, digest_of
from garage_ai.catalog.partial import Partial
from garage_ai.catalog.progress import Meter, OnProgress, Phase
from garage_ai.catalog.shelf import MODELS, Held, Room, held, mark_used, may_leave, remove
from garage_ai.catalog.sources import Address, Hub, InFolder, InPackage, OnHuggingFace, OverHttps
from garage_ai.catalog.transfer import Limits, delay_before

if TYPE_CHECKING:
    from garage_ai.catalog.download import Downloader

_log = structlog.get_logger(__name__)
_JITTER = random.SystemRandom()
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

Remote = OverHttps | OnHuggingFace


def free_bytes(folder: Path) -> int:
    """Say how many bytes an ordinary user may still write below `folder`, which may not exist."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(slots=True)
class _Want:
    """One file on its way: where it will be stored, and why earlier tries failed."""

    file: ModelFile
    target: Path
    on_progress: OnProgress | None
    causes: list[SourceError] = field(default_factory=list)
    done: bool = False

    @property
    def partial(self) -> Partial:
        return Partial(self.target)

    def meter(self, phase: Phase) -> Meter:
        return Meter(self.on_progress, self.file.path, phase, self.file.size)


class ModelStore:
    """Model files below `root`, safe to use from several processes at once.

    `room` bounds what was fetched; without it the disk does.

    `models/<digest>/` holds what was downloaded, `checked/` what is known of files' digests,
    `locks/` one lock for each model. Files of packages and folders are used where they are.
    """

    def __init__(
        self,
        root: Path,
        *,
        hub: Hub | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        free: Callable[[Path], int] = free_bytes,
        room: Room | None = None,
    ) -> None:
        self._room = room
        self._root = root.absolute()
        self._hub = hub or Hub.from_environment()
        self._limits = limits or Limits()
        self._tls = tls
        self._free = free
        self._notary = Notary(self._root / "checked")

    async def ensure(
        self, manifest: Manifest, on_progress: OnProgress | None = None
    ) -> dict[str, Path]:
        """Return where each file of the model is, in the manifest's order, checked.

        What is on this machine is tried first, then the other sources in their order.
        Raises FetchError.
        """
        with _os_errors(self._root):
            folder = self._folder_of(manifest)
            wants = [_Want(each, folder / each.path, on_progress) for each in manifest.files]
            found: dict[str, Path] = {}
            for want in wants:
                path = await self._find(want, manifest)
                found[want.file.path] = path or want.target
                if path is not None:
                    want.done = True
            missing = [want for want in wants if not want.done]
            if missing:
                await self._fetch(manifest, missing)
            if any(want.target == found[want.file.path] for want in wants):
                mark_used(folder, manifest)
            return found

    async def tidy(self) -> list[Held]:
        """Bring what was fetched within its room as far as may be, and give what was removed.

        Raises: FetchError.
        """
        with _os_errors(self._root):
            return await self._make_room(0, self._room) if self._room is not None else []

    async def adopt(
        self, path: Path, *, name: str | None = None, on_progress: OnProgress | None = None
    ) -> Manifest:
        """Describe a GGUF file of the owner; an unchanged file is hashed only once.

        Raises FetchError when it cannot be read and GgufInvalid when it is something else.
        """
        path = path.absolute()  # noqa: ASYNC240  touches no disk
        with _os_errors(self._root):
            size = stamp_of(path).size
            meter = Meter(on_progress, path.name, "checking", size)
            sha256 = await self._notary.sha256(path, meter.at)
            return await asyncio.to_thread(manifest_for_file, path, name=name, sha256=sha256)

    async def adopt_folder(
        self, folder: Path, on_progress: OnProgress | None = None, *, name: str | None = None
    ) -> Manifest:
        """Describe the owner's folder of safetensors; unchanged files are hashed only once.

        `name` defaults to the folder's own. Raises FetchError when it cannot be read and
        FolderInvalid when it is something else.
        """
        folder = folder.absolute()  # noqa: ASYNC240  touches no disk
        with _os_errors(self._root):
            sha256 = {}
            for file in await asyncio.to_thread(files_of, folder):
                path = folder / file
                meter = Meter(on_progress, file, "checking", stamp_of(path).size)
                sha256[file] = await self._notary.sha256(path, meter.at)
            return await asyncio.to_thread(manifest_for_folder, folder, sha256, name=name)

    def _folder_of(self, manifest: Manifest) -> Path:
        return self._root / MODELS / digest_of(manifest).removeprefix("sha256:")

    async def _find(self, want: _Want, manifest: Manifest) -> Path | None:
        """Look for a good copy on this machine, first in the store, then in other places."""
        if await self._problem(want.target, want) is None:
            return want.target
        for source in manifest.sources:
            if not isinstance(source, InPackage | InFolder):
                continue
            path = source.locate(want.file.path)
            problem = (
                await self._problem(path, want)
                if path
                else SourceAbsent(f"{source.label} does not have it")
            )
            if problem is None:
                return path
            want.causes.append(problem)
        return None

    async def _problem(self, path: Path, want: _Want) -> SourceError | None:
        """Say what keeps the file at `path` from being the wanted one."""
        try:
            await self._notary.check(path, want.file, want.meter("checking").at)
        except SourceError as error:
            if not isinstance(error, SourceAbsent):
                _log.warning("model_file_unusable", path=str(path), code=error.code)
            return error
        return None

    async def _fetch(self, manifest: Manifest, wants: list[_Want]) -> None:
        remote = [each for each in manifest.sources if isinstance(each, Remote)]
        if not remote:
            raise NoSourceLeft(wants[0].file.path, tuple(wants[0].causes))
        # Only who downloads pays for importing the HTTP client.
        from garage_ai.catalog.download import Downloader

        first, lock = wants[0], self._root / "locks" / f"{digest_of(manifest)[7:]}.lock"
        waiting = first.meter("waiting")
        async with (
            file_lock(lock, self._limits.lock_wait_s, lambda: waiting.at(first.partial.size)),
            Downloader(self._limits, self._tls) as downloader,
        ):
            # Whoever held the lock before may have fetched them.
            wants = [want for want in wants if not await self._is_stored(want)]
            await self._make_room_for(manifest, wants)
            self._check_room(wants)
            # A download that is never finished takes room too, and only what has a label leaves.
            folder = self._folder_of(manifest)
            folder.mkdir(parents=True, exist_ok=True)
            mark_used(folder, manifest)
            for want in wants:
                await self._fetch_one(downloader, want, remote)

    async def _is_stored(self, want: _Want) -> bool:
        """Look again under the lock, and remove a stored copy that is not what it should be."""
        if await self._problem(want.target, want) is None:
            return True
        want.target.unlink(missing_ok=True)
        return False

    async def _make_room_for(self, manifest: Manifest, wants: list[_Want]) -> None:
        if self._room is not None:
            needed = sum(max(0, want.file.size - want.partial.size) for want in wants)
            room = Room(self._room.limit, self._room.kept | {digest_of(manifest)})
            shelf = await asyncio.to_thread(held, self._root)
            stays = sum(each.size for each in shelf) - sum(e.size for e in may_leave(shelf, room))
            if stays + needed > room.limit:
                raise StoreFull(needed, stays, room.limit)
            await self._make_room(needed, room)

    async def _make_room(self, needed: int, room: Room) -> list[Held]:
        """Remove what was not used longest until there is room, or nothing is left that may go."""
        shelf = await asyncio.to_thread(held, self._root)
        over = sum(each.size for each in shelf) + needed - room.limit
        removed: list[Held] = []
        for each in may_leave(shelf, room):
            if over <= 0:
                break
            lock = self._root / "locks" / f"{each.folder.name}.lock"
            try:
                async with file_lock(lock, 0.0, lambda: None):
                    await asyncio.to_thread(remove, each)
            except StoreBusy:
                continue  # another process is fetching it just now
            _log.info("model_removed", name=each.name, size=each.size)
            over -= each.size
            removed.append(each)
        return removed

    def _check_room(self, wants: list[_Want]) -> None:
        needed = sum(max(0, want.file.size - want.partial.size) for want in wants)
        free = self._free(self._root)
        if needed and free < needed + self._limits.reserve_bytes:
            raise DiskFull(self._root, needed, free, self._limits.reserve_bytes)

    async def _fetch_one(
        self, downloader: "Downloader", want: _Want, sources: list[Remote]
    ) -> None:
        for source in sources:
            try:
                await self._fetch_from(downloader, want, source.address(want.file.path, self._hub))
            except SourceError as error:
                _log.warning("model_source_failed", source=source.label, code=error.code)
                want.causes.append(error)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                # Someone else filled the disk meanwhile; what is here stays for the next try.
                left = want.file.size - want.partial.size
                free = self._free(self._root)
                raise DiskFull(self._root, left, free, self._limits.reserve_bytes) from error
            else:
                return
        raise NoSourceLeft(want.file.path, tuple(want.causes))

    async def _fetch_from(self, downloader: "Downloader", want: _Want, address: Address) -> None:
        """Download and check; bytes kept from before that spoilt the digest cost one more try."""
        kept_old_bytes = await self._download(downloader, want, address)
        try:
            await self._accept(want)
        except WrongDigest:
            if not kept_old_bytes:
                raise
            await self._download(downloader, want, address)
            await self._accept(want)

    async def _download(self, downloader: "Downloader", want: _Want, address: Address) -> bool:
        """Continue the partial copy until it is whole; True when it was begun earlier."""
        limits, meter, failures = self._limits, want.meter("fetching"), 0
        for _ in range(limits.resumptions):
            before = want.partial.size
            try:
                return await downloader.fetch(address, want.file, want.partial, meter.at)
            except SourceBroken as error:
                failures = 1 if want.partial.size > before else failures + 1
                if failures >= limits.attempts:
                    raise
                _log.info("model_download_retried", failures=failures, reason=str(error))
                wait_s = delay_before(failures, error.retry_after, _JITTER.random(), limits)
                await asyncio.sleep(wait_s)
        raise SourceBroken(f"the download broke off {limits.resumptions} times")

    async def _accept(self, want: _Want) -> None:
        """Put the whole copy in its place, or remove it when it is not what was wanted."""
        partial = want.partial
        found = await hash_file(partial.path, want.meter("checking").at)
        if found != want.file.sha256:
            partial.discard()
            raise WrongDigest(f"the download has the SHA-256 {found} instead of {want.file.sha256}")
        await asyncio.to_thread(partial.finish)
        self._notary.vouch(want.target, found)
        _log.info("model_file_stored", path=str(want.target), size=want.file.size)


@contextmanager
def _os_errors(root: Path) -> Iterator[None]:
    """Turn what the operating system says of our own folder into this package's words."""
    try:
        yield
    except OSError as error:
        raise StoreBroken(f"{error.filename or root}: {error.strerror or error}") from error
