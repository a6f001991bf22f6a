"""Where tokenizers come from: a small folder for each model, filled while the gateway runs.

What is on this machine is copied from there: the header alone, never the weights. The rest is
fetched from the manifest's own sources, a GGUF file's header by its first bytes. A node is never
asked: what it would give decides what it earns. Whatever came is checked by the manifest's digests
before it is kept.
"""

import asyncio
import hashlib
import io
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog

from garage_ai.catalog import CatalogError, Digest, GgufInvalid, Hub, Manifest, digest_of
from garage_ai.catalog.download import Downloader
from garage_ai.catalog.gguf import MAX_HEADER_BYTES, parse_gguf
from garage_ai.catalog.integrity import write_whole
from garage_ai.catalog.shelf import MODELS
from garage_ai.catalog.sources import InFolder, InPackage, RemoteSource
from garage_ai.catalog.transfer import Limits
from garage_ai.ledger.counting.errors import CountingError, TokenizerAbsent, TokenizerBroken
from garage_ai.ledger.counting.layout import FOLDER_FILES, HEADER, TOKENIZER, folder_of

_log = structlog.get_logger(__name__)

LOOKS: Final = (4 * 1024**2, 16 * 1024**2, MAX_HEADER_BYTES)
"""Bytes of a GGUF file that are read, in turn, until its header is among them."""
MAX_FILE: Final = 64 * 1024**2
"""Bytes of a `tokenizer.json`; the largest in use take a third."""
KEEP_SECONDS: Final = 300.0
"""Longest that one model's tokenizer may take to come; others wait for it."""
LOOK_SECONDS: Final = 1.0
"""How often is looked for a served model of which nothing is ready."""
FIRST_PAUSE: Final = 15.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds until a model is tried again that could not be had, twice as many each time."""

Read = Callable[[str, int], Awaitable[bytes]]
"""Gives a file's first bytes, no more than so many, by its path in the manifest."""


