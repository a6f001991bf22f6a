"""`gai batch`: many requests as one file, answered when there is room for them."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from garage_ai.cli import output
from garage_ai.cli.batch_words import (
    error_line,
    moment,
    rows_of,
    say,
    size,
    state_in_words,
)
from garage_ai.cli.errors import CliError, Failed, Misused
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl

if TYPE_CHECKING:
    from garage_ai.cli.batch_client import BatchClient
    from garage_ai.cli.batch_input import Input
    from garage_ai.cli.batch_shapes import Batch

app = typer.Typer(help=say("help"), no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.file"))]
Id = Annotated[str, typer.Argument(metavar="BATCH", help=say("argument.batch"))]
Wait = Annotated[bool, typer.Option("--wait", help=say("option.wait"))]


@app.command(help=say("help.submit"))
def submit(
    file: File,
    *,
    template: Annotated[
        str | None, typer.Option("--template", metavar="TEXT", help=say("option.template"))
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help=say("option.system"))
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help=say("option.model"))
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help=say("option.max_tokens"))
    ] = None,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help=say("option.window"))
    ] = "24h",
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=VALUE", help=say("option.metadata")),
    ] = None,
    isolation: Annotated[
        Literal["dedicated"] | None, typer.Option("--isolation", help=say("option.isolation"))
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=say("option.dry_run"))] = False,
    wait: Wait = False,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Send the requests of a file, and have a batch made of them."""
    from garage_ai.cli.batch_client import batch_client

    pairs = dict(_pair(text) for text in metadata or ())
    if isolation is not None:
        pairs["isolation"] = isolation
    with _opened(file, template, system, model, max_tokens) as given:
        if dry_run:
            _print(iter(lambda: given.file.read(64 * 1024), b""))
            return
        asked = batch_client(gateway, api_key, data_dir)
        batch = _submitted(asked, given, window, pairs)
    if wait:
        output.remark(output.harmless(batch.id))
        _await(asked, batch, as_json=as_json)
    elif as_json:
        output.write_json(batch)
    else:
        output.remark(say("submitted"), style=None)
        output.write(output.harmless(batch.id))


