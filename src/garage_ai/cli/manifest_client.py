"""The gateway's API as far as it is about the network's catalogue, and what it answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from garage_ai.cli.client import Client
from garage_ai.cli.target import find_target

_PATH: Final = "/api/v1/manifests"


class SourceShown(msgspec.Struct, frozen=True):
    """Where a model's files lie: which of the fields it has, its type says."""

    type: str = ""
    repo: str = ""
    revision: str = ""
    base: str = ""
    package: str = ""

    @property
    def words(self) -> str:
        """Name it in one word."""
        if self.type == "huggingface":
            return f"{self.repo}@{self.revision}"
        return self.base or self.package or self.type


class FileShown(msgspec.Struct, frozen=True):
    """A file of a model; its size in bytes."""

    size: int = 0


class ModelShown(msgspec.Struct, frozen=True):
    """What the list shows of a manifest."""

    quantisation: str = ""
    licence: str = ""
    files: tuple[FileShown, ...] = ()
    sources: tuple[SourceShown, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """A model of the catalogue with its whole manifest; the time is ISO 8601."""

    digest: str
    name: str
    added_at: str | None = None
    manifest: dict[str, Any] = {}

    @property
    def shown(self) -> ModelShown:
        """Pick out what a list shows. Raises: msgspec.ValidationError."""
        return msgspec.convert(self.manifest, ModelShown)


class Entries(msgspec.Struct, frozen=True):
    data: tuple[Entry, ...]


class ManifestClient(Client):
    """A client that also reads and changes the catalogue."""

    def manifests(self) -> tuple[Entry, ...]:
        """List the models that the network knows."""
        return self._ask("GET", _PATH, Entries).data

    def add_manifest(self, manifest: Mapping[str, object]) -> Entry:
        """Add a model."""
        return self._ask("POST", _PATH, Entry, manifest)

    def remove_manifest(self, name: str) -> Entry:
        """Take a model out."""
        return self._ask("DELETE", f"{_PATH}/{quote(name, safe='')}", Entry)


def manifest_client(
    gateway: str | None, api_key: str | None, data_dir: Path | None
) -> ManifestClient:
    """Make the client for the gateway that the options mean. Raises: CliError."""
    return ManifestClient(find_target(gateway, api_key, data_dir))


__all__ = ["Entry", "ManifestClient", "ModelShown", "SourceShown", "manifest_client"]
