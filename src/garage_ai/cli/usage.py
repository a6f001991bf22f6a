"""`gai usage`: what was used, and by what."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.litellm_words import say as say_of_litellm
from garage_ai.cli.moments import moment
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, client, has_subcommand
from garage_ai.cli.reconcile import reconcile
from garage_ai.cli.words import say


class Grouping(StrEnum):
    """What sums can be divided by."""

    MODEL = "model"
    KEY = "key"
    NODE = "node"
    DAY = "day"


app = typer.Typer(help=say("help.usage"), invoke_without_command=True)
app.command("reconcile", help=say_of_litellm("help.reconcile"))(reconcile)


@app.callback()
def usage(
    context: typer.Context,
    *,
    by: Annotated[Grouping, typer.Option("--by", help=say("help.option.by"))] = Grouping.MODEL,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="TIME", parser=moment, help=say("help.option.since")),
    ] = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used, most requests first; days in their order."""
    if has_subcommand(context):
        return
    totals = client(gateway, api_key, data_dir).usage(by.value, since).totals
    if by is Grouping.DAY:
        totals = tuple(sorted(totals, key=lambda total: total.group or ""))
    if as_json:
        output.write_json(totals)
        return
    if not totals:
        output.remark(say("usage.none"), style=None)
        return
    columns = (by.value, "requests", "prompt", "completion")
    rows = [
        (
            total.group or "-",
            str(total.requests),
            str(total.prompt_tokens),
            str(total.completion_tokens),
        )
        for total in totals
    ]
    output.write_table([say(f"table.{column}") for column in columns], rows)


__all__ = ["Grouping", "app"]
