"""The little Markdown that the generated pages need."""

from collections.abc import Iterable, Sequence


def page(title: str, source: str, *blocks: str) -> str:
    """Put a page together; `source` is what it was made from."""
    origin = f"*Made from `{source}` by `python -m docs.generate`; change that, not this page.*"
    return "\n\n".join([f"# {title}", origin, *(block.strip("\n") for block in blocks)]) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table."""
    lines = [_row(headers), _row(["---"] * len(headers))]
    lines += [_row([cell(text) for text in row]) for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Fit a text into one cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Mark a word of the program as such; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


__all__ = ["cell", "code", "page", "table"]
