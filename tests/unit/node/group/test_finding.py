"""What rigs tell the LAN, and whom they take for their own."""

import asyncio
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from garage_ai.cli import group as commands
from garage_ai.node.errors import NotPossible
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group.finding import KIND, Finder, check_installed, is_ours, name_of
from garage_ai.node.group.folder import HostPort, group_of

SECRET, OTHER = b"s" * 32, b"t" * 32
PLACE = HostPort("192.168.1.20", 4244)


def test_a_name_is_whose_secret_made_it_and_for_that_address_alone() -> None:
    """Nobody else can make one, and a copied one leads only to where it was made for."""
    name = name_of(SECRET, PLACE)
    assert (len(name), name) == (32, name_of(SECRET, PLACE))
    assert is_ours(SECRET, name, PLACE)
    assert not is_ours(OTHER, name, PLACE)
    assert not is_ours(SECRET, name, HostPort("192.168.1.66", 4244))
    assert not is_ours(SECRET, name, HostPort("192.168.1.20", 4246))
    assert not is_ours(SECRET, "å" * 32, PLACE)


def test_finding_is_chosen_with_a_word(tmp_path: Path) -> None:
    """And kept with the group; without it, the list alone counts."""
    for words, find in (((), False), (("--find",), True)):
        folder = tmp_path / str(find)
        where = ["--listen", "192.168.1.20", "--data-dir", str(folder)]
        done = CliRunner().invoke(commands.app, ["create", *words, *where])
        assert done.exit_code == 0, done.output
        kept = group_of(NodeFolder(folder))
        assert kept is not None
        assert kept.find is find
        assert ("--find" in done.stderr) is find


def test_without_its_package_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is kept, with what to do."""
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(NotPossible, match="extra `lan`, or name each with --peer"):
        check_installed()
    words = ["create", "--find", "--listen", "192.168.1.20", "--data-dir", str(tmp_path / "node")]
    assert CliRunner().invoke(commands.app, words).exit_code != 0
    assert not (tmp_path / "node").exists()


@pytest.mark.anyio
async def test_names_that_come_all_at_once_are_asked_about_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A LAN full of strangers' names delays a rig's, and does not hide it."""
    from zeroconf import ServiceStateChange

    finder, asked, at_once = Finder(PLACE, SECRET), [], []

    async def ask(_zeroconf: object, _kind: str, name: str) -> None:
        asked.append(name)
        at_once.append(len(finder._asking))
        await asyncio.sleep(0)

    monkeypatch.setattr(finder, "_ask", ask)
    names = [f"{number}.{KIND}" for number in range(200)]
    for name in names:
        finder._changed(None, KIND, name, ServiceStateChange.Added)  # type: ignore[arg-type]
    finder._changed(None, KIND, names[-2], ServiceStateChange.Removed)  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        while tasks := list(finder._asking.values()):
            await asyncio.gather(*tasks)
    assert asked == [*names[:-2], names[-1]]
    assert max(at_once) == 64