@app.command(help=say("help.get"))
def get(
    batch: Id,
    *,
    wait: Wait = False,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show a batch, at its end if asked to wait."""
    from garage_ai.cli.batch_client import batch_client

    asked = batch_client(gateway, api_key, data_dir)
    found = asked.batch(batch)
    if wait:
        _await(asked, found, as_json=as_json)
        return
    _show(found, as_json=as_json)
    if not as_json:
        _tell_files(found)


@app.command("list", help=say("help.list"))
def list_(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help=say("option.limit"))] = 20,
    after: Annotated[
        str | None, typer.Option("--after", metavar="BATCH", help=say("option.after"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    from garage_ai.cli.batch_client import batch_client

    found = batch_client(gateway, api_key, data_dir).batches(limit, after)
    if as_json:
        output.write_json(found.data)
        return
    if not found.data:
        output.remark(say("list.none"), style=None)
        return
    columns = ("id", "state", "model", "ended", "total", "failed", "created")
    rows = [_row(each) for each in found.data]
    output.write_table([say(f"table.{column}") for column in columns], rows)
    if found.has_more:
        output.remark(say("list.more", id=output.harmless(found.data[-1].id)))


@app.command(help=say("help.cancel"))
def cancel(
    batch: Id,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a batch."""
    from garage_ai.cli.batch_client import batch_client

    found = batch_client(gateway, api_key, data_dir).cancel_batch(batch)
    if as_json:
        output.write_json(found)
        return
    words = say("cancelled", id=found.id, status=state_in_words(found.status))
    output.write(output.harmless(words))


@app.command(help=say("help.results"))
def results(
    batch: Id,
    *,
    errors: Annotated[bool, typer.Option("--errors", help=say("option.errors"))] = False,
    to: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help=say("option.output"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Print or write the answers of a batch, or what has none."""
    from garage_ai.cli.batch_client import batch_client

    asked = batch_client(gateway, api_key, data_dir)
    pieces = asked.content(_file_of(asked.batch(batch), errors=errors))
    if to is None:
        _print(pieces)
        return
    try:
        written = output.write_private(to, pieces)
    except OSError as error:
        raise Failed(say("error.file", path=to, reason=error.strerror)) from error
    output.remark(say("results.done", size=size(written), path=to), style=None)


@contextlib.contextmanager
def _opened(
    path: Path,
    template: str | None,
    system: str | None,
    model: str | None,
    max_tokens: int | None,
) -> "Iterator[Input]":
    """Open the requests, made of rows where they are none yet. Raises: Misused, Failed."""
    from garage_ai.cli.batch_input import is_table, make_lines, open_lines
    from garage_ai.cli.batch_template import PROMPT, BadTemplate, Form, Template
    from garage_ai.cli.conversation import DEFAULT_MODEL

    if not is_table(path):
        told = {"template": template, "system": system, "model": model, "max-tokens": max_tokens}
        for name, value in told.items():
            if value is not None:
                words = say("error.only_tables", option=f"--{name}")
                raise Misused(words, say("error.only_tables.next"))
        with open_lines(path) as given:
            yield given
        return
    try:
        wanted = Template.of(f"{{{PROMPT}}}" if template is None else template)
    except BadTemplate as error:
        words = say("error.template", reason=error)
        raise Misused(words, say("error.template.next")) from error
    with make_lines(path, Form(wanted, model or DEFAULT_MODEL, system, max_tokens)) as given:
        yield given


def _submitted(
    asked: "BatchClient", given: "Input", window: str, metadata: dict[str, str]
) -> "Batch":
    """Send a file and have a batch made of it; a file that is of no use does not stay."""
    from garage_ai.cli.batch_watch import patiently

    told = size(given.file.seek(0, 2))
    given.file.seek(0)
    output.remark(say("sending", name=given.name, size=told))
    file = asked.upload(given.name, given.file).id
    try:
        return patiently(lambda: asked.submit(file, given.endpoint, window, metadata))
    except CliError:
        with contextlib.suppress(CliError):
            asked.delete_file(file)
        raise


def _await(asked: "BatchClient", batch: "Batch", *, as_json: bool) -> None:
    """Wait for a batch and show how it ended. Raises: Failed where it was not completed."""
    from garage_ai.cli.batch_watch import wait_for

    ended = wait_for(asked, batch, quiet=as_json)
    _show(ended, as_json=as_json)
    status = state_in_words(ended.status)
    if ended.status == "completed":
        if not as_json:
            _tell_files(ended)
        return
    advice = "error.ended_badly.next" if ended.status == "failed" else "error.partly.next"
    raise Failed(say("error.ended_badly", id=ended.id, status=status), say(advice, id=ended.id))


def _show(batch: "Batch", *, as_json: bool) -> None:
    if as_json:
        output.write_json(batch)
        return
    rows = rows_of(batch)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        output.write(f"{name:<{width}}  {output.harmless(text)}")
    for error in batch.errors.data if batch.errors else ():
        output.write(f"  {output.harmless(error_line(error))}")


def _tell_files(batch: "Batch") -> None:
    if batch.output_file_id is not None:
        output.remark(output.harmless(say("results.next", id=batch.id)))
    if batch.error_file_id is not None:
        output.remark(output.harmless(say("errors.next", id=batch.id)))


def _row(batch: "Batch") -> tuple[str, ...]:
    counts = batch.request_counts
    return (
        batch.id,
        state_in_words(batch.status),
        batch.model or "-",
        str(counts.ended),
        str(counts.total),
        str(counts.failed),
        moment(batch.created_at),
    )


def _file_of(batch: "Batch", *, errors: bool) -> str:
    """Name the file that holds what is wanted. Raises: Failed."""
    if not batch.has_ended:
        words = say("error.not_ended", id=batch.id, status=state_in_words(batch.status))
        raise Failed(words, say("error.not_ended.next", id=batch.id))
    file = batch.error_file_id if errors else batch.output_file_id
    if file is None and errors:
        raise Failed(say("error.no_errors", id=batch.id))
    if file is None:
        raise Failed(
            say("error.no_answers", id=batch.id), say("error.no_answers.next", id=batch.id)
        )
    return file


def _print(pieces: Iterator[bytes]) -> None:
    """Print JSON lines as they are; a terminal gets nothing that could steer it."""
    if not sys.stdout.isatty():
        with contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        output.write(output.harmless(decoder.decode(piece)), end="")


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise Misused(say("error.metadata", value=repr(text)))
    return name, value


__all__ = ["app"]
