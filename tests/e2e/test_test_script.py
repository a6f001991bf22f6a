import subprocess
from pathlib import Path

import pytest
from tests.parts.checkout import Checkout, Tools

LINTERS = ["ruff", "mypy", "lint-imports"]
WHOLE = "<-n><2><--dist><loadfile><--no-loadscope-reorder><--durations><25>"
"""How pytest runs everything."""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout that is set up, with tools that say how they were called."""
    checkout = Checkout(tmp_path / "garage", Tools(tmp_path / "bin"), uv=True)
    assert checkout.run("--co", script="test.sh").returncode != 0  # there is no pytest yet
    for name in LINTERS:
        tool(checkout, name, "exit 0")
    tool(checkout, "pytest", 'for each; do printf "<%s>" "$each"; done; echo; echo "1 passed"')
    return checkout


def tool(checkout: Checkout, name: str, text: str) -> None:
    path = checkout.venv / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(checkout: Checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return checkout.run(*arguments, script="test.sh")


def test_everything_is_checked_and_pytest_has_the_last_word(checkout: Checkout) -> None:
    """Without arguments: a line for each linter, then pytest without `system` and `slow`."""
    done = run(checkout)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "ruff check     ok",
        "ruff format    ok",
        "mypy           ok",
        "lint-imports   ok",
        f"<-m><not system and not slow>{WHOLE}",
        "1 passed",
    ]


def test_all_leaves_no_test_out(checkout: Checkout) -> None:
    """--all runs every test, and is not pytest's to see."""
    assert run(checkout, "--all").stdout.splitlines()[-2:] == [WHOLE, "1 passed"]


def test_arguments_go_to_pytest_alone(checkout: Checkout) -> None:
    """With arguments only pytest runs; they come last, so that a `-m` of theirs wins."""
    lines = run(checkout, "tests/unit", "-k", "a or b").stdout.splitlines()
    assert lines == ["<-m><not system and not slow><tests/unit><-k><a or b>", "1 passed"]
    lines = run(checkout, "tests/unit", "--all").stdout.splitlines()
    assert lines == ["<tests/unit>", "1 passed"]


def test_a_linter_that_complains_fails_the_run_but_not_the_tests(checkout: Checkout) -> None:
    """What it said is shown, the tests run all the same, and the exit code tells."""
    tool(checkout, "mypy", "echo 'x.py:1: error'; exit 1")
    done = run(checkout)
    assert done.returncode == 1
    assert "x.py:1: error" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed"


def test_the_exit_code_is_pytests(checkout: Checkout) -> None:
    """Scripts can tell failed tests (1) from none collected (5)."""
    tool(checkout, "pytest", "exit 5")
    assert run(checkout).returncode == 5
