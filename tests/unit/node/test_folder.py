"""What a node keeps, and that only one agent keeps it."""

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from garage_ai.node import folder as module
from garage_ai.node.errors import AlreadyRunning, NotEnrolled
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.pauses import Pause
from garage_ai.node.records import record_with
from garage_ai.wire.ids import NodeId

RECORD = Record(
    node=NodeId("nabc"),
    member="mbr_1",
    name="rig",
    region="SE-AB",
    gateway="http://gateway",
    urls=("nats://one", "wss://two"),
    choice=Choice(engine="external", engine_url="http://e/v1", models=("m",), slots=4),
)


def test_keeps_who_the_node_is(tmp_path: Path) -> None:
    """A record is read as it was saved, from a file for the owner alone."""
    folder = NodeFolder(tmp_path / "node")
    folder.save(RECORD)
    assert folder.load() == RECORD
    mode = stat.S_IMODE((folder.path / "identity.json").stat().st_mode)
    assert mode == 0o600


def test_names_of_any_alphabet_are_kept(tmp_path: Path) -> None:
    """A PC may be called anything."""
    folder = NodeFolder(tmp_path)
    record = Record(
        node=NodeId("n"), member="m", name="Åsas dator 🖥", gateway="http://g", urls=("u",)
    )
    folder.save(record)
    assert folder.load().name == "Åsas dator 🖥"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"node":1}', "\x00"])
def test_a_folder_without_a_record_has_no_node(tmp_path: Path, content: str | None) -> None:
    """A missing or damaged record says what to do."""
    if content is not None:
        (tmp_path / "identity.json").write_text(content)
        (tmp_path / "identity.json").chmod(0o600)
    with pytest.raises(NotEnrolled):
        NodeFolder(tmp_path).load()


def test_a_second_agent_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    """The lock is held by a process, whose pid the message names."""
    code = (
        "import sys; from pathlib import Path; from garage_ai.node.folder import NodeFolder\n"
        "with NodeFolder(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}"), NodeFolder(tmp_path).lock():
            pass
        holder.stdin.close()
        holder.wait(30)
        with NodeFolder(tmp_path).lock():
            assert (tmp_path / "agent.lock").read_text() == f"{os.getpid()}\n"
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_an_agent_starts_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its folder without its pid in it, and a second one is refused all the same."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = NodeFolder(tmp_path)
    with folder.lock():
        pass
    monkeypatch.setattr(os, "pwrite", full)
    with folder.lock():
        assert folder.held
        with pytest.raises(AlreadyRunning, match="pid unknown"), NodeFolder(tmp_path).lock():
            pass
    assert not folder.held


def test_a_pause_is_kept(tmp_path: Path) -> None:
    """A paused node stays paused until it is resumed, twice or not."""
    folder = NodeFolder(tmp_path)
    assert not folder.paused
    folder.pause = Pause()
    assert NodeFolder(tmp_path).paused
    folder.pause = None
    folder.pause = None
    assert not folder.paused


def test_a_pause_that_no_disk_keeps_holds_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner wants the PC now; only a restart forgets it, and a resume ends it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = NodeFolder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_secret", full)
        folder.pause_at_once(Pause(now=True))
        with pytest.raises(OSError, match="No space"):
            NodeFolder(tmp_path).pause = Pause()
    assert folder.pause == Pause(now=True)
    assert not NodeFolder(tmp_path).paused
    folder.pause = None
    assert not folder.paused


def test_a_pause_with_an_end_ends(tmp_path: Path) -> None:
    """It holds up to its end and not beyond, whoever reads it."""
    folder = NodeFolder(tmp_path)
    folder.pause = Pause(until=time.time() + 3600, now=True)
    assert NodeFolder(tmp_path).pause == folder.pause
    folder.pause = Pause(until=time.time() - 1)
    assert NodeFolder(tmp_path).pause is None


def test_a_pause_that_cannot_be_read_is_a_pause(tmp_path: Path) -> None:
    """An empty file, as older agents wrote it, or a damaged one keeps the node paused."""
    (tmp_path / "paused").touch(mode=0o600)
    assert NodeFolder(tmp_path).pause == Pause()
    (tmp_path / "paused").write_text("{never")
    assert NodeFolder(tmp_path).pause == Pause()
    (tmp_path / "paused").chmod(0o644)
    assert NodeFolder(tmp_path).paused


def test_forgets_everything_about_who_it_was(tmp_path: Path) -> None:
    """After leaving, nothing of the identity is left."""
    folder = NodeFolder(tmp_path)
    folder.identity.create()
    folder.identity.save_jwt("jwt")
    folder.save(RECORD)
    folder.pause = Pause()
    folder.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_record_changes_only_where_it_is_told() -> None:
    """What is not given stays."""
    changed = record_with(RECORD, gateway="http://new")
    assert changed.gateway == "http://new"
    assert record_with(changed, gateway=RECORD.gateway) == RECORD
