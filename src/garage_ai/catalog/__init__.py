"""Models: what they are, how they are named, where their files are and how they get here."""

from garage_ai.catalog.cards import REFERENCE, Card, find_card, known_cards
from garage_ai.catalog.catalogue import CHAT_ALIAS, DEFAULT_MODEL, Catalog
from garage_ai.catalog.digests import Digest, canonical_json
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
    StoreFull,
    UnsafeRedirect,
    WrongDigest,
    WrongSize,
)
from garage_ai.catalog.folder_shape import read_folder_shape
from garage_ai.catalog.folder_weights import NO_WEIGHTS, Weights, form_of, read_folder_weights
from garage_ai.catalog.gguf import GgufHeader, read_gguf
from garage_ai.catalog.gguf_shape import Burden, burden_of, shape_of
from garage_ai.catalog.group_layouts import Unweighed, Weighed
from garage_ai.catalog.group_planner import plan_group, plan_unweighed
from garage_ai.catalog.groups import GroupFit, GroupRefusal, Link, Obstacle, Rank, Rig
from garage_ai.catalog.known_shapes import KNOWN, Known
from garage_ai.catalog.local_file import manifest_for_file
from garage_ai.catalog.local_folder import (
    CONFIG,
    FolderConfig,
    manifest_for_folder,
    read_folder_config,
)
from garage_ai.catalog.manifest import (
    FILE_KINDS,
    Manifest,
    ModelFile,
    ModelKind,
    ModelName,
    check_manifest,
    decode_manifest,
    digest_of,
)
from garage_ai.catalog.offload import CacheType, Demand, Offload, TooLarge, offload
from garage_ai.catalog.planner import (
    RESERVE,
    USUAL,
    Fit,
    Place,
    Refusal,
    Wish,
    divides,
    plan,
    plan_on,
)
from garage_ai.catalog.progress import OnProgress, Progress
from garage_ai.catalog.quantisations import QUANTISATIONS, Quantisation
from garage_ai.catalog.shapes import Shape
from garage_ai.catalog.shelf import Held, Room, stored_bytes
from garage_ai.catalog.sources import (
    Hub,
    InFolder,
    InPackage,
    OnHuggingFace,
    OverHttps,
    RemoteSource,
    Source,
)
from garage_ai.catalog.store import ModelStore
from garage_ai.catalog.transfer import Limits
from garage_ai.catalog.vocabulary import (
    BYTE_PAIRS,
    KNOWN_CUTS,
    Vocabulary,
    is_counted,
    read_vocabulary,
)

__all__ = [
    "BYTE_PAIRS",
    "CHAT_ALIAS",
    "CONFIG",
    "DEFAULT_MODEL",
    "FILE_KINDS",
    "KNOWN",
    "KNOWN_CUTS",
    "NO_WEIGHTS",
    "QUANTISATIONS",
    "REFERENCE",
    "RESERVE",
    "USUAL",
    "Burden",
    "CacheType",
    "Card",
    "Catalog",
    "CatalogError",
    "Demand",
    "Digest",
    "DiskFull",
    "FetchError",
    "Fit",
    "FolderConfig",
    "FolderInvalid",
    "GgufHeader",
    "GgufInvalid",
    "GroupFit",
    "GroupRefusal",
    "Held",
    "Hub",
    "InFolder",
    "InPackage",
    "Known",
    "Limits",
    "Link",
    "Manifest",
    "ManifestInvalid",
    "ModelFile",
    "ModelKind",
    "ModelName",
    "ModelStore",
    "NoSourceLeft",
    "Obstacle",
    "Offload",
    "OnHuggingFace",
    "OnProgress",
    "OverHttps",
    "Place",
    "Progress",
    "Quantisation",
    "Rank",
    "Refusal",
    "RemoteSource",
    "Rig",
    "Room",
    "Shape",
    "Source",
    "SourceAbsent",
    "SourceBroken",
    "SourceError",
    "SourceRefused",
    "StoreBroken",
    "StoreBusy",
    "StoreFull",
    "TooLarge",
    "UnsafeRedirect",
    "Unweighed",
    "Vocabulary",
    "Weighed",
    "Weights",
    "Wish",
    "WrongDigest",
    "WrongSize",
    "burden_of",
    "canonical_json",
    "check_manifest",
    "decode_manifest",
    "digest_of",
    "divides",
    "find_card",
    "form_of",
    "is_counted",
    "known_cards",
    "manifest_for_file",
    "manifest_for_folder",
    "offload",
    "plan",
    "plan_group",
    "plan_on",
    "plan_unweighed",
    "read_folder_config",
    "read_folder_shape",
    "read_folder_weights",
    "read_gguf",
    "read_vocabulary",
    "shape_of",
    "stored_bytes",
]
