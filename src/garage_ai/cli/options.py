"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli.client import Client
from garage_ai.cli.node_words import say as say_of_node
from garage_ai.cli.target import find_target
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
        "--data-dir", envvar="GAI_DATA_DIR", metavar="DIR", help=say("help.option.data_dir")
    ),
]
NodeDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="GAI_DATA_DIR", metavar="DIR", help=say_of_node("option.data_dir")
    ),
]
Member = Annotated[
    str | None, typer.Option("--member", metavar="ID", help=say("help.option.member"))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("help.option.json"))]


def client(gateway: str | None, api_key: str | None, data_dir: Path | None) -> Client:
    """Make the client for the gateway that the options mean. Raises: CliError."""
    return Client(find_target(gateway, api_key, data_dir))


__all__ = ["ApiKey", "AsJson", "DataDir", "GatewayUrl", "Member", "NodeDir", "client"]
