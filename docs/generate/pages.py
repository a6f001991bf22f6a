"""Which page is written by what, and how they get onto the disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.generate import command, errors, http_api, metrics, rig_groups, settings

REFERENCE: Final = Path(__file__).parents[1] / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "command.md": command.made,
    "errors.md": errors.made,
    "http-api.md": http_api.made,
    "metrics.md": metrics.made,
    "rig-groups.md": rig_groups.made,
    "settings.md": settings.made,
}


def write(folder: Path = REFERENCE) -> list[Path]:
    """Write every page; give those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, make in PAGES.items():
        path, text = folder / name, make()
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


def stale(folder: Path = REFERENCE) -> list[str]:
    """Name the pages that are not what the code says; nothing is written."""
    return [
        name
        for name, make in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != make()
    ]


__all__ = ["PAGES", "REFERENCE", "stale", "write"]
