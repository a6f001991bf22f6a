"""Links inside the documentation lead somewhere."""

import re

import pytest
from tests.parts.documents import Document, documents
from tests.parts.tree import ROOT

DOCUMENTS = documents()
PATH = re.compile(r"(?:src|tests|bench|docs|requirements|scripts)/[\w./-]*")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_resolve(document: Document) -> None:
    """A link to a page, a picture or a heading leads to one that is there."""
    anchors = {each.path: {h.anchor for h in each.headings()} for each in DOCUMENTS}
    broken = []
    for link in document.links():
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.path.parent / place).resolve() if place else document.path
        if not target.exists() or (anchor and anchor not in anchors.get(target, set())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_paths_that_are_named_exist(document: Document) -> None:
    """A file or folder of the project that a page names is there."""
    named = [text for text in document.code() if PATH.fullmatch(text)]
    made = {"bench/.peers/", "bench/results/"}  # by measurements, on the reader's machine
    missing = [text for text in named if text not in made and not (ROOT / text).exists()]
    assert missing == []


def test_every_page_is_in_the_contents() -> None:
    """No page of docs/ is without a place in the table of contents."""
    index = Document(ROOT / "docs/index.md")
    entries = {
        f"{line}.md"
        for block in index.blocks("{toctree}")
        for line in block.text.splitlines()
        if line and not line.startswith(":")
    }
    docs = ROOT / "docs"
    pages = {str(each.path.relative_to(docs)) for each in DOCUMENTS if docs in each.path.parents}
    decisions = {page for page in pages if page.startswith("decisions/0")}
    assert "decisions/0*.md" in entries
    assert entries - {"decisions/0*.md"} == pages - decisions - {"index.md"}


def test_decisions_are_listed_in_order() -> None:
    """Every decision is in the list, with its title, numbered without a gap."""
    folder = ROOT / "docs/decisions"
    files = sorted(folder.glob("0*.md"))
    listed = (folder / "README.md").read_text()
    for number, path in enumerate(files, start=1):
        title = Document(path).headings()[0].text
        assert title.startswith(f"{number:04}: ")
        shown = title.removeprefix(f"{number:04}: ")
        row = next(line for line in listed.splitlines() if path.name in line)
        assert shown == row.rstrip(" |").rsplit(" | ", 1)[1].replace("`", "")
