"""The models that are known by name."""

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Final

from garage_ai.catalog.digests import Digest
from garage_ai.catalog.errors import ManifestInvalid
from garage_ai.catalog.manifest import Manifest, decode_manifest, digest_of

CHAT_ALIAS: Final = "garage-chat"
"""The alias of the best chat model being served."""

DEFAULT_MODEL = "smollm2-135m-instruct"
"""The small model that comes with an installation."""


class Catalog:
    """A set of manifests, looked up by name or digest; never changes once made."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Index the manifests; raises ManifestInvalid when two claim the same name."""
        self._by_digest: dict[Digest, Manifest] = {}
        self._by_name: dict[str, Digest] = {}
        for manifest in manifests:
            self._add(manifest)

    @classmethod
    def load(cls) -> "Catalog":
        """Load the manifests of this package."""
        return cls(_shipped())

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self._by_digest.values())

    def __len__(self) -> int:
        return len(self._by_digest)

    def by_name(self, name: str) -> Manifest | None:
        """Find a model by its name or id; aliases are not names."""
        digest = self._by_name.get(name)
        return None if digest is None else self._by_digest[digest]

    def by_digest(self, digest: Digest) -> Manifest | None:
        """Find a model by what it is."""
        return self._by_digest.get(digest)

    def _add(self, manifest: Manifest) -> None:
        digest = digest_of(manifest)
        for name in {manifest.id, manifest.name}:
            if name == CHAT_ALIAS:
                raise ManifestInvalid(f"{name} is an alias and cannot be a model's name")
            if name in self._by_name:
                raise ManifestInvalid(f"two manifests are called {name}")
            self._by_name[name] = digest
        self._by_digest[digest] = manifest


@cache
def _shipped() -> tuple[Manifest, ...]:
    folder = resources.files(__package__).joinpath("models")
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return tuple(
        decode_manifest(entry.read_bytes(), entry.name)
        for entry in entries
        if entry.name.endswith(".json")
    )
