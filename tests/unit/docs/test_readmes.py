"""The first pages say the same in both languages, and what the program says."""

import re

import pytest
from tests.parts.documents import Document
from tests.parts.tree import ROOT

from garage_ai.cli.words import Language, in_language

PAIRS = [
    ("README.md", "README.sv.md"),
    ("docs/tutorial/quick-start.md", "docs/tutorial/kom-igang.md"),
    ("docs/how-to/limits.md", "docs/how-to/granser.md"),
    ("docs/how-to/fit.md", "docs/how-to/duger.md"),
]
STEPS = ("keys", "nats", "gateway", "node", "model")


@pytest.mark.parametrize(("english", "swedish"), PAIRS)
def test_both_languages_have_one_structure(english: str, swedish: str) -> None:
    """Headings, code, tables and links correspond one by one."""
    left, right = Document(ROOT / english), Document(ROOT / swedish)
    assert [each.level for each in left.headings()] == [each.level for each in right.headings()]
    languages = [block.language for block in left.blocks()]
    assert languages == [block.language for block in right.blocks()]
    assert left.rows() == right.rows()
    assert len(left.links()) == len(right.links())


@pytest.mark.parametrize(("english", "swedish"), PAIRS)
def test_both_languages_tell_to_type_the_same(english: str, swedish: str) -> None:
    """Commands and programs are equal but for their comments."""
    left, right = Document(ROOT / english), Document(ROOT / swedish)
    assert list(left.commands()) == list(right.commands())
    assert left.blocks("python") == right.blocks("python")


@pytest.mark.parametrize(("english", "swedish"), PAIRS)
def test_links_lead_to_the_same_places(english: str, swedish: str) -> None:
    """A link leads to the same page, or to that page in the reader's language."""
    other = {
        "README.sv.md": "README.md",
        "docs/tutorial/quick-start.md": "docs/tutorial/kom-igang.md",
    }
    left = Document(ROOT / english).links()
    right = Document(ROOT / swedish).links()
    assert [other.get(link, link) for link in left[1:]] == right[1:]


@pytest.mark.parametrize(("readme", "language"), [("README.md", "en"), ("README.sv.md", "sv")])
def test_the_start_looks_as_the_readme_shows_it(readme: str, language: Language) -> None:
    """Every line that `gai up` is shown to print is one that it prints."""
    shown = Document(ROOT / readme).blocks("text")[0].text.splitlines()
    allowed = [
        said(language, "up.title"),
        *(rf"  ok {said(language, f'step.{step}')} \([\d.]+ s\)" for step in STEPS),
        *(rf"  {said(language, name)}  \S+" for name in ("up.url", "up.api", "up.key")),
        said(language, "up.try"),
        "curl -H .*",
        said(language, "up.ready.model"),
        "",
    ]
    for line in shown:
        assert any(re.fullmatch(pattern, line) for pattern in allowed), line
    used = {pattern for pattern in allowed if any(re.fullmatch(pattern, line) for line in shown)}
    assert used == set(allowed)


def said(language: Language, key: str) -> str:
    """Make a pattern of a message: whatever is put into it may be anything."""

    class Anything(str):
        __slots__ = ()

        def __format__(self, _: str) -> str:
            return "\0"

    values = dict.fromkeys(("folder", "model", "seconds"), Anything())
    return re.escape(in_language(language, key, **values)).replace("\0", ".+")


def test_readme_is_short() -> None:
    """The first page fits into five minutes."""
    for readme in ("README.md", "README.sv.md"):
        assert len((ROOT / readme).read_text().splitlines()) <= 150
