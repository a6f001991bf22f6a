"""What Tab gives: commands and options, asked as shells ask."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.parts.program import GAI, at_home

IN_BASH = 'eval "$("$GAI" --show-completion)"; _gai_completion "$GAI"; echo "${COMPREPLY[*]}"'


def ask(argv: list[str | Path], home: Path, **more: str) -> str:
    """Run what a shell runs, and give what it would show."""
    environment: Mapping[str, str] = at_home(home, **more)
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("gai no", {"node"}),
        ("gai node li", {"limits", "list"}),
        ("gai chat --m", {"--max-tokens"}),
        ("gai nonesuch", set()),
    ],
)
def test_bash_completes(line: str, given: set[str], tmp_path: Path) -> None:
    """The script that `--show-completion` gives works in a real bash, for commands and options."""
    words = line.split()
    begin = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
    shown = ask(["bash", "-c", begin + IN_BASH], tmp_path, GAI=str(GAI))
    assert set(shown.split()) == given


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered(shell: str, tmp_path: Path) -> None:
    """They are given each name with its help."""
    more = {"_GAI_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "gai no"}
    more["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    shown = ask([GAI], tmp_path, **more, LC_ALL="C.UTF-8")
    assert "node" in shown
    assert "Lend this PC to a network." in shown
