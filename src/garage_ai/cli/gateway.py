"""`gai gateway`: the gateway alone."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli.target import folder_named
from garage_ai.cli.words import say


def gateway(
    *,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help=say("help.option.bind"))
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help=say("help.option.bind_port"))
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="DIR", parser=folder_named, help=say("help.option.data_dir")
        ),
    ] = None,
) -> None:
    """Become the gateway; what is not said here comes from GAI_* and the defaults."""
    told = {
        "GAI_HOST": host,
        "GAI_PORT": None if port is None else str(port),
        "GAI_DATA_DIR": None if data_dir is None else str(data_dir.absolute()),
    }
    environment = os.environ | {name: value for name, value in told.items() if value is not None}
    # The same process from here on: signals and exit code are the gateway's own.
    argv = [sys.executable, "-P", "-m", "garage_ai.gateway"]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - no shell is wanted


__all__ = ["gateway"]
