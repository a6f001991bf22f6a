"""Models that administrators added to the catalogue: which there are, and what changed since.

What is added must be there for every node: its sources are HTTPS addresses and repositories of
Hugging Face, its files hold data and no program.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import msgspec
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from garage_ai.accounts.errors import Conflict, ManifestExists, ManifestNotFound
from garage_ai.audit.models import GATEWAY, Action, Actor, Clock, Entry, utc_now
from garage_ai.audit.service import AuditLog
from garage_ai.catalog import (
    CHAT_ALIAS,
    FILE_KINDS,
    Catalog,
    Digest,
    Manifest,
    ManifestInvalid,
    OnHuggingFace,
    OverHttps,
    digest_of,
)
from garage_ai.storage import Storage
from garage_ai.storage.tables import external_models, manifests


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """What became of a model's manifest, as JSON; `revision` counts all changes."""

    digest: Digest
    name: str
    manifest: str
    added_at: datetime
    removed_at: datetime | None
    revision: int


class _Names(msgspec.Struct):
    id: str
    name: str


class Manifests:
    """The manifests beside those that come with a version."""

    def __init__(self, storage: Storage, clock: Clock = utc_now) -> None:
        self._storage = storage
        self._clock = clock
        self._log = AuditLog(storage, clock)

    async def add(self, manifest: Manifest, *, by: Actor = GATEWAY) -> None:
        """Add a model; where it is there already, renew its sources and its rank.

        Raises: ManifestInvalid, ManifestExists, StorageError.
        """
        digest = digest_of(manifest)
        if Catalog.load().by_digest(digest) is not None:
            return
        _require_fetchable(manifest)
        for name in _names_of(manifest):
            if name == CHAT_ALIAS or Catalog.load().by_name(name) is not None:
                raise ManifestExists(f"{name!r} stands for something else in every catalogue")
        text = msgspec.json.encode(manifest).decode()
        this = manifests.c.digest == digest
        # In turn, since "nobody else has it" is a rule over rows, and revisions have an order.
        async with self._storage.write(in_turn=True) as connection:
            await _require_free(connection, manifest, digest)
            found = (await connection.execute(select(manifests).where(this))).one_or_none()
            if found is not None and (found.manifest, found.removed_at) == (text, None):
                return
            values: dict[str, object] = {"manifest": text, "removed_at": None}
            values["revision"] = await _next(connection)
            if found is None or found.removed_at is not None:
                values["added_at"] = self._clock()
            if found is None:
                new = {"digest": digest, "name": manifest.name, **values}
                await connection.execute(insert(manifests).values(new))
            else:
                await connection.execute(update(manifests).where(this).values(values))
            await self._record(connection, Action.MANIFEST_ADDED, by, digest, manifest.name)

    async def remove(self, name: str, *, by: Actor = GATEWAY) -> None:
        """Take a model out. Raises: ManifestNotFound, Conflict, StorageError."""
        if Catalog.load().by_name(name) is not None:
            raise Conflict(f"{name!r} comes with every version and cannot be removed")
        there = (manifests.c.name == name) & manifests.c.removed_at.is_(None)
        async with self._storage.write(in_turn=True) as connection:
            digest = await connection.scalar(select(manifests.c.digest).where(there))
            if digest is None:
                raise ManifestNotFound(f"the catalogue has no model called {name[:100]!r}")
            values = {"removed_at": self._clock(), "revision": await _next(connection)}
            await connection.execute(update(manifests).where(there).values(values))
            await self._record(connection, Action.MANIFEST_REMOVED, by, digest, name)

    async def changes(self, after: int = 0) -> list[ManifestChange]:
        """Give what changed after a revision, in its order. Raises: StorageError."""
        newer = select(manifests).where(manifests.c.revision > after)
        async with self._storage.read() as connection:
            rows = await connection.execute(newer.order_by(manifests.c.revision))
            return [_change(row) for row in rows]

    async def _record(
        self, connection: AsyncConnection, action: Action, by: Actor, digest: str, name: str
    ) -> None:
        await self._log.record(connection, Entry(action, by, digest, details={"name": name}))


def _require_fetchable(manifest: Manifest) -> None:
    remote = [each for each in manifest.sources if isinstance(each, OverHttps | OnHuggingFace)]
    if not remote or len(remote) < len(manifest.sources):
        raise ManifestInvalid(
            "every node must be able to fetch the model: name sources of the types https and "
            "huggingface, and no others"
        )
    for file in manifest.files:
        if PurePosixPath(file.path).suffix not in FILE_KINDS:
            raise ManifestInvalid(
                f"{file.path} is of a kind that nodes never fetch; they take "
                + ", ".join(sorted(FILE_KINDS))
            )


async def _require_free(connection: AsyncConnection, manifest: Manifest, digest: Digest) -> None:
    """Refuse a name that another model has, or that a member may use by an administrator's word."""
    names = _names_of(manifest)
    others = select(manifests.c.manifest).where(
        manifests.c.removed_at.is_(None), manifests.c.digest != digest
    )
    taken = {name for text in (await connection.execute(others)).scalars() for name in _read(text)}
    for name in sorted(names & taken):
        raise ManifestExists(f"another model of the catalogue is called {name!r}")
    claimed = select(external_models.c.name).where(
        external_models.c.name.in_(names),
        external_models.c.digest != digest,
        external_models.c.by_admin,
        external_models.c.approved_at.is_not(None),
    )
    claim: str | None = await connection.scalar(claimed.limit(1))
    if claim is not None:
        raise ManifestExists(f"an administrator lets a member serve another model as {claim!r}")


async def _next(connection: AsyncConnection) -> int:
    newest = await connection.scalar(select(func.coalesce(func.max(manifests.c.revision), 0)))
    return int(newest or 0) + 1


def _names_of(manifest: Manifest) -> set[str]:
    return {manifest.id, manifest.name}


def _read(text: str) -> Iterator[str]:
    kept = msgspec.json.decode(text, type=_Names)
    yield from {kept.id, kept.name}


def _change(row: Row[tuple[object, ...]]) -> ManifestChange:
    return ManifestChange(**row._asdict())


__all__ = ["ManifestChange", "Manifests"]
