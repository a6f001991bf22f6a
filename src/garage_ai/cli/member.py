"""`gai member`: who owns keys, enrolment tokens and nodes."""

from typing import Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client
from garage_ai.cli.words import say

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
    rows = [(each.id, each.name, output.minute(each.created_at)) for each in members]
    output.write_table([say(f"table.{column}") for column in ("id", "name", "created")], rows)


__all__ = ["app"]
