"""What LiteLLM is given: a configuration of what is served, and the callback beside it."""

from pathlib import Path

from garage_ai.cli.client import Client
from garage_ai.cli.errors import Failed
from garage_ai.cli.words import say
from garage_ai.integrations.litellm import CALLBACK, CONFIG, Prices, Served, callback_source


def served(known: Client) -> list[Served]:
    """Give what the gateway serves, as LiteLLM's configuration wants it. Raises: CliError."""
    found = []
    for model in known.models():
        told = model.gai.price
        prices = Prices(int(told.prompt), int(told.completion)) if told is not None else None
        found.append(Served(model.id, model.gai.kind, model.gai.context, prices))
    return found


def write_files(directory: Path, text: str) -> None:
    """Write the configuration and the callback into a folder. Raises: Failed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in ((CONFIG, text), (CALLBACK, callback_source())):
            beside = directory / f".{name}.new"
            beside.write_text(content, "utf-8")
            beside.replace(directory / name)
    except OSError as error:
        raise Failed(say("error.no_folder", folder=directory, reason=error.strerror)) from error


__all__ = ["served", "write_files"]
