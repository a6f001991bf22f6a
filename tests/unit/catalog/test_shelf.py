"""What was fetched, and what leaves when the owner's room is used up."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from garage_ai.catalog import Room
from garage_ai.catalog.shelf import LABEL, Held, Label, held, may_leave, remove, stored_bytes

A_LABEL = Label("m", ("weights.gguf",))


def shelve(root: Path, digit: str, size: int, *, used: float | None = 1.0) -> Path:
    """Put a model of some size there, as the store does; without `used` nothing says what it is."""
    folder = root / "models" / (digit * 64)
    folder.mkdir(parents=True)
    (folder / "weights.gguf").write_bytes(b"w" * size)
    if used is not None:
        (folder / LABEL).write_text('{"name":"m","files":["weights.gguf","inside/more.bin"]}')
        os.utime(folder / LABEL, (used, used))
    return folder


def test_nothing_was_fetched(tmp_path: Path) -> None:
    """A folder that is not there holds nothing."""
    assert held(tmp_path / "none") == []
    assert stored_bytes(tmp_path / "none") == 0


def test_what_nobody_knows_counts_and_stays(tmp_path: Path) -> None:
    """It takes room all the same; a label that cannot be read is none."""
    shelve(tmp_path, "a", 1000)
    shelve(tmp_path, "b", 2000, used=None)
    (shelve(tmp_path, "c", 4000) / LABEL).write_text('{"name":"m","files":["../../etc/passwd"]}')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "models" / ("d" * 64)).symlink_to(elsewhere)
    shelf = held(tmp_path)
    assert [each.digest[7] for each in shelf] == ["a", "b", "c"]
    assert [each.digest[7] for each in may_leave(shelf, Room(0))] == ["a"]
    assert 7000 <= stored_bytes(tmp_path) < 7400


def test_only_what_the_store_wrote_is_removed(tmp_path: Path) -> None:
    """An owner's own file beside it stays where it is, and so does its folder."""
    folder = shelve(tmp_path, "a", 1000)
    (folder / "inside").mkdir()
    (folder / "inside" / "more.bin").write_bytes(b"more")
    (folder / "inside" / ".more.bin.part").write_bytes(b"half")
    (folder / "mine.txt").write_text("mine")
    remove(held(tmp_path)[0])
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    shelve(tmp_path, "b", 10)
    remove(held(tmp_path)[1])
    assert [each.name for each in (tmp_path / "models").iterdir()] == [folder.name]


@given(
    models=st.lists(
        st.tuples(st.integers(0, 9), st.floats(0, 9), st.booleans(), st.booleans()), max_size=9
    )
)
def test_the_longest_unused_leave_first(
    models: list[tuple[int, float, bool, bool]],
) -> None:
    """And never one that is kept, or of which nobody knows what it is."""
    shelf = [
        Held(f"sha256:{number}", Path(), size, A_LABEL if known else None, used)
        for number, (size, used, known, _) in enumerate(models)
    ]
    kept = frozenset(
        each.digest for each, (*_, is_kept) in zip(shelf, models, strict=True) if is_kept
    )
    may = may_leave(shelf, Room(0, kept))
    assert [each.used_at for each in may] == sorted(each.used_at for each in may)
    assert {each.digest for each in may} == {
        each.digest for each in shelf if each.label is not None and each.digest not in kept
    }