class Library:
    """Keep in `folder` what counts for the models of a catalogue; `stores` have models here."""

    def __init__(
        self,
        folder: Path,
        manifests: Iterable[Manifest],
        *,
        stores: Sequence[Path] = (),
        hub: Hub | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._folder = folder
        self._manifests: Mapping[str, Manifest] = {}
        self.catalogue_is(manifests)
        self._stores = stores
        self._hub = hub or Hub.from_environment()
        self._tls = tls

    def catalogue_is(self, manifests: Iterable[Manifest]) -> None:
        """Know another catalogue; what is kept stays."""
        self._manifests = {digest_of(each): each for each in manifests}

    def knows(self, digest: str) -> bool:
        """Tell whether a manifest names the model and its tokenizer."""
        manifest = self._manifests.get(digest)
        return manifest is not None and manifest.tokenizer_digest is not None

    def is_kept(self, digest: str) -> bool:
        """Tell whether there is something for a model."""
        place = folder_of(self._folder, digest)
        return (place / HEADER).exists() or (place / TOKENIZER).exists()

    async def here(self) -> list[str]:
        """Give the models that can be had without a network."""
        return await asyncio.to_thread(self._here)

    async def keep(self, digest: str) -> None:
        """Keep what counts for a model. Raises: CountingError, CatalogError, OSError."""
        manifest = self._manifests.get(digest)
        if manifest is None or manifest.tokenizer_digest is None:
            raise TokenizerAbsent("no manifest names a tokenizer for this model")
        if await asyncio.to_thread(self.is_kept, digest):
            return
        local = await asyncio.to_thread(self._local, manifest)
        if local is not None:
            files = await _gathered(manifest, _reader_of(local))
        else:
            files = await self._fetched(manifest)
        await asyncio.to_thread(_write, folder_of(self._folder, digest), files)
        _log.info("tokenizer_kept", model=manifest.name)

    def _here(self) -> list[str]:
        return [
            digest
            for digest, manifest in self._manifests.items()
            if self.knows(digest) and (self.is_kept(digest) or self._local(manifest) is not None)
        ]

    def _local(self, manifest: Manifest) -> Path | None:
        """Give the folder of this machine in which the model's files lie."""
        name = manifest.weights.path
        stored = digest_of(manifest).removeprefix("sha256:")
        places = [
            *(
                source.locate(name)
                for source in manifest.sources
                if isinstance(source, InPackage | InFolder)
            ),
            *(store / MODELS / stored / name for store in self._stores),
        ]
        found = next((place for place in places if place is not None and place.is_file()), None)
        return None if found is None else Path(str(found).removesuffix(name))

    async def _fetched(self, manifest: Manifest) -> dict[str, bytes]:
        causes: list[str] = []
        async with Downloader(Limits(), self._tls) as downloader:
            for source in manifest.sources:
                if isinstance(source, InPackage | InFolder):
                    continue
                try:
                    return await _gathered(manifest, partial(self._read, downloader, source))
                except (CatalogError, CountingError) as error:
                    causes.append(f"{source.label}: {error}")
        raise TokenizerAbsent("; ".join(causes) or "the manifest names no source")

    async def _read(
        self, downloader: Downloader, source: RemoteSource, name: str, most: int
    ) -> bytes:
        return await downloader.prefix(source.address(name, self._hub), most)


class Loads(Protocol):
    """Who makes ready what is kept."""

    async def load(self, digest: str) -> bool:
        """Make a model's tokenizer ready; tell whether it can be used."""


class Librarian:
    """See to it that what is served can be counted; `served` gives the digests, at any time."""

    def __init__(self, library: Library, loads: Loads, served: Callable[[], Iterable[str]]) -> None:
        self._library = library
        self._loads = loads
        self._served = served
        self._ready: set[str] = set()
        self._unusable: set[str] = set()
        self._tries: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what is here already."""
        self._task = asyncio.create_task(self._run(), name="tokenizers")

    def catalogue_is(self, manifests: Iterable[Manifest]) -> None:
        """See to another catalogue; sources that failed may be others now."""
        self._library.catalogue_is(manifests)
        self._tries.clear()
        self._due.clear()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        wanted: Iterable[str] = ()
        try:
            wanted = await self._library.here()
        except OSError as error:
            _log.warning("tokenizers_not_listed", detail=str(error))
        while True:
            now = asyncio.get_running_loop().time()
            for digest in {*wanted} - self._ready:
                if self._library.knows(digest) and now >= self._due.get(digest, 0.0):
                    await self._prepare(digest)
            await asyncio.sleep(LOOK_SECONDS)
            wanted = self._served()

    async def _prepare(self, digest: str) -> None:
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await self._library.keep(digest)
            if await self._loads.load(digest):
                self._ready.add(digest)
                return
            self._tell_unusable(digest)
        except (CountingError, CatalogError, OSError) as error:
            detail = str(error)[:500] or type(error).__name__
            _log.warning("tokenizer_not_had", digest=digest, detail=detail)
        except Exception:  # without this task no other model would ever be counted
            _log.exception("tokenizer_not_had", digest=digest)
        tries = self._tries[digest] = self._tries.get(digest, 0) + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 16))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._due[digest] = asyncio.get_running_loop().time() + pause

    def _tell_unusable(self, digest: str) -> None:
        """Say once of a model that its tokenizer is kept and does not count."""
        if digest not in self._unusable:
            self._unusable.add(digest)
            _log.warning("tokenizer_not_usable", digest=digest)


def _reader_of(folder: Path) -> Read:
    def read(name: str, most: int) -> bytes:
        with (folder / name).open("rb") as file:
            return file.read(most)

    async def off_the_loop(name: str, most: int) -> bytes:
        return await asyncio.to_thread(read, name, most)

    return off_the_loop


async def _gathered(manifest: Manifest, read: Read) -> dict[str, bytes]:
    """Read what counts for a model, and check it by the manifest.

    Raises: CatalogError, CountingError, OSError.
    """
    if manifest.weights.path.endswith(".gguf"):
        return {HEADER: await _header(manifest, read)}
    files = {each.path: each for each in manifest.files}
    if TOKENIZER not in files:
        raise TokenizerAbsent(f"{manifest.name} has no {TOKENIZER}")
    gathered: dict[str, bytes] = {}
    for name in FOLDER_FILES:
        if name not in files:
            continue
        if files[name].size > MAX_FILE:
            raise TokenizerBroken(f"{name} is far too large")
        data = await read(name, files[name].size)
        if hashlib.sha256(data).hexdigest() != files[name].sha256:
            raise TokenizerBroken(f"{name} is not the one that the manifest names")
        gathered[name] = data
    return gathered


async def _header(manifest: Manifest, read: Read) -> bytes:
    weights = manifest.weights
    for look in LOOKS:
        data = await read(weights.path, min(look, weights.size))
        try:
            header = await asyncio.to_thread(parse_gguf, io.BytesIO(data), weights.size)
        except GgufInvalid as error:
            if len(data) == look < LOOKS[-1]:
                continue
            raise TokenizerBroken(str(error)) from error
        _same(manifest.tokenizer_digest, header.tokenizer_digest, "tokenizer")
        _same(manifest.template_digest, header.template_digest, "template")
        return data[: header.size]
    raise TokenizerBroken("the header is far too large")


def _same(wanted: Digest | None, found: Digest | None, what: str) -> None:
    if wanted != found:
        raise TokenizerBroken(f"the {what} is not the one that the manifest names")


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    """Write the file last by which a folder is known to be whole."""
    place.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name in (HEADER, TOKENIZER)):
        write_whole(place / name, files[name])


__all__ = ["Librarian", "Library", "Loads"]
