"""What is written by hand about the code names all of the code."""

import re
from typing import get_args

import pytest
from docs.generate import command, errors, http_api, settings
from tests.parts.documents import Document
from tests.parts.tree import ROOT

from garage_ai.gateway.problems import PROBLEMS
from garage_ai.network.errors import ClientGone, DispatchError
from garage_ai.serving.errors import InsufficientQuota
from garage_ai.storage.tables import metadata
from garage_ai.wire import frames, messages, subjects, window
from garage_ai.wire.identity import Purpose
from garage_ai.wire.ids import AttemptId, GatewayId, NodeId

WIRE = ROOT / "docs/reference/wire.md"
KINDS = {kind.__name__: kind.__struct_config__.tag for kind in get_args(frames.Frame)}
CONTROLS = {kind.__name__: kind.__struct_config__.tag for kind in get_args(messages.Control)}
LIMITS = {
    name: value
    for module in (frames, messages, window)
    for name, value in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, int | float)
    if name not in {"VERSION", "UNNUMBERED"}
}
WORDS = [
    *get_args(frames.RefusalCode),
    *get_args(frames.FailureCode),
    *get_args(frames.Route),
    *get_args(messages.AgentState),
    *get_args(messages.EngineState),
    *get_args(messages.ModelKind),
]


def table_rows(text: str) -> list[list[str]]:
    """Give the cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])] for line in lines]


ROWS = table_rows(WIRE.read_text())


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_told_with_its_fields(name: str) -> None:
    """A frame stands in the table with its kind and its fields in their order."""
    struct = getattr(frames, name)
    row = next(row for row in ROWS if row[1:2] == [f"`{name}`"])
    assert row[0] == str(KINDS[name])
    assert row[2] == ", ".join(struct.__struct_fields__)


def test_no_frame_is_told_that_is_not_there() -> None:
    """The table holds the kinds of the code and no others."""
    told = {row[1].strip("`") for row in ROWS if row[0].isdigit()}
    assert told == set(KINDS)


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_message_is_told(name: str) -> None:
    """A control message stands in the table with its type."""
    assert [f"`{name}`", f"`{CONTROLS[name]}`"] in [row[:2] for row in ROWS]


@pytest.mark.parametrize("struct", [messages.Beat, messages.ModelServed, messages.Renew])
def test_every_member_of_a_message_is_told(struct: type[messages.Beat]) -> None:
    """A message's paragraph names all its members in their order."""
    text = " ".join(WIRE.read_text().split())
    assert ", ".join(struct.__struct_fields__) in text


@pytest.mark.parametrize("word", dict.fromkeys(WORDS))
def test_every_code_and_state_is_told(word: str) -> None:
    """Refusals, failures, routes, kinds and states are all on the page."""
    assert word in Document(WIRE).code()


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_told(name: str) -> None:
    """A limit stands in the table with its value."""
    row = next(row for row in ROWS if row[0].startswith(f"`{name}`"))
    assert float(row[1]) == LIMITS[name]


def test_all_that_a_node_signs_is_told() -> None:
    """Each kind of signed text is on the page, and each purpose of a proof."""
    sources = (ROOT / "src/garage_ai/wire").glob("*.py")
    signed = {kind for path in sources for kind in re.findall(r"gai-\w+-v\d", path.read_text())}
    assert "gai-enrol-v1" in signed
    assert {*signed, *get_args(Purpose)} - Document(WIRE).code() == set()


@pytest.mark.parametrize(
    ("page", "title"),
    [("docs/explanation/architecture.md", "The house"), ("CONTRIBUTING.md", "Where things live")],
)
def test_every_room_is_told(page: str, title: str) -> None:
    """The house is drawn with all its rooms."""
    parts = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    drawn = next(part for part in parts if part.startswith(title))
    inside = (ROOT / "src/garage_ai").glob("[a-z]*")
    rooms = {path.stem for path in inside if path.suffix in ("", ".py")}
    assert rooms - set(re.findall(r"\w+", drawn)) == set()


def test_what_a_setting_may_be_is_told() -> None:
    """A setting of a few words names them; no cell for the kind is empty."""
    rows = table_rows(settings.made())
    kinds = {row[0]: row[1] for row in rows if len(row) == 4}
    assert kinds["`GAI_LIMITS_FAIL`"] == "one of `open`, `closed`"
    assert all(kinds.values())


