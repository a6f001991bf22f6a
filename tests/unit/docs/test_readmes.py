"""The first pages say the same in both languages, and what the program says."""

import os
import re
from pathlib import Path

import pytest
from tests.parts.documents import Document
from tests.parts.tree import ROOT

from garage_ai.cli.words import Language, in_language

PAIRS = [
    ("README.md", "README.sv.md"),
    ("docs/tutorial/quick-start.md", "docs/tutorial/kom-igang.md"),
    ("docs/node/limits.md", "docs/node/granser.md"),
    ("docs/node/fit.md", "docs/node/duger.md"),
    ("docs/node/quick-start.md", "docs/node/quick-start.sv.md"),
    ("docs/node/systems.md", "docs/node/systems.sv.md"),
    ("docs/node/container.md", "docs/node/container.sv.md"),
    ("docs/node/card.md", "docs/node/card.sv.md"),
    ("docs/node/vllm.md", "docs/node/vllm.sv.md"),
    ("docs/node/own-server.md", "docs/node/own-server.sv.md"),
    ("docs/how-to/rig-group.md", "docs/how-to/rig-group.sv.md"),
    ("docs/how-to/batch.md", "docs/how-to/batch.sv.md"),
]
SHORTER = {
    "docs/node/uppdatera.md": "docs/node/update.md",
    "docs/ekonomi.md": "docs/economy.md",
    "docs/how-to/medlem.md": "docs/how-to/members.md",
    "docs/how-to/models.sv.md": "docs/how-to/models.md",
    "docs/how-to/litellm.sv.md": "docs/how-to/litellm.md",
    "docs/explanation/skydd.md": "docs/explanation/protection.md",
}
"""Pages that tell in Swedish only what an owner or a member needs."""

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
    ours = {other: one for one, other in PAIRS} | SHORTER
    left, right = (
        [ours.get(target(page, link), target(page, link)) for link in Document(ROOT / page).links()]
        for page in (english, swedish)
    )
    # The first of each is the other.
    assert left[1:] == right[1:]


def target(page: str, link: str) -> str:
    """Give the path of a link within the project; one that leads out of it as it is."""
    if "://" in link:
        return link
    return os.path.normpath(Path(page).parent / link)


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
