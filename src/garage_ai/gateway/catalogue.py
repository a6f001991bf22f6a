"""The catalogue as it is now: the models of this version, and those that administrators added."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import structlog

from garage_ai.accounts import ManifestChange, Manifests
from garage_ai.audit.models import GATEWAY, Actor
from garage_ai.catalog import (
    CHAT_ALIAS,
    Catalog,
    Digest,
    Manifest,
    ManifestInvalid,
    decode_manifest,
    digest_of,
)
from garage_ai.network import KnownModel, Network
from garage_ai.storage.watch import Watch
from garage_ai.wire.ids import Digest as WireDigest

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.8
"""How often other processes' changes are looked for; with the look itself, within a second."""


Listener = Callable[[Catalog], Awaitable[None]]
"""Takes over what the catalogue has become; asked again where it fails."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model of the catalogue; `added_at` is None for one that comes with this version."""

    digest: Digest
    manifest: Manifest
    added_at: datetime | None


class NetworkCatalogue:
    """Which models the network knows by name.

    A change works at once in this process and within a second or two in others. While the database
    cannot be read what was known goes on to hold; `failures` counts such looks.
    """

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._added: dict[Digest, CatalogueEntry] = {}
        self._catalog = Catalog.load()
        self._revision = 0
        self._listeners: list[Listener] = []
        self._untold = False
        self._changing = asyncio.Lock()
        self._watch = Watch(self.refresh, "catalogue", LOOK_SECONDS)

    @classmethod
    async def open(cls, manifests: Manifests) -> Self:
        """Learn what was added; `start` begins to look for changes. Raises: StorageError."""
        opened = cls(manifests)
        await opened.refresh()
        return opened

    def on_change(self, listener: Listener) -> None:
        """Tell somebody of each change from now on, in the order in which they asked for it."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Look for changes until `close`."""
        self._watch.start()

    async def close(self) -> None:
        """Stop looking for changes."""
        await self._watch.close()

    @property
    def failures(self) -> int:
        """How many looks failed."""
        return self._watch.failures

    @property
    def catalog(self) -> Catalog:
        """What is known now."""
        return self._catalog

    def entries(self) -> Sequence[CatalogueEntry]:
        """Give all models, those of this version first."""
        return [self._entry(manifest) for manifest in self._catalog]

    def entry(self, name: str) -> CatalogueEntry | None:
        """Give the model of a name."""
        manifest = self._catalog.by_name(name)
        return None if manifest is None else self._entry(manifest)

    async def add(self, manifest: Manifest, *, by: Actor = GATEWAY) -> CatalogueEntry:
        """Add a model, or renew its sources and rank.

        Raises: ManifestInvalid, ManifestExists, StorageError.
        """
        await self._manifests.add(manifest, by=by)
        await self.refresh()
        known = self._catalog.by_digest(digest_of(manifest))
        if known is None:
            raise AssertionError(f"{manifest.name} was added, and removed before it was looked for")
        return self._entry(known)

    async def remove(self, name: str, *, by: Actor = GATEWAY) -> None:
        """Take a model out. Raises: ManifestNotFound, Conflict, StorageError."""
        await self._manifests.remove(name, by=by)
        await self.refresh()

    async def refresh(self) -> None:
        """Take over what changed, and tell those who wait for it. Raises: StorageError."""
        async with self._changing:
            changes = await self._manifests.changes(self._revision)
            for change in changes:
                self._take(change)
            if changes:
                self._catalog = Catalog(_joined(self._added.values()))
                self._untold = True
            if self._untold:
                for listener in self._listeners:
                    await listener(self._catalog)
                self._untold = False

    def _take(self, change: ManifestChange) -> None:
        self._revision = change.revision
        self._added.pop(change.digest, None)
        if change.removed_at is not None:
            return
        try:
            manifest = decode_manifest(change.manifest, change.name)
        except ManifestInvalid as error:
            # Of a newer version, or an older one that was less strict.
            _log.warning("manifest_unreadable", model=change.name, detail=str(error)[:300])
            return
        self._added[change.digest] = CatalogueEntry(change.digest, manifest, change.added_at)

    def _entry(self, manifest: Manifest) -> CatalogueEntry:
        digest = digest_of(manifest)
        return self._added.get(digest) or CatalogueEntry(digest, manifest, None)


def _joined(added: Iterable[CatalogueEntry]) -> Iterator[Manifest]:
    """Put a version's own models before those that were added; what has their names is left out."""
    taken = {CHAT_ALIAS}
    shipped = tuple(Catalog.load())
    for manifest in (*shipped, *(each.manifest for each in added)):
        names = {manifest.id, manifest.name}
        if names & taken:
            _log.warning("manifest_shadowed", model=manifest.name)
            continue
        taken |= names
        yield manifest


def known_models(catalog: Catalog) -> list[KnownModel]:
    """Put the models as the network asks for them."""
    return [
        KnownModel(
            each.name, WireDigest(digest_of(each)), each.kind, each.context_length, each.rank
        )
        for each in catalog
    ]


def follow(catalogue: NetworkCatalogue, network: Network, stack: AsyncExitStack) -> None:
    """Begin to look for changes; the network hears of them after the books that charge for it."""

    async def know(catalog: Catalog) -> None:
        network.catalogue_is(known_models(catalog))

    catalogue.on_change(know)
    catalogue.start()
    stack.push_async_callback(catalogue.close)


__all__ = ["CatalogueEntry", "Listener", "NetworkCatalogue", "follow", "known_models"]
