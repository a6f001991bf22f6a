"""Where a model's files lie: each source is one place that holds all of them by their paths.

A place on this machine answers `locate`, a place elsewhere answers `address`. Neither
opens anything: reading is the store's work, so these stay values that a manifest can hold.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol
from urllib.parse import quote, urlsplit

import msgspec

HUGGING_FACE = "https://huggingface.co"

# find_spec imports the parents of a dotted name; a plain one is found without running any code.
PackageName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,99}\Z")]
# Relative, no empty, hidden or parent segments: a manifest never points outside its place.
RelativePath = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]*(/[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]*)*\Z",
        max_length=200,
    ),
]
Folder = RelativePath | None
HttpsUrl = Annotated[str, msgspec.Meta(pattern=r"\Ahttps://[^\s?#@]+\Z", max_length=1000)]
RepoName = Annotated[
    str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}\Z")
]
Revision = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][\w./-]{0,99}\Z")]


@dataclass(frozen=True, slots=True)
class Hub:
    """The Hugging Face endpoint to use, and the token for repositories that need one."""

    endpoint: str = HUGGING_FACE
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Hub":
        """Read `HF_ENDPOINT` and `HF_TOKEN`, the names its other clients use too."""
        # A secret out of a file often ends with its line, and no header may.
        return cls(
            endpoint=environment.get("HF_ENDPOINT", "").strip() or HUGGING_FACE,
            token=environment.get("HF_TOKEN", "").strip() or None,
        )


@dataclass(frozen=True, slots=True)
class Address:
    """One file elsewhere; `token` goes to the origin of `url` and to no other."""

    url: str
    token: str | None = field(default=None, repr=False)


class RemoteSource(Protocol):
    """A place elsewhere, whose files are copied into the store."""

    @property
    def label(self) -> str: ...

    def address(self, path: str, hub: Hub) -> Address:
        """Say what to ask for."""
        ...


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every kind of source has in common: how it is written down."""


class InPackage(_Source, frozen=True, tag_field="type", tag="package"):
    """Files shipped inside an installed Python package, which is never imported."""

    package: PackageName
    folder: Folder = None

    @property
    def label(self) -> str:
        """Name the source for people."""
        return f"package {self.package}"

    def locate(self, path: str) -> Path | None:
        """Find the package's folder as the import system would, without running its code."""
        try:
            spec = importlib.util.find_spec(self.package)
        except (ImportError, ValueError):
            return None
        places = (spec.submodule_search_locations if spec else None) or []
        candidates = [Path(place, self.folder or "", path) for place in places]
        return next((each for each in candidates if each.exists()), None)


class InFolder(_Source, frozen=True, tag_field="type", tag="path"):
    """Files in a folder of this machine, given by its absolute path."""

    folder: Annotated[str, msgspec.Meta(pattern=r"\A/[^\x00]*\Z", max_length=4096)]

    @property
    def label(self) -> str:
        """Name the source for people."""
        return f"folder {self.folder}"

    def locate(self, path: str) -> Path | None:
        """Join the folder and the file's path."""
        return Path(self.folder, path)


class OverHttps(_Source, frozen=True, tag_field="type", tag="https"):
    """Files below one HTTPS address."""

    base: HttpsUrl

    def __post_init__(self) -> None:
        """Refuse what is no address. Raises: ValueError."""
        if not urlsplit(self.base).hostname:
            raise ValueError("an https source names a host")

    @property
    def label(self) -> str:
        """Name the source for people."""
        return urlsplit(self.base).netloc

    def address(self, path: str, hub: Hub) -> Address:  # noqa: ARG002  the interface's signature
        """Join the base and the file's path; no token is ever sent."""
        return Address(f"{self.base.rstrip('/')}/{quote(path)}")


class OnHuggingFace(_Source, frozen=True, tag_field="type", tag="huggingface"):
    """Files of one revision of a repository on Hugging Face or a mirror of it.

    A commit as `revision` stays what it is; a branch may move, and then its digest is refused.
    """

    repo: RepoName
    revision: Revision
    folder: Folder = None

    @property
    def label(self) -> str:
        """Name the source for people."""
        return f"Hugging Face {self.repo}"

    def address(self, path: str, hub: Hub) -> Address:
        """Build `/{repo}/resolve/{revision}/{path}` on the hub's endpoint."""
        inside = f"{self.folder}/{path}" if self.folder else path
        revision = quote(self.revision, safe="")
        url = f"{hub.endpoint.rstrip('/')}/{self.repo}/resolve/{revision}/{quote(inside)}"
        return Address(url, hub.token)


Source = InPackage | InFolder | OverHttps | OnHuggingFace
