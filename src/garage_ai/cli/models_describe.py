"""The manifest of a model on this PC: read, hashed, and told where others find the same files."""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.catalog import (
    CatalogError,
    GgufInvalid,
    Manifest,
    ManifestInvalid,
    ModelStore,
    OnHuggingFace,
    OverHttps,
    Progress,
    Source,
    check_manifest,
    is_counted,
    read_gguf,
)
from garage_ai.cli import output
from garage_ai.cli.errors import Failed, Misused
from garage_ai.cli.manifest_words import say
from garage_ai.data_folder import default_data_dir

_BRANCH: Final = "main"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")


def described(
    path: Path,
    name: str | None,
    hubs: Sequence[str],
    urls: Sequence[str],
    licence: str | None,
    *,
    data_dir: Path | None,
) -> Manifest:
    """Describe the model at `path`, to be had from hubs first. Raises: CliError."""
    path = path.expanduser().absolute()
    hub_sources = [_on_hub(text) for text in hubs]
    store = ModelStore(data_dir or default_data_dir())
    try:
        if path.is_dir():
            made = asyncio.run(store.adopt_folder(path, _show, name=name))
        else:
            made = asyncio.run(store.adopt(path, name=name, on_progress=_show))
        sources = (*hub_sources, *(_over_https(text, made) for text in urls))
        changes = {"sources": sources} | ({"licence": licence} if licence is not None else {})
        made = check_manifest(msgspec.structs.replace(made, **changes))
    except CatalogError as error:
        words = say("not_described", path=path, reason=str(error).rstrip("."))
        advice = "" if isinstance(error, ManifestInvalid) else say("not_described.next")
        raise Failed(words, advice) from error
    if not sources:
        output.remark(say("no_sources"), style="yellow")
    if path.is_file() and not _is_counted(path):
        output.remark(say("uncounted"), style="yellow")
    return made


def _on_hub(text: str) -> Source:
    repo, _, revision = text.partition("@")
    source = _checked({"type": "huggingface", "repo": repo, "revision": revision or _BRANCH}, text)
    if isinstance(source, OnHuggingFace) and not _COMMIT.match(source.revision):
        output.remark(say("branch", source=text), style="yellow")
    return source


def _over_https(text: str, made: Manifest) -> Source:
    # Who names the file itself means where it lies.
    base = text.removesuffix(f"/{made.weights.path}") if len(made.files) == 1 else text
    return _checked({"type": "https", "base": base}, text)


def _checked(fields: dict[str, str], text: str) -> Source:
    try:
        return msgspec.convert(fields, OnHuggingFace | OverHttps)
    except msgspec.ValidationError as error:
        raise Misused(say("bad_source", source=text)) from error


def _is_counted(path: Path) -> bool:
    """Tell whether a GGUF file's vocabulary is one that gateways count by."""
    try:
        return is_counted(read_gguf(path))
    except GgufInvalid:
        return False


def _show(progress: Progress) -> None:
    """Show how much has been read, on a terminal alone."""
    if output.is_rich(sys.stderr):
        share = 100 * progress.done // max(1, progress.total)
        end = "\n" if progress.done >= progress.total else ""
        line = say("reading", file=output.harmless(progress.file), share=share)
        output.remark(f"\r{line}", end=end)


__all__ = ["described"]
