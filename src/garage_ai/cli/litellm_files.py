"""What LiteLLM is given: a configuration of what is served, and the callback beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from garage_ai.catalog import CHAT_ALIAS
from garage_ai.cli.client import Client
from garage_ai.cli.errors import Failed
from garage_ai.cli.words import say
from garage_ai.integrations.litellm import CALLBACK, CONFIG, Prices, Served, callback_source


@dataclass(frozen=True, slots=True)
class Changes:
    """What a running LiteLLM does not know: models by their names, and prices of others."""

    new: frozenset[str] = frozenset()
    repriced: frozenset[tuple[str, Prices | None]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.new or self.repriced)

    def without(self, told: "Changes") -> "Changes":
        """Leave out what was told before."""
        return Changes(self.new - told.new, self.repriced - told.repriced)


def changes(known: Mapping[str, Served], now: Iterable[Served]) -> Changes:
    """Compare what LiteLLM was given with what is served now; what went away is no change.

    Nor is it when `garage-chat` stands for another model: it may, whenever a node comes or goes.
    """
    there = list(now)
    others = [each for each in there if each.name in known and each.name != CHAT_ALIAS]
    return Changes(
        frozenset(each.name for each in there if each.name not in known),
        frozenset((e.name, e.prices) for e in others if e.prices != known[e.name].prices),
    )


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


__all__ = ["Changes", "changes", "served", "write_files"]
