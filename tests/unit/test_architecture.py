import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import garage_ai

ROOT = Path(__file__).parents[2]
LONGEST = 400  # lines; a longer module is two rooms
ROOMS = [module.name for module in pkgutil.iter_modules(garage_ai.__path__) if module.ispkg]
SOURCES = sorted((ROOT / "src/garage_ai").rglob("*.py"))
MODULES = [
    path
    for folder in ("src", "tests/parts", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def used_from_other_rooms() -> dict[str, set[str]]:
    """Collect, for each module, the names that modules of other rooms import from it."""
    used: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            away = room_of(node.module) != room_of(module_of(path))
            if away and node.module.startswith("garage_ai."):
                used.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return used


def imported_by(path: Path) -> set[str]:
    """Collect our modules that one imports, in functions too; not what only its types need."""
    found: set[str] = set()
    parts: list[ast.AST] = [ast.parse(path.read_text())]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING":
            continue
        if isinstance(part, ast.ImportFrom) and part.module:
            names = {f"{part.module}.{alias.name}" for alias in part.names}
            found |= {name if name in OURS else part.module for name in names}
        parts.extend(ast.iter_child_nodes(part))
    return found & OURS - {module_of(path)}


OURS = set(map(module_of, SOURCES))
USED = used_from_other_rooms()
OFFERING = {
    module_of(path) for path in SOURCES if re.search(r"^__all__ ", path.read_text(), re.MULTILINE)
}


def test_imports_go_down_the_house() -> None:
    """import-linter finds every contract of pyproject.toml kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def test_imports_go_in_no_circle() -> None:
    """What two modules need of each other has a place of its own."""
    TopologicalSorter({module_of(path): imported_by(path) for path in SOURCES}).prepare()


@pytest.mark.parametrize("name", sorted(OFFERING))
def test_what_is_offered_is_there(name: str) -> None:
    """Each name of `__all__` stands there once and exists; ruff keeps them sorted."""
    module = importlib.import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    assert [offered for offered in module.__all__ if not hasattr(module, offered)] == []


@pytest.mark.parametrize("name", sorted(name for name in USED if {name, room_of(name)} & OFFERING))
def test_rooms_use_only_what_is_offered(name: str) -> None:
    """What one room takes from another is in an `__all__` there, the room's or the module's.

    A room whose `__init__` offers nothing, for the sake of a fast start, lends each module whole.
    """
    room = importlib.import_module(room_of(name))
    module = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))}
    offered = {*getattr(room, "__all__", []), *getattr(module, "__all__", [])}
    assert USED[name] - modules - offered == set()


@pytest.mark.parametrize("room", ROOMS)
def test_room_says_what_it_is(room: str) -> None:
    """The first line of every package tells a reader what it is for."""
    assert importlib.import_module(f"garage_ai.{room}").__doc__


def test_modules_stay_readable() -> None:
    """No module is longer than a reader can hold."""
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST} == {}
