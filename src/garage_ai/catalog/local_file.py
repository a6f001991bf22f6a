"""Describe a model file that its owner points at, from what the file says of itself."""

import hashlib
import re
from pathlib import Path

from garage_ai.catalog.errors import GgufInvalid
from garage_ai.catalog.gguf import GgufHeader, read_gguf
from garage_ai.catalog.manifest import Manifest, ModelFile, ModelKind, check_manifest
from garage_ai.catalog.sources import InFolder

# llama.cpp's own default where a file does not say.
_DEFAULT_CONTEXT = 512
_UNFIT = re.compile(r"[^a-z0-9._-]+")


def manifest_for_file(
    path: Path, *, name: str | None = None, sha256: str | None = None
) -> Manifest:
    """Make a manifest for the GGUF file at `path`; `name` defaults to the file's own.

    Reads the whole file unless its `sha256` is given. The digest does not depend on the
    folder, so two nodes with the same file under the same name serve the same model.
    Raises GgufInvalid, and ManifestInvalid when the name cannot be a model's name.
    """
    path = path.absolute()
    header = read_gguf(path)
    if (header.number("split.count") or 1) > 1:
        raise GgufInvalid(f"{path.name} is one part of several; join them with llama-gguf-split")
    _check_whole(path, header)
    called = name or name_from(path.stem)
    return check_manifest(
        Manifest(
            id=called,
            name=called,
            family=(header.text("general.basename") or header.architecture)[:100] or "unknown",
            kind=_kind(header),
            context_length=header.context_length or _DEFAULT_CONTEXT,
            parameters=max(1, header.parameters),
            quantisation=header.quantisation,
            licence=(header.text("general.license") or "unknown")[:100],
            template_digest=header.template_digest,
            tokenizer_digest=header.tokenizer_digest,
            files=(_file(path, sha256),),
            sources=(InFolder(folder=str(path.parent)),),
        )
    )


def _check_whole(path: Path, header: GgufHeader) -> None:
    """Refuse a download that broke off, whose digest would else be taken for the model's."""
    size = path.stat().st_size
    if size < header.whole:
        words = f"{size} of {header.whole} bytes are here; get the rest of it, or get it anew"
        raise GgufInvalid(f"{path.name} is not whole: {words}")


def _file(path: Path, sha256: str | None) -> ModelFile:
    try:
        with path.open("rb") as file:
            found = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
        return ModelFile(path=path.name, size=path.stat().st_size, sha256=found)
    except OSError as error:
        raise GgufInvalid(f"{path} cannot be read: {error.strerror}") from error


def _kind(header: GgufHeader) -> ModelKind:
    if header.number(f"{header.architecture}.pooling_type"):
        return "embedding"
    return "completion" if header.template is None else "chat"


def name_from(stem: str) -> str:
    """Make a model's name out of a file's or a folder's: lower case, no spaces."""
    return _UNFIT.sub("-", stem.lower()).strip("-._")[:96] or "model"
