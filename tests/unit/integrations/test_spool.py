"""The spool of LiteLLM's callback: it loses nothing that was kept, and no group is too large."""

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.integrations.test_callback import call

from garage_ai.integrations.litellm import callback
from garage_ai.integrations.litellm.callback import GROUP, Spool, read_lines


def told(group: Path) -> list[str]:
    """Name the calls of a group."""
    return [each["call_id"] for each in read_lines(group)]


def left(root: Path, ended: int, running: int = 0) -> Path:
    """Leave the folder of a process that is gone, with so many calls."""
    spool = Spool(root)
    for number in range(ended + running):
        spool.begin(call(number))
    for number in range(ended):
        spool.end(call(number))
    spool.close()
    return spool.folder


def test_however_many_come_at_once_no_group_is_larger_than_the_gateway_takes(
    tmp_path: Path,
) -> None:
    """A group that it refuses as too large would be set aside, and nobody billed for it."""
    with closing(Spool(tmp_path)) as spool:
        for number in range(2 * GROUP + 1):
            spool.end(call(number))
        assert [len(told(group)) for group in spool.groups()] == [GROUP, GROUP]
        assert spool.lines == 1


def test_what_finds_no_room_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk or the spool is full a dead process's calls wait; they were deleted unread."""
    monkeypatch.setattr(callback, "GROUP", 2)
    folder = left(tmp_path, 2, 1)
    with closing(Spool(tmp_path, limit=100)) as spool:
        spool.take_over()
        [group] = spool.groups()
        assert told(group) == ["c0", "c1"]
        assert folder.exists()
        group.unlink()  # told
        spool.take_over()
        assert [told(group) for group in spool.groups()] == [["c2"]]
        assert not folder.exists()


def test_a_full_spool_leaves_the_next_folder_to_another_process(tmp_path: Path) -> None:
    """It would take no new calls until all of them were told."""
    for _ in range(2):
        left(tmp_path, 3)
    with closing(Spool(tmp_path, 100)) as one, closing(Spool(tmp_path, 100)) as two:
        one.take_over()
        two.take_over()
        assert [len(spool.groups()) for spool in (one, two)] == [1, 1]


def test_a_call_that_is_tried_again_is_under_way_until_its_last_end(tmp_path: Path) -> None:
    """LiteLLM sends it again under the same id."""
    spool = Spool(tmp_path)
    for begun in (True, False, True):
        (spool.begin if begun else spool.end)(call(1))
    spool.close_group()
    [first] = spool.groups()
    first.unlink()
    spool.close()
    with closing(Spool(tmp_path)) as other:
        other.take_over()
        assert [told(group) for group in other.groups()] == [["c1"]]
