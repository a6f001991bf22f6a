"""`gai audit`: who did what, and whether the log of it is as it was written."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from garage_ai.audit.chain import Check, Verdict
from garage_ai.audit.errors import BadExport
from garage_ai.audit.exports import Export, head_of, read_export, recorded
from garage_ai.cli import output
from garage_ai.cli.client import Client
from garage_ai.cli.errors import Failed
from garage_ai.cli.member_words import say
from garage_ai.cli.moments import moment
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.own_shapes import Act

app = typer.Typer(help=say("help.audit"), no_args_is_help=True)


@app.command("list", help=say("help.audit.list"))
def list_(
    *,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="TIME", parser=moment, help=say("option.since")),
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="ID", help=say("option.actor"))
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="WHAT", help=say("option.action"))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=say("option.limit"))] = 100,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first."""
    acts = client(gateway, api_key, data_dir).acts(
        since=since, actor=actor, action=action, limit=limit
    )
    if as_json:
        output.write_json(acts)
        return
    if not acts:
        output.remark(say("audit.none"), style=None)
        return
    columns = ("seq", "at", "action", "actor", "subject", "details")
    output.write_table([say(f"table.{column}") for column in columns], [_row(a) for a in acts])


@app.command(help=say("help.audit.verify"))
def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help=say("argument.export"))
    ] = None,
    *,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="KEY", help=say("option.public_key"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check the log entry by entry on this PC; nothing is taken on the gateway's word."""
    export = _read(file) if file else _fetch(client(gateway, api_key, data_dir))
    key = public_key or (export.head.public_key if export.head else "")
    verdict = _checked(export, key)
    if as_json:
        output.write_json(
            {
                "whole": verdict.is_whole,
                "size": verdict.size,
                "signed": verdict.signed,
                "root": verdict.root.hex(),
                "public_key": key or None,
                "findings": [{"seq": each.seq, "what": each.what} for each in verdict.findings],
            }
        )
    if not verdict.is_whole:
        lines = tuple(f"{each.seq}: {each.what}" for each in verdict.findings)
        words = say("audit.broken", count=len(verdict.findings))
        raise Failed(words, say("audit.broken.next"), lines)
    if not as_json:
        told = "audit.whole" if verdict.signed else "audit.unsigned"
        output.write(say(told, size=verdict.size, signed=verdict.signed, key=key))
        if verdict.signed and public_key is None:
            output.remark(say("audit.compare"), style=None)


@app.command(help=say("help.audit.export"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.file"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Write the whole log with its newest head, one JSON object a line."""
    found = _fetch(client(gateway, api_key, data_dir))
    text = b"".join(found.lines())
    if str(file) == "-":
        output.write(text.decode(), end="")
        return
    try:
        size = output.write_private(file, (text,))
    except OSError as error:
        raise Failed(say("file.failed", path=file, reason=error.strerror)) from error
    output.write(say("exported", size=size, path=file))


def _read(file: Path) -> Export:
    try:
        return read_export(file.read_bytes())
    except OSError as error:
        raise Failed(say("file.failed", path=file, reason=error.strerror)) from error
    except BadExport as error:
        raise Failed(say("audit.bad_file", path=file, reason=error)) from error


def _fetch(asked: Client) -> Export:
    """Get the head first: a head that is signed later would name entries not seen here."""
    head = asked.audit_head()
    try:
        entries = tuple(recorded(**_fields(act)) for act in _all(asked))
        signed = head_of(**_fields(head)) if head is not None else None
    except BadExport as error:
        raise Failed(say("audit.bad_file", path=asked.target.url, reason=error)) from error
    return Export(signed, entries)


def _all(asked: Client) -> Iterator[Act]:
    after = 0
    while page := asked.acts(after=after, limit=1000):
        yield from page
        after = page[-1].seq


def _checked(export: Export, key: str) -> Verdict:
    check = Check((export.head,) if export.head is not None else (), key)
    for entry in export.entries:
        check.take(entry)
    return check.finish()


def _fields(shape: object) -> dict[str, object]:
    return {name: getattr(shape, name) for name in shape.__struct_fields__}  # type: ignore[attr-defined]


def _row(act: Act) -> tuple[str, ...]:
    by = f"{act.actor} {act.actor_id}" if act.actor_id else act.actor
    details = "" if act.details == "{}" else act.details
    return (str(act.seq), output.minute(act.at), act.action, by, act.subject, details)


__all__ = ["app"]
