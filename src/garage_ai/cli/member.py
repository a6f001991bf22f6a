"""`gai member`: who owns keys, enrolment tokens and nodes."""

from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli import limits, output
from garage_ai.cli.client import Client
from garage_ai.cli.errors import CliError, Failed, Misused, Unreachable
from garage_ai.cli.limit_words import say as say_of_limits
from garage_ai.cli.member_words import say as words
from garage_ai.cli.misuse_words import say as say_misuse
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.own_shapes import Invite
from garage_ai.cli.shapes import Member
from garage_ai.cli.target import kept_ca, target_at
from garage_ai.cli.words import say
from garage_ai.wire.trust import TrustError, WrongFingerprint, fetch_ca

app = typer.Typer(help=say("help.member"), no_args_is_help=True)


@app.command(help=say("help.member.create"))
def create(
    *,
    name: Annotated[str, typer.Option("--name", help=say("help.option.member_name"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a member; without --json, stdout holds the id alone."""
    made = client(gateway, api_key, data_dir).create_member(name)
    if as_json:
        output.write_json(made)
        return
    output.remark(say("member.created", name=output.harmless(made.name)), style=None)
    output.write(made.id)


@app.command("list", help=say("help.member.list"))
def list_(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List all members."""
    members = client(gateway, api_key, data_dir).members()
    if as_json:
        output.write_json(members)
        return
    rows = [
        (each.id, each.name, words(f"state.{each.state}"), output.minute(each.created_at))
        for each in members
    ]
    columns = ("id", "name", "state", "created")
    output.write_table([words(f"table.{column}") for column in columns], rows)


@app.command(help=words("help.invite"))
def invite(
    *,
    name: Annotated[str | None, typer.Option("--name", help=words("option.invite_name"))] = None,
    uses: Annotated[int, typer.Option("--uses", min=1, help=words("option.uses"))] = 1,
    days: Annotated[int, typer.Option("--days", min=1, help=words("option.days"))] = 7,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an invite; without --json, stdout holds the link alone."""
    asked = client(gateway, api_key, data_dir)
    made = asked.create_invite(name, uses, days)
    # Behind the #, where a browser keeps it to itself and no log on the way sees it.
    link = f"{asked.target.url}/invite#{made.secret}"
    if as_json:
        told = {"id": made.id, "link": link, "secret": made.secret, "expires_at": made.expires_at}
        output.write_json(told)
        return
    output.remark(words("invited", until=output.minute(made.expires_at)), style=None)
    output.write(link)
    if asked.target.is_only_here:
        output.remark(say_misuse("only_here"), style="yellow")


@app.command(help=words("help.invites"))
def invites(
    *,
    end: Annotated[
        str | None, typer.Option("--end", metavar="ID", help=words("option.end"))
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List invites, or end one."""
    asked = client(gateway, api_key, data_dir)
    found = asked.invites() if end is None else (asked.end_invite(end),)
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(words("invites.none"), style=None)
        return
    columns = [words(f"table.{name}") for name in ("id", "name", "state", "uses", "until")]
    output.write_table(columns, [_invite(each) for each in found])


def _invite(one: Invite) -> tuple[str, ...]:
    name, state = output.harmless(one.name or ""), words(f"state.{one.state}")
    return one.id, name, state, f"{one.used}/{one.uses}", output.minute(one.expires_at)


@app.command(help=words("help.accept"))
def accept(
    link: Annotated[str, typer.Argument(metavar="LINK", help=words("argument.link"))],
    secret: Annotated[
        str | None, typer.Argument(metavar="SECRET", help=words("argument.secret"))
    ] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", help=words("option.own_name"))] = None,
    as_json: AsJson = False,
) -> None:
    """Become a member; without --json, stdout holds the key alone."""
    url, presented = _parted(link, secret)
    ca = _own_ca(url, presented)
    joined = Client(target_at(url, "", ca)).accept_invite(presented, name)
    if joined.secret is None:
        raise Failed(words("accepted.again"))
    if as_json:
        told = {"member": joined.member, "id": joined.key.id, "key": joined.secret}
        output.write_json(told | {"gateway": url, "ca": str(ca) if ca is not None else None})
        return
    output.remark(words("accepted", id=joined.member.id), style=None)
    output.write(joined.secret)
    output.remark(words("accepted.next", url=url), style=None)
    if ca is not None:
        output.remark(words("accepted.ca", path=ca), style=None)


@app.command(help=words("help.suspend"))
def suspend(
    member: Annotated[str, typer.Argument(metavar="ID", help=words("argument.member"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Suspend a member."""
    _say(client(gateway, api_key, data_dir).change_member(member, "suspend"), "suspended", as_json)


@app.command(help=words("help.resume"))
def resume(
    member: Annotated[str, typer.Argument(metavar="ID", help=words("argument.member"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a suspended member in again."""
    _say(client(gateway, api_key, data_dir).change_member(member, "resume"), "resumed", as_json)


def _say(changed: Member, key: str, as_json: bool) -> None:
    if as_json:
        output.write_json(changed)
    else:
        output.write(words(key, id=changed.id, name=output.harmless(changed.name)))


def _parted(link: str, secret: str | None) -> tuple[str, str]:
    """Part a link into the gateway's URL and the secret. Raises: Misused."""
    url, _, behind = link.strip().partition("#")
    presented = (secret or behind).strip()
    if not presented:
        raise Misused(words("no_secret"), words("no_secret.next"))
    return url.rstrip("/").removesuffix("/invite"), presented


def _own_ca(url: str, presented: str) -> Path | None:
    """Fetch the CA that the secret names, if it names one, and keep it. Raises: CliError."""
    _, _, fingerprint = presented.partition(".")
    if not fingerprint:
        return None
    path = kept_ca(url)
    if not url.startswith("https:"):
        raise Misused(say("error.bad_url", url=url), say("error.no_tls.next"))
    try:
        pem = fetch_ca(url, fingerprint)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(pem, encoding="ascii")
    except TrustError as error:
        raise _untrusted(error, url) from error
    except OSError as error:
        raise Failed(words("file.failed", path=path, reason=error.strerror)) from error
    return path


def _untrusted(error: TrustError, url: str) -> CliError:
    """Say in the user's words why the CA that an invite names was not to be had."""
    cause = error.__cause__
    if isinstance(error, WrongFingerprint):
        return Unreachable(words("other_ca", url=url), words("other_ca.next"))
    if isinstance(cause, OSError):
        reason = cause.strerror or str(cause)
        unreachable = say("error.unreachable", url=url, reason=reason)
        return Unreachable(unreachable, say("error.unreachable.next"))
    return Failed(say("error.not_ours", url=url), say("error.no_tls.next"))


@app.command(help=say_of_limits("help.member"))
def limit(
    member: Annotated[str, typer.Argument(metavar="ID", help=say_of_limits("option.member"))],
    *,
    rpm: limits.Rpm = None,
    tpm: limits.Tpm = None,
    streams: limits.Streams = None,
    daily_tokens: limits.DailyTokens = None,
    monthly_tokens: limits.MonthlyTokens = None,
    daily_gai: limits.DailyGai = None,
    monthly_gai: limits.MonthlyGai = None,
    model: limits.Models = None,
    region: limits.Regions = None,
    expires: limits.Expires = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change what a member may use with all its keys; with no option, show it."""
    changes = limits.changes(
        rpm=rpm,
        tpm=tpm,
        streams=streams,
        daily_tokens=daily_tokens,
        monthly_tokens=monthly_tokens,
        daily_gai=daily_gai,
        monthly_gai=monthly_gai,
        models=model,
        regions=region,
        expires_at=expires,
    )
    limits.act(client(gateway, api_key, data_dir), "members", member, changes, as_json=as_json)


__all__ = ["app"]
