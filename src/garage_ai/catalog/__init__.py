"""Models: what they are, how they are named, where their files are and how they get here."""

from garage_ai.catalog.cards import REFERENCE, Card, find_card, known_cards
from garage_ai.catalog.catalogue import CHAT_ALIAS, DEFAULT_MODEL, Catalog
from garage_ai.catalog.digests import Digest, canonical_json, parse_digest
from garage_ai.catalog.errors import (
    CatalogError,
    DiskFull,
    FetchError,
    FolderInvalid,
    GgufInvalid,
    ManifestInvalid,
    NoSourceLeft,
    SourceAbsent,
    SourceBroken,
    SourceError,
    SourceRefused,
    StoreBroken,
    StoreBusy,
    UnsafeRedirect,
    WrongDigest,
    WrongSize,
)
from garage_ai.catalog.gguf import GgufHeader, read_gguf
from garage_ai.catalog.known_shapes import KNOWN, Known
from garage_ai.catalog.local_file import manifest_for_file
from garage_ai.catalog.local_folder import (
    CONFIG,
    FolderConfig,
    manifest_for_folder,
    read_folder_config,
)
from garage_ai.catalog.manifest import Manifest, ModelFile, ModelKind, decode_manifest, digest_of
from garage_ai.catalog.planner import RESERVE, Fit, Place, Refusal, Wish, plan
from garage_ai.catalog.progress import OnProgress, Progress
from garage_ai.catalog.quantisations import QUANTISATIONS, Quantisation
from garage_ai.catalog.shapes import Shape
from garage_ai.catalog.sources import (
    Hub,
    InFolder,
    InPackage,
    LocalSource,
    OnHuggingFace,
    OverHttps,
    RemoteSource,
    Source,
)
from garage_ai.catalog.store import ModelStore
from garage_ai.catalog.transfer import Limits

__all__ = [
    "CHAT_ALIAS",
    "CONFIG",
    "DEFAULT_MODEL",
    "KNOWN",
    "QUANTISATIONS",
    "REFERENCE",
    "RESERVE",
    "Card",
    "Catalog",
    "CatalogError",
    "Digest",
    "DiskFull",
    "FetchError",
    "Fit",
    "FolderConfig",
    "FolderInvalid",
    "GgufHeader",
    "GgufInvalid",
    "Hub",
    "InFolder",
    "InPackage",
    "Known",
    "Limits",
    "LocalSource",
    "Manifest",
    "ManifestInvalid",
    "ModelFile",
    "ModelKind",
    "ModelStore",
    "NoSourceLeft",
    "OnHuggingFace",
    "OnProgress",
    "OverHttps",
    "Place",
    "Progress",
    "Quantisation",
    "Refusal",
    "RemoteSource",
    "Shape",
    "Source",
    "SourceAbsent",
    "SourceBroken",
    "SourceError",
    "SourceRefused",
    "StoreBroken",
    "StoreBusy",
    "UnsafeRedirect",
    "Wish",
    "WrongDigest",
    "WrongSize",
    "canonical_json",
    "decode_manifest",
    "digest_of",
    "find_card",
    "known_cards",
    "manifest_for_file",
    "manifest_for_folder",
    "parse_digest",
    "plan",
    "read_folder_config",
    "read_gguf",
]
