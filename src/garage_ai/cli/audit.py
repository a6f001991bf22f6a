"""`gai audit`: who did what, and whether the log of it is as it was written."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from garage_ai.audit.chain import Check, Verdict
from garage_ai.audit.errors import BadExport
from garage_ai.audit.exports import Export, head_of, noted_head, read_export, recorded
from garage_ai.audit.models import Head, Noted, Recorded
from garage_ai.cli import output
from garage_ai.cli.client import Client
from garage_ai.cli.errors import Failed
from garage_ai.cli.member_words import say
from garage_ai.cli.moments import moment
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.own_shapes import Act

app = typer.Typer(help=say("help.audit"), no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A log as it came here, its heads, and the key that these are said to be signed with.

    `read_at` is when it was the gateway's; of an export that is its last entry's moment.
    """

    heads: tuple[Head, ...]
    entries: tuple[Recorded, ...]
    key: str
    read_at: datetime | None


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


@app.command(help=say("help.audit.head"))
def head(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest signed head, to be noted where nobody of this network can change it."""
    found = client(gateway, api_key, data_dir).audit_head()
    if as_json:
        output.write_json(found)
    elif found is None:
        output.remark(say("audit.head.none"), style=None)
    else:
        output.write(say("audit.head", size=found.size, at=output.minute(found.at)))
        output.write(f"  {output.harmless(found.root)}")
        output.remark(say("audit.head.next"), style=None)


@app.command(help=say("help.audit.verify"))
def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help=say("argument.export"))
    ] = None,
    *,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="KEY", help=say("option.public_key"))
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="FILE|TEXT", help=say("option.head"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check the log entry by entry on this PC; nothing is taken on the gateway's word."""
    noted = _noted(head) if head is not None else None
    copy = _of_export(_read(file)) if file else _copy(client(gateway, api_key, data_dir))
    key = public_key or (noted and noted.public_key) or copy.key
    check = Check(copy.heads, key, noted)
    for entry in copy.entries:
        check.take(entry)
    if copy.read_at is not None:
        check.unsigned_since(copy.read_at)
    verdict = check.finish()
    if as_json:
        output.write_json(_shown(verdict, key))
    if not verdict.is_whole:
        lines = tuple(f"{each.seq}: {each.what}" for each in verdict.findings)
        words = say("audit.broken", count=len(verdict.findings))
        raise Failed(words, say("audit.broken.next"), lines)
    if not as_json:
        told = "audit.whole" if verdict.signed else "audit.unsigned"
        output.write(say(told, size=verdict.size, signed=verdict.signed, key=key))
        if noted is None:
            output.remark(say("audit.not_noted"), style=None)
        if verdict.signed and public_key is None and not (noted and noted.public_key):
            output.remark(say("audit.compare"), style=None)


@app.command(help=say("help.audit.export"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.file"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Write the whole log with its newest head, one JSON object a line."""
    copy = _copy(client(gateway, api_key, data_dir))
    found = Export(copy.heads[0] if copy.heads else None, copy.entries)
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


def _noted(text: str) -> Noted:
    """Read a head that was noted, from a file or as it is. Raises: Failed."""
    try:
        return noted_head(text if text.lstrip().startswith("{") else Path(text).read_bytes())
    except OSError as error:
        raise Failed(say("file.failed", path=text, reason=error.strerror)) from error
    except BadExport as error:
        raise Failed(say("audit.bad_head", head=text, reason=error)) from error


def _of_export(export: Export) -> _Copy:
    heads = (export.head,) if export.head is not None else ()
    last = export.entries[-1].at if export.entries else None
    return _Copy(heads, export.entries, heads[0].public_key if heads else "", last)


def _copy(asked: Client) -> _Copy:
    """Get the heads first: one that is signed later would name entries not seen here."""
    try:
        key, heads = _heads(asked)
        return _Copy(heads, _entries(asked), key, datetime.now(UTC))
    except BadExport as error:
        raise Failed(say("audit.bad_file", path=asked.target.url, reason=error)) from error


def _heads(asked: Client) -> tuple[str, tuple[Head, ...]]:
    """Give all heads, and what the gateway holds and its database does not: key and last head."""
    page = asked.audit_heads()
    heads = [*page.data, *([page.remembered] if page.remembered else [])]
    while page.before is not None:
        page = asked.audit_heads(page.before)
        heads += page.data
    return page.public_key, tuple(head_of(**_fields(each)) for each in heads)


def _entries(asked: Client) -> tuple[Recorded, ...]:
    """Give all entries in their order; from the newest down, so that no number is below all."""
    acts: list[Act] = []
    while page := asked.acts(before=acts[-1].seq if acts else None, limit=1000):
        acts += page
    return tuple(recorded(**_fields(act)) for act in reversed(acts))


def _shown(verdict: Verdict, key: str) -> dict[str, object]:
    return {
        "whole": verdict.is_whole,
        "size": verdict.size,
        "signed": verdict.signed,
        "root": verdict.root.hex(),
        "public_key": key or None,
        "findings": [{"seq": each.seq, "what": each.what} for each in verdict.findings],
    }


def _fields(shape: object) -> dict[str, object]:
    return {name: getattr(shape, name) for name in shape.__struct_fields__}  # type: ignore[attr-defined]


def _row(act: Act) -> tuple[str, ...]:
    by = f"{act.actor} {act.actor_id}" if act.actor_id else act.actor
    details = "" if act.details == "{}" else act.details
    return (str(act.seq), output.minute(act.at), act.action, by, act.subject, details)


__all__ = ["app"]
