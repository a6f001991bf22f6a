"""The models a node knows: those of the installation, and those its network has told it of.

manifests/NAME.json   what a gateway said of one model, as it is kept in the node's folder (0600)

A gateway's answer and a kept file are read in one way: neither is believed by its word.
"""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from garage_ai.catalog import (
    CONFIG,
    FILE_KINDS,
    Catalog,
    CatalogError,
    Manifest,
    ManifestInvalid,
    OnHuggingFace,
    OverHttps,
    decode_manifest,
    digest_of,
)
from garage_ai.node.errors import BadManifest, ModelAway, NotPossible
from garage_ai.wire.secret_files import replace_secret

_log = structlog.get_logger(__name__)

MANIFESTS: Final = "manifests"
MOST_BYTES: Final = 1024 * 1024
"""Of what is said of one model: that is a few kilobytes, and more is something else."""

_GGUF: Final = ".gguf"
_SAFETENSORS: Final = ".safetensors"


class _Entry(msgspec.Struct, frozen=True):
    """One model as a gateway tells of it and as it is kept."""

    digest: str
    name: str
    manifest: msgspec.Raw


def known_models(folder: Path) -> Catalog:
    """Give the models that are known in a node's folder; a damaged one is passed over."""
    known = Catalog.load()
    for path in sorted((folder / MANIFESTS).glob("*.json")):
        try:
            manifest = _kept(path)
            known = Catalog([*known, manifest])
        except (BadManifest, ManifestInvalid, OSError) as error:
            # It counts as one that is not there, and is asked for anew.
            _log.warning("kept_model_unusable", path=str(path), reason=str(error)[:200])
    return known


def keep(folder: Path, manifest: Manifest, source: str) -> None:
    """Keep what `source` said of a model, in place of what was kept under its name.

    Raises: BadManifest where its names are already another model's; NotPossible.
    """
    before = set(Catalog.load())
    others = (each for each in known_models(folder) if each.name != manifest.name or each in before)
    try:
        Catalog([*others, manifest])
    except ManifestInvalid as error:
        raise _unusable(manifest.name, source, error) from error
    entry = _Entry(digest_of(manifest), manifest.name, msgspec.Raw(msgspec.json.encode(manifest)))
    path = folder / MANIFESTS / f"{manifest.name}.json"
    try:
        replace_secret(path, msgspec.json.encode(entry).decode())
    except OSError as error:
        raise NotPossible(
            "{folder} cannot be used: {error}", folder=path, error=error.strerror or error
        ) from error


def read_entry(page: bytes, name: str, source: str) -> Manifest:
    """Read what `source` says of a model, believing its content alone. Raises: BadManifest.

    What it says of this PC is left out: a network does not point into its owner's files.
    """
    if len(page) > MOST_BYTES:
        raise BadManifest(
            "{source} says more of {name} than is read: over {size} KiB.",
            source=source,
            name=name,
            size=MOST_BYTES // 1024,
        )
    try:
        entry = msgspec.json.decode(page, type=_Entry)
        manifest = decode_manifest(bytes(entry.manifest), name)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ManifestInvalid) as error:
        raise _unusable(name, source, error) from error
    if manifest.name != name or entry.name != name:
        raise BadManifest(
            "{source} was asked for {name} and tells of {other}.",
            source=source,
            name=name,
            other=manifest.name if manifest.name != name else repr(entry.name[:96]),
        )
    found = digest_of(manifest)
    if entry.digest != found:
        raise BadManifest(
            "{source} calls {name} {told}, but what it says of it is {found}.",
            source=source,
            name=name,
            told=repr(entry.digest[:80]),
            found=found,
        )
    return _from_elsewhere(manifest, source)


def _from_elsewhere(manifest: Manifest, source: str) -> Manifest:
    """Leave out the sources on this PC. Raises: BadManifest."""
    for file in manifest.files:
        if Path(file.path).suffix not in FILE_KINDS:
            raise BadManifest(
                "{name} of {source} has a file of a kind that is never fetched: {file}",
                name=manifest.name,
                source=source,
                file=file.path,
            )
    remote = tuple(each for each in manifest.sources if isinstance(each, OverHttps | OnHuggingFace))
    if not remote:
        raise BadManifest(
            "{source} names no place from which {name} can be fetched: neither an https:// "
            "address nor Hugging Face.",
            source=source,
            name=manifest.name,
        )
    return msgspec.structs.replace(manifest, sources=remote)


def suited(engine: str, manifest: Manifest) -> Manifest:
    """Give the model back if it is in the form that an engine reads. Raises: NotPossible."""
    names = [file.path for file in manifest.files]
    if engine == "llamacpp" and not manifest.weights.path.endswith(_GGUF):
        raise NotPossible(
            "{name} is no .gguf file, which llama.cpp needs; serve it with --engine vllm.",
            name=manifest.name,
        )
    if engine == "vllm" and not (
        CONFIG in names and any(name.endswith(_SAFETENSORS) for name in names)
    ):
        raise NotPossible(
            "{name} has no weights as .safetensors files, which vLLM needs; serve it with "
            "--engine llamacpp.",
            name=manifest.name,
        )
    return manifest


def refusal_of(name: str, error: CatalogError) -> NotPossible:
    """Say that a model cannot be used: for now, where time may heal what is wrong."""
    kind = ModelAway if error.may_pass else NotPossible
    return kind("The model {name} cannot be used: {error}", name=name, error=error)


def is_own(engine: str, name: str) -> bool:
    """Tell whether a model's name is the path of a file, or for vLLM a folder, on this PC."""
    path = Path(name)
    if engine == "vllm":
        return (path / CONFIG).is_file()
    return path.suffix == _GGUF and path.is_file()


def _kept(path: Path) -> Manifest:
    with path.open("rb") as file:
        return read_entry(file.read(MOST_BYTES + 1), path.stem, str(path))


def _unusable(name: str, source: str, error: Exception) -> BadManifest:
    return BadManifest(
        "What {source} says of {name} cannot be used: {error}",
        source=source,
        name=name,
        error=str(error)[:300],
    )


__all__ = [
    "MANIFESTS",
    "MOST_BYTES",
    "is_own",
    "keep",
    "known_models",
    "read_entry",
    "refusal_of",
    "suited",
]
