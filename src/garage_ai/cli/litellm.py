"""`gai litellm`: LiteLLM's proxy in front of the gateway, and whose its calls are."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from garage_ai.cli import output
from garage_ai.cli.errors import Misused
from garage_ai.cli.litellm_client import litellm_client
from garage_ai.cli.litellm_words import say
from garage_ai.cli.options import ApiKey, AsJson, DataDir, GatewayUrl, has_subcommand
from garage_ai.data_folder import default_data_dir
from garage_ai.wire.hosts import is_loopback

if TYPE_CHECKING:
    from garage_ai.integrations.litellm import Prices

PORT: Final = 4000

app = typer.Typer(help=say("help"), invoke_without_command=True)


class Kind(StrEnum):
    """What of LiteLLM can stand for a member."""

    KEY = "key"
    ALIAS = "alias"
    USER = "user"
    TEAM = "team"


PromptPrice = Annotated[
    int | None,
    typer.Option("--prompt-price", min=0, metavar="NGAI", help=say("option.prompt_price")),
]
CompletionPrice = Annotated[
    int | None,
    typer.Option("--completion-price", min=0, metavar="NGAI", help=say("option.completion_price")),
]
KindArgument = Annotated[Kind, typer.Argument(help=say("argument.kind"))]
Value = Annotated[str, typer.Argument(metavar="VALUE", help=say("argument.value"))]


@app.callback()
def run(
    context: typer.Context,
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help=say("option.host"))
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help=say("option.port"))] = PORT,
    insecure: Annotated[bool, typer.Option("--insecure", help=say("option.insecure"))] = False,
    restart: Annotated[
        bool, typer.Option("--restart/--no-restart", help=say("option.restart"))
    ] = True,
    environment: Annotated[
        Path | None, typer.Option("--environment", metavar="DIR", help=say("option.environment"))
    ] = None,
    prompt_price: PromptPrice = None,
    completion_price: CompletionPrice = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Run the proxy until a signal comes."""
    if has_subcommand(context):
        return
    if not is_loopback(host) and not insecure:
        raise Misused(say("error.open", host=host), say("error.open.next"))
    from garage_ai.cli.litellm_run import Plan, run_litellm

    folder = (data_dir or default_data_dir()).absolute() / "litellm"
    run_litellm(
        Plan(
            client=litellm_client(gateway, api_key, data_dir),
            folder=folder,
            environment=(environment or folder / "environments").expanduser().absolute(),
            host=host,
            port=port,
            restart=restart,
            prices=_prices(prompt_price, completion_price),
        )
    )


@app.command(help=say("help.config"))
def config(
    *,
    directory: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help=say("option.output"))
    ] = None,
    prompt_price: PromptPrice = None,
    completion_price: CompletionPrice = None,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Print or write what people need who run their own LiteLLM."""
    from garage_ai.cli.litellm_files import served, write_files
    from garage_ai.integrations.litellm import CALLBACK, CONFIG
    from garage_ai.integrations.litellm import config as write_config

    known = litellm_client(gateway, api_key, data_dir)
    text = write_config(known.target.url, served(known), _prices(prompt_price, completion_price))
    if directory is None:
        output.write(text, end="")
        return
    write_files(directory, text)
    output.remark(say("written", files=f"{CONFIG}, {CALLBACK}", folder=directory), style=None)
    output.remark(say("written.next"))


@app.command("map", help=say("help.map"))
def map_(
    kind: KindArgument,
    value: Value,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=say("argument.member"))],
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Map a LiteLLM key, user or team to a member."""
    made = litellm_client(gateway, api_key, data_dir).map_litellm(kind.value, value, member)
    if as_json:
        output.write_json(made)
        return
    output.write(output.harmless(say("map.done", kind=kind, value=made.value, member=made.member)))


@app.command("list", help=say("help.list"))
def list_(
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the mappings."""
    found = litellm_client(gateway, api_key, data_dir).litellm_mappings()
    if as_json:
        output.write_json(found)
        return
    if not found:
        output.remark(say("map.none"), style=None)
        return
    rows = [(each.kind, each.value, each.member, output.minute(each.created_at)) for each in found]
    columns = ("kind", "value", "member", "created")
    output.write_table([say(f"table.{column}") for column in columns], rows)


@app.command(help=say("help.unmap"))
def unmap(
    kind: KindArgument,
    value: Value,
    *,
    gateway: GatewayUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take a mapping away."""
    gone = litellm_client(gateway, api_key, data_dir).unmap_litellm(kind.value, value)
    if as_json:
        output.write_json(gone)
        return
    output.write(output.harmless(say("map.gone", kind=kind, value=gone.value)))


def _prices(prompt: int | None, completion: int | None) -> "Prices | None":
    if prompt is None and completion is None:
        return None
    from garage_ai.integrations.litellm import Prices

    return Prices(prompt or 0, completion or 0)


__all__ = ["PORT", "app"]
