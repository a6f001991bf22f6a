"""The project's Markdown pages, taken apart."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

# Comes with rich, which the command line needs anyway.
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tests.parts.tree import ROOT, tree

_COMMENT = re.compile(r"\s#\s.*$")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: its level from 1, and its words."""

    level: int
    text: str

    @property
    def anchor(self) -> str:
        """What a link to it ends with, as GitHub and MyST both make it."""
        kept = re.sub(r"[^\w\- ]", "", self.text.strip().lower())
        return kept.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


class Document:
    """One page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))

    @property
    def name(self) -> str:
        """Its path below the root, for messages."""
        return str(self.path.relative_to(ROOT))

    def headings(self) -> list[Heading]:
        """List the headings in order."""
        pairs = zip(self._tokens, self._tokens[1:], strict=False)
        return [
            Heading(int(first.tag[1:]), _plain(second))
            for first, second in pairs
            if first.type == "heading_open"
        ]

    def blocks(self, *languages: str) -> list[Block]:
        """List the fenced blocks of these languages, or all."""
        fences = [token for token in self._tokens if token.type == "fence"]
        blocks = [Block(token.info.strip(), token.content) for token in fences]
        return [block for block in blocks if not languages or block.language in languages]

    def links(self) -> list[str]:
        """List where links and pictures lead."""
        inner = [child for token in self._tokens for child in token.children or ()]
        found = [child.attrs.get("href") or child.attrs.get("src") for child in inner]
        return [unquote(str(each)) for each in found if each]

    def rows(self) -> int:
        """Count the rows of all tables."""
        return sum(token.type == "tr_open" for token in self._tokens)

    def code(self) -> set[str]:
        """Collect what stands between backticks in running text."""
        inner = [child for token in self._tokens for child in token.children or ()]
        return {child.content for child in inner if child.type == "code_inline"}

    def commands(self) -> Iterator[list[str]]:
        """Give each shell command of the page as words; a pipe's parts come one by one."""
        for block in self.blocks("sh"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(_COMMENT.sub("", line))
                yield from _parts(words)


def documents() -> list[Document]:
    """Find every page that readers are meant to read."""
    paths = sorted(path for path in tree() if path.suffix == ".md")
    return [Document(ROOT / path) for path in paths if path.parts[0] != "tests"]


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def _parts(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, "|"]:
        if word in {"|", "&&", ";"}:
            if part:
                yield _without_variables(part)
            part = []
        else:
            part.append(word)


def _without_variables(words: list[str]) -> list[str]:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words
