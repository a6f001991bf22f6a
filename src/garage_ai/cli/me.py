"""`gai me`: what is one's own, seen, taken along and erased."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Failed, Misused
from garage_ai.cli.member_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client, has_subcommand
from garage_ai.cli.own_shapes import Me
from garage_ai.cli.reason_words import state_in_words

app = typer.Typer(help=say("help.me"), invoke_without_command=True)

_NANO: Final = 10**9


@app.callback()
def me(
    context: typer.Context,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what is yours."""
    if has_subcommand(context):
        return
    own = client(gateway, api_key, data_dir).me()
    if as_json:
        output.write_json(own)
        return
    for line in _lines(own):
        output.write(output.harmless(line))


@app.command(help=say("help.me.export"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.file"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Write all that is kept about you to a file that only you can read."""
    pieces = client(gateway, api_key, data_dir).export_me()
    if str(file) == "-":
        # A reader that has left has what it wanted.
        with contextlib.closing(pieces), contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    try:
        size = output.write_private(file, pieces)
    except OSError as error:
        raise Failed(say("file.failed", path=file, reason=error.strerror)) from error
    output.write(say("exported", size=size, path=file))


@app.command(help=say("help.me.erase"))
def erase(
    *,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help=say("option.confirm"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase yourself, for good."""
    asked = client(gateway, api_key, data_dir)
    erased = asked.erase_me(confirm if confirm is not None else _confirmed())
    if as_json:
        output.write_json(erased)
        return
    output.write(say("erased", id=erased.id))


def _confirmed() -> str:
    """Ask for the own name. Raises: Misused, KeyboardInterrupt."""
    if not sys.stdin.isatty():
        raise Misused(say("erase.ask"), say("erase.ask.next"))
    try:
        return str(typer.prompt(say("erase.ask"), err=True, prompt_suffix=" "))
    except typer.Abort:
        raise KeyboardInterrupt from None


def _lines(own: Me) -> list[str]:
    since = output.minute(own.member.created_at)
    lines = [say("me.member", name=own.member.name, id=own.member.id, since=since)]
    if own.balance is not None:
        held = {name: _gai(getattr(own.balance, name)) for name in ("available", "reserved")}
        lines.append(say("me.balance", **held))
    if own.keys is not None:
        lines.append(say("me.keys", count=sum(key.revoked_at is None for key in own.keys)))
    if own.nodes:
        named = ", ".join(f"{node.name} ({state_in_words(node.state)})" for node in own.nodes)
        lines.append(say("me.nodes", names=named))
    elif own.nodes is not None:
        lines.append(say("me.nodes.none"))
    for total in own.usage or ():
        lines.append(
            say(
                "me.usage",
                model=total.group or "-",
                requests=total.requests,
                prompt=total.prompt_tokens,
                completion=total.completion_tokens,
            )
        )
    return lines


def _gai(nano: str) -> str:
    return f"{int(nano) / _NANO:.3f}"


__all__ = ["app"]
