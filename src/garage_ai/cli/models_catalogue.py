"""`gai models add`, `remove`, `catalogue` and `describe`: which models a network knows."""

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Failed, Misused
from garage_ai.cli.manifest_client import Entry, manifest_client
from garage_ai.cli.manifest_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl

MAX_BYTES: Final = 1024 * 1024
"""A manifest is a few kilobytes; the gateway reads no more than this."""

_MEGABYTE: Final = 1_000_000

ManifestFile = Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.file"))]
Name = Annotated[str, typer.Argument(metavar="NAME", help=say("argument.name"))]


def add(
    file: ManifestFile,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a model."""
    manifest = _read(file)
    entry = manifest_client(gateway, api_key, data_dir).add_manifest(manifest)
    _tell(entry, "added", as_json=as_json)


def remove(
    name: Name,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out."""
    entry = manifest_client(gateway, api_key, data_dir).remove_manifest(name)
    _tell(entry, "removed", as_json=as_json)


def catalogue(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what the network knows."""
    found = manifest_client(gateway, api_key, data_dir).manifests()
    if as_json:
        output.write_json(found)
        return
    columns = ("name", "size", "quantisation", "licence", "digest", "sources")
    output.write_table([say(f"table.{column}") for column in columns], list(map(_row, found)))


def describe(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=say("argument.path"))],
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help=say("option.name"))
    ] = None,
    hub: Annotated[
        list[str] | None, typer.Option("--hub", metavar="REPO[@REVISION]", help=say("option.hub"))
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option("--url", metavar="URL", help=say("option.url"))
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help=say("option.licence"))
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a manifest to stdout."""
    from garage_ai.cli.models_describe import described

    output.write_json(described(path, name, hub or [], url or [], licence, data_dir=data_dir))


def _read(file: Path) -> dict[str, object]:
    """Read a manifest from a file or stdin; the gateway judges it. Raises: CliError."""
    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise Misused(say("too_large", file=file))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Misused(say("no_json", file=file), say("no_json.next"))
    return found


def _tell(entry: Entry, what: str, *, as_json: bool) -> None:
    if as_json:
        output.write_json(entry)
    else:
        output.write(say(what, name=output.harmless(entry.name), digest=entry.digest))


def _row(entry: Entry) -> tuple[str, ...]:
    model = entry.shown
    size = sum(file.size for file in model.files) / _MEGABYTE
    sources = ", ".join(source.words for source in model.sources)
    return (
        entry.name,
        f"{size:.0f} MB",
        model.quantisation,
        model.licence,
        entry.digest.removeprefix("sha256:")[:12],
        sources if entry.added_at is not None else say("shipped"),
    )


__all__ = ["MAX_BYTES", "add", "catalogue", "describe", "remove"]