def test_every_subject_is_told() -> None:
    """The table holds the subjects that the code makes, with names in the places of ids."""
    node, attempt = NodeId("<node>"), AttemptId("<request>")
    made = {
        *(subjects.to_node(node, channel) for channel in get_args(subjects.NodeChannel)),
        subjects.reply(GatewayId("<gateway>"), node, attempt),
        subjects.beat("<region or none>", node),
        subjects.renew(node),
    }
    told = {row[0].strip("`") for row in ROWS if row[0].startswith("`gai.")}
    assert told == made
    assert subjects.all_to_node(node) in Document(WIRE).code()


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_column_is_told(table: object) -> None:
    """The page on data names every table with all its columns."""
    rows = table_rows((ROOT / "docs/explanation/data.md").read_text())
    found = next(known for known in metadata.sorted_tables if known is table)
    row = next(row for row in rows if row[0] == f"`{found.name}`")
    assert re.findall(r"`(\w+)`", row[1]) == [column.name for column in found.columns]


def test_what_is_held_about_people_is_in_the_export_or_left_out_for_a_reason() -> None:
    """A table about anybody stands among the export's parts, or among what it leaves out."""
    page = (ROOT / "docs/explanation/data.md").read_text()
    stored, taken = page.split("## Taken along, erased")
    held = {row[0].strip("`") for row in table_rows(stored) if row[2:3] != ["nobody"]}
    told = taken.partition("### What the export holds")[2].partition("\n### ")[0]
    parts, left_out = told.split("Left out, and why:")
    cells = " ".join(row[1] for row in table_rows(parts))
    reasons = re.findall(r"^- (.*?): ", left_out, flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", f"{cells} {' '.join(reasons)}"))
    tables = {table.name for table in metadata.sorted_tables}
    assert tables & held - named == set()


def test_every_variable_is_told() -> None:
    """A variable of the environment that the code reads is on a page of reference."""
    sources = (ROOT / "src/garage_ai").rglob("*.py")
    read = {name for path in sources for name in re.findall(r"GAI_[A-Z_]+[A-Z]", path.read_text())}
    pages = [ROOT / "docs/reference" / name for name in ("settings.md", "command.md")]
    told = {name for page in pages for name in re.findall(r"GAI_[A-Z_]+", page.read_text())}
    assert read - told == set()


def test_no_variable_is_told_that_is_not_read() -> None:
    """A variable that any page names is one that the code reads, or start.sh before it."""
    readers = ["docs/reference/settings.md", "docs/reference/command.md", "start.sh"]
    known = {
        name for path in readers for name in re.findall(r"GAI_[A-Z_]+", (ROOT / path).read_text())
    }
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "README.sv.md"]
    named = {name for page in pages for name in re.findall(r"GAI_[A-Z_]+[A-Z]", page.read_text())}
    assert named - known == set()


def test_every_route_is_told() -> None:
    """A route whose tag has no title would be left out."""
    routes = {
        f"### {method.upper()} {path}"
        for path, methods in http_api.described()["paths"].items()
        for method in methods
    }
    page = http_api.made().splitlines()
    assert routes
    assert routes - set(page) == set()


@pytest.mark.parametrize("group", ["models", "usage", "me", "litellm"])
def test_a_group_that_does_something_itself_is_told(group: str) -> None:
    """`gai models` lists the models, and has commands below it."""
    assert f"## gai {group}" in command.made().splitlines()


def test_every_type_of_error_is_told() -> None:
    """Each stands above the table of its code."""
    page = errors.made().split("\n## ")
    for each in PROBLEMS.values():
        told = next(part for part in page if f"| `{each.code}` |" in part)
        assert f"`{each.type}`" in told.partition("| ---")[0], each.code


def test_every_refusal_of_a_request_is_told() -> None:
    """What dispatching and paying can end in stands with the routes that ask a model."""
    api = http_api.described()
    # A client that left is told nothing.
    ends = {each.code for each in _leaves(DispatchError)} - {ClientGone.code}
    ends.add(InsufficientQuota.code)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        told = str(api["paths"][path]["post"]["responses"])
        assert [code for code in sorted(ends) if f"`{code}`: " not in told] == []


def _leaves(kind: type[DispatchError]) -> list[type[DispatchError]]:
    below = [leaf for each in kind.__subclasses__() for leaf in _leaves(each)]
    return below or [kind]
