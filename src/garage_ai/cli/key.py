"""`gai key`: keys for the API."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from garage_ai.cli import limits, output
from garage_ai.cli.limit_words import say as say_of_limits
from garage_ai.cli.member_words import say as say_of_members
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, Member, client
from garage_ai.cli.shapes import Key
from garage_ai.cli.words import say

app = typer.Typer(help=say("help.key"), no_args_is_help=True)


@app.command(help=say("help.key.create"))
def create(
    *,
    name: Annotated[str, typer.Option("--name", help=say("help.option.name"))],
    admin: Annotated[bool, typer.Option("--admin", help=say("help.option.admin"))] = False,
    usage: Annotated[bool, typer.Option("--usage", help=say("help.option.usage"))] = False,
    own: Annotated[bool, typer.Option("--own", help=say_of_members("option.own"))] = False,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="SE-AB", help=say("help.option.key_region")),
    ] = None,
    member: Member = None,
    rpm: limits.Rpm = None,
    tpm: limits.Tpm = None,
    streams: limits.Streams = None,
    daily_tokens: limits.DailyTokens = None,
    monthly_tokens: limits.MonthlyTokens = None,
    daily_gai: limits.DailyGai = None,
    monthly_gai: limits.MonthlyGai = None,
    model: limits.Models = None,
    expires: limits.Expires = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; without --json, stdout holds the secret alone."""
    extra = (("member", own), ("admin", admin), ("usage", usage))
    scopes = ("inference", *(scope for scope, asked in extra if asked))
    allowed = limits.changes(
        rpm=rpm,
        tpm=tpm,
        streams=streams,
        daily_tokens=daily_tokens,
        monthly_tokens=monthly_tokens,
        daily_gai=daily_gai,
        monthly_gai=monthly_gai,
        models=model,
        regions=region if region and len(region) > 1 else None,
        expires_at=expires,
    )
    bound = region[0] if region and len(region) == 1 else None
    made = client(gateway, api_key, data_dir).create_key(name, scopes, bound, member, allowed)
    if as_json:
        output.write_json({"id": made.id, "key": made.key, "name": made.name})
        return
    output.remark(say("key.created", id=made.id, name=output.harmless(made.name)), style=None)
    output.write(made.key)


@app.command("list", help=say("help.key.list"))
def list_(
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List all keys, revoked ones too, without their secrets."""
    keys = client(gateway, api_key, data_dir).keys()
    if as_json:
        output.write_json(keys)
        return
    columns = [say(f"table.{column}") for column in ("id", "name", "scopes", "created", "used")]
    columns += [say("table.state"), say_of_limits("table.member")]
    output.write_table(columns, [_row(key) for key in keys])


@app.command(help=say("help.key.revoke"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help=say("help.option.key_id"))],
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key."""
    revoked = client(gateway, api_key, data_dir).revoke_key(key)
    if as_json:
        output.write_json(revoked)
        return
    output.write(say("key.revoked.done", id=revoked.id))


@app.command(help=say_of_limits("help.key"))
def limit(
    key: Annotated[str, typer.Argument(metavar="ID", help=say("help.option.key_id"))],
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
    """Change what a key may use; with no option, show it."""
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
    limits.act(client(gateway, api_key, data_dir), "keys", key, changes, as_json=as_json)


def _row(key: Key) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        ",".join(key.scopes),
        output.minute(key.created_at),
        output.minute(key.last_used_at) or say("never"),
        _state(key),
        key.member or "",
    )


def _state(key: Key) -> str:
    if key.revoked_at:
        return say("key.revoked")
    ends = key.limits.expires_at if key.limits else None
    is_over = ends is not None and datetime.fromisoformat(ends) <= datetime.now(UTC)
    return say_of_limits("expired") if is_over else say("key.active")


__all__ = ["app"]
