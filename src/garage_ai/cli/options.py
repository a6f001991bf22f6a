"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli.client import Client
from garage_ai.cli.errors import Misused
from garage_ai.cli.misuse_words import say as say_misuse
from garage_ai.cli.node_words import say as say_of_node
from garage_ai.cli.target import find_target, folder_named
from garage_ai.cli.words import say

GatewayUrl = Annotated[
    str | None,
    typer.Option("--gateway", envvar="GAI_GATEWAY", metavar="URL", help=say("help.option.gateway")),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="GAI_API_KEY", metavar="KEY", help=say("help.option.key")),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="GAI_DATA_DIR",
        metavar="DIR",
        parser=folder_named,
        help=say("help.option.data_dir"),
    ),
]
NodeDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="GAI_DATA_DIR",
        metavar="DIR",
        parser=folder_named,
        help=say_of_node("option.data_dir"),
    ),
]
Member = Annotated[
    str | None, typer.Option("--member", metavar="ID", help=say("help.option.member"))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("help.option.json"))]


def client(gateway: str | None, api_key: str | None, data_dir: Path | None) -> Client:
    """Make the client for the gateway that the options mean. Raises: CliError."""
    return Client(find_target(gateway, api_key, data_dir))


def has_subcommand(context: typer.Context) -> bool:
    """Tell whether a command follows, which takes its options behind its name. Raises: Misused."""
    name = context.invoked_subcommand
    for parameter in () if name is None else context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            option = "/".join((*parameter.opts, *parameter.secondary_opts))
            command = f"{context.command_path} {name}"
            raise Misused(
                say_misuse("misplaced", option=option, name=name),
                say_misuse("misplaced.next", command=command),
            )
    return name is not None


__all__ = [
    "ApiKey",
    "AsJson",
    "DataDir",
    "GatewayUrl",
    "Member",
    "NodeDir",
    "client",
    "has_subcommand",
]
