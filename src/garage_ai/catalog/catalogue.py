"""The models that are known by name, and which digest a name stands for."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from garage_ai.catalog.digests import Digest
from garage_ai.catalog.errors import ManifestInvalid
from garage_ai.catalog.manifest import Manifest, decode_manifest, digest_of

CHAT_ALIAS = "garage-chat"
"""The alias of the best chat model being served."""

DEFAULT_MODEL = "smollm2-135m-instruct"
"""The small model that comes with an installation."""

# A manifest is a few kilobytes; a larger file is something else.
_MAX_MANIFEST_BYTES = 1024 * 1024


class Catalog:
    """A set of manifests, looked up by name or digest; never changes once made."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Index the manifests; raises ManifestInvalid when two claim the same name."""
        self._by_digest: dict[Digest, Manifest] = {}
        self._by_name: dict[str, Digest] = {}
        for manifest in manifests:
            self._add(manifest)
        self._aliases = MappingProxyType({CHAT_ALIAS: _chat_by_rank(self._by_digest)})

    @classmethod
    def load(cls, *extra: Path) -> "Catalog":
        """Load the manifests of this package and those in the files `extra`.

        Raises ManifestInvalid.
        """
        return cls([*_shipped(), *(_read(path) for path in extra)])

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self._by_digest.values())

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def aliases(self) -> Mapping[str, tuple[Digest, ...]]:
        """What each alias may stand for, the best first."""
        return self._aliases

    def by_name(self, name: str) -> Manifest | None:
        """Find a model by its name or id; aliases are not names."""
        digest = self._by_name.get(name)
        return None if digest is None else self._by_digest[digest]

    def by_digest(self, digest: Digest) -> Manifest | None:
        """Find a model by what it is."""
        return self._by_digest.get(digest)

    def best_chat(self, digests: Iterable[Digest]) -> Digest | None:
        """Choose the best chat model of `digests`; those the catalogue does not know are passed."""
        return self._best(CHAT_ALIAS, digests)

    def resolve(self, name: str, served: Iterable[Digest]) -> Digest | None:
        """Say which of the `served` models a name, id or alias stands for."""
        if name in self._aliases:
            return self._best(name, served)
        digest = self._by_name.get(name)
        return digest if digest is not None and digest in set(served) else None

    def _best(self, alias: str, digests: Iterable[Digest]) -> Digest | None:
        served = set(digests)
        return next((each for each in self._aliases[alias] if each in served), None)

    def _add(self, manifest: Manifest) -> None:
        digest = digest_of(manifest)
        for name in {manifest.id, manifest.name}:
            if name == CHAT_ALIAS:
                raise ManifestInvalid(f"{name} is an alias and cannot be a model's name")
            if name in self._by_name:
                raise ManifestInvalid(f"two manifests are called {name}")
            self._by_name[name] = digest
        self._by_digest[digest] = manifest


def _chat_by_rank(manifests: Mapping[Digest, Manifest]) -> tuple[Digest, ...]:
    """Order chat models by rank, then size; the digest decides a tie the same way everywhere."""
    chat = [each for each in manifests.items() if each[1].kind == "chat"]
    chat.sort(key=lambda each: (-each[1].rank, -each[1].parameters, each[0]))
    return tuple(digest for digest, _ in chat)


@cache
def _shipped() -> tuple[Manifest, ...]:
    folder = resources.files(__package__).joinpath("models")
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return tuple(
        decode_manifest(entry.read_bytes(), entry.name)
        for entry in entries
        if entry.name.endswith(".json")
    )


def _read(path: Path) -> Manifest:
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ManifestInvalid(f"{path} is too large to be a manifest")
        return decode_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise ManifestInvalid(f"{path} cannot be read: {error.strerror}") from error
