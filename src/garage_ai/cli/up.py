"""`gai up`: a whole network in one place."""

import time
from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.options import DataDir
from garage_ai.cli.words import say
from garage_ai.data_folder import default_data_dir


def up(
    *,
    host: Annotated[
        str | None,
        typer.Option("--host", envvar="GAI_HOST", metavar="HOST", help=say("help.option.host")),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", envvar="GAI_PORT", min=0, max=65_535, help=say("help.option.port")),
    ] = 8000,
    nats_port: Annotated[
        int, typer.Option("--nats-port", min=0, max=65_535, help=say("help.option.nats_port"))
    ] = 4222,
    data_dir: DataDir = None,
    no_node: Annotated[bool, typer.Option("--no-node", help=say("help.option.no_node"))] = False,
    public: Annotated[
        str | None, typer.Option("--public", metavar="HOST", help=say("help.option.public"))
    ] = None,
    cert: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help=say("help.option.cert"))
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help=say("help.option.cert_key"))
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help=say("help.option.insecure"))] = False,
) -> None:
    """Run until a signal comes."""
    began = time.monotonic()
    folder = (data_dir or default_data_dir()).absolute()
    # Said before the imports below, which take a noticeable part of a second.
    output.write(say("up.title", folder=folder))
    from garage_ai.cli.up_run import run_up
    from garage_ai.local.places import UpOptions

    run_up(
        UpOptions(
            data_dir=folder,
            host=host,
            port=port,
            nats_port=nats_port,
            node=not no_node,
            public=public,
            cert=cert,
            key=key,
            insecure=insecure,
        ),
        began,
    )


__all__ = ["up"]
