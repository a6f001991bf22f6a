"""A model, written down: what it is, which files it is made of and where they may lie."""

from typing import Annotated, Literal

import msgspec

from garage_ai.catalog.digests import DIGEST_PATTERN, Digest, canonical_json, digest_of_bytes
from garage_ai.catalog.errors import ManifestInvalid
from garage_ai.catalog.sources import RelativePath, Source

ModelKind = Literal["chat", "completion", "embedding"]

# A name is a word in URLs, in JSON and on the command line: no slash, no space.
ModelName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,95}\Z")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Digest = Annotated[Digest, msgspec.Meta(pattern=DIGEST_PATTERN)]
_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]

# Where the bytes come from and how we like the model say nothing about what it answers:
# a new mirror or a new favourite must not make two models out of one.
_NOT_IDENTITY = frozenset({"sources", "rank"})

FILE_KINDS = frozenset({".gguf", ".jinja", ".json", ".model", ".safetensors", ".tiktoken", ".txt"})
"""Endings of files that hold data; a pickle or a script runs what a stranger wrote."""


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a model: its path below the model's folder, its size in bytes, its SHA-256."""

    path: RelativePath
    size: _Count
    sha256: Sha256


class Manifest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Describe one model in one quantisation.

    `context_length` is in tokens; `rank` orders chat models for `garage-chat`, higher is
    better; the first of `files` is the one an engine is pointed at.
    """

    id: ModelName
    name: ModelName
    family: _Words
    kind: ModelKind
    context_length: _Count
    parameters: _Count
    quantisation: _Words
    licence: _Words
    files: Annotated[tuple[ModelFile, ...], msgspec.Meta(min_length=1, max_length=1000)]
    template_digest: _Digest | None = None
    tokenizer_digest: _Digest | None = None
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=20)] = ()
    rank: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0

    def __post_init__(self) -> None:
        """Refuse two files of one path; msgspec turns the ValueError into its own."""
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("two files have the same path")

    @property
    def weights(self) -> ModelFile:
        """The file an engine is pointed at."""
        return self.files[0]

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)


def digest_of(manifest: Manifest) -> Digest:
    """Name the model: SHA-256 over the canonical JSON of all fields but `sources` and `rank`.

    Fields at their default are left out, so a field added later renames no older model.
    """
    fields: dict[str, object] = msgspec.to_builtins(manifest)
    identity = {key: value for key, value in fields.items() if key not in _NOT_IDENTITY}
    return digest_of_bytes(canonical_json(identity))


def decode_manifest(data: bytes | str, origin: str = "manifest") -> Manifest:
    """Read one manifest from JSON; `origin` names it in the error.

    Raises ManifestInvalid.
    """
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestInvalid(f"{origin}: {error}") from error


def check_manifest(manifest: Manifest) -> Manifest:
    """Hold a manifest made in code to the same rules as one that was read.

    Raises ManifestInvalid.
    """
    try:
        data = msgspec.json.encode(manifest)
    except UnicodeEncodeError as error:
        raise ManifestInvalid("a file's or folder's name is not UTF-8: rename it") from error
    return decode_manifest(data, manifest.id)
