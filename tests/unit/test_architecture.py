import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import garage_ai

ROOT = Path(__file__).parents[2]
LONGEST = 400  # lines; a longer module is two rooms
ROOMS = [module.name for module in pkgutil.iter_modules(garage_ai.__path__) if module.ispkg]
MODULES = [
    path
    for folder in ("src", "tests/parts", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
]


def surfaces() -> list[Path]:
    """List the `__init__.py` of every room, and of every inner package that offers something."""
    inner = (ROOT / "src/garage_ai").glob("*/*/**/__init__.py")
    rooms = [ROOT / "src/garage_ai" / room / "__init__.py" for room in ROOMS]
    return [*rooms, *(path for path in inner if bound_names(ast.parse(path.read_text())))]


def package_of(init: Path) -> str:
    return ".".join(init.parent.relative_to(ROOT / "src").parts)


def bound_names(tree: ast.Module) -> set[str]:
    """Collect the public names a module binds at its top level; other people's are left out."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.level or "garage_ai" in (node.module or "")):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_imports_go_down_the_house() -> None:
    """import-linter finds every contract of pyproject.toml kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("init", surfaces(), ids=package_of)
def test_public_surface_is_complete(init: Path) -> None:
    """`__all__` names exactly what the package offers, each name once, and each is there."""
    package = importlib.import_module(package_of(init))
    offered = getattr(package, "__all__", None)
    assert offered is not None, f"{package.__name__} has no __all__"
    assert len(offered) == len(set(offered))
    assert [name for name in offered if not hasattr(package, name)] == []
    lazy = set(offered) if hasattr(package, "__getattr__") else set()
    assert bound_names(ast.parse(init.read_text())) | lazy == set(offered)


@pytest.mark.parametrize("room", ROOMS)
def test_room_says_what_it_is(room: str) -> None:
    """The first line of every package tells a reader what it is for."""
    assert importlib.import_module(f"garage_ai.{room}").__doc__


def test_modules_stay_readable() -> None:
    """No module is longer than a reader can hold."""
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST} == {}
