"""The error trees of storage and accounts are what their docstrings draw."""

import importlib
import re
from types import ModuleType

import pytest

TREES = ("garage_ai.storage.errors", "garage_ai.accounts.errors")


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(str(request.param))


def leaves(tree: ModuleType) -> dict[str, str]:
    classes = [item for item in vars(tree).values() if isinstance(item, type)]
    return {cls.__name__: str(vars(cls)["code"]) for cls in classes}


def test_every_class_has_a_code_of_its_own(tree: ModuleType) -> None:
    """No two errors share a code, and none inherits one by accident."""
    codes = leaves(tree)
    assert len(set(codes.values())) == len(codes)


def test_the_drawing_shows_every_leaf_with_its_code(tree: ModuleType) -> None:
    """What a reader sees at the top of the module is what is raised."""
    drawn = dict(re.findall(r"── (\w+) +([a-z_]+)", str(tree.__doc__)))
    real = leaves(tree)
    assert {name: real[name] for name in drawn} == drawn
    inner = {cls.__bases__[0].__name__ for cls in map(vars(tree).get, real) if cls is not None}
    assert set(real) - inner <= set(drawn)


def test_every_public_name_is_there() -> None:
    """`__all__` of both packages is sorted as it should be and names what exists."""
    for name in ("garage_ai.storage", "garage_ai.accounts"):
        package = importlib.import_module(name)
        assert len(set(package.__all__)) == len(package.__all__)
        assert all(hasattr(package, public) for public in package.__all__)
        errors = importlib.import_module(f"{name}.errors")
        assert set(leaves(errors)) <= set(package.__all__)
