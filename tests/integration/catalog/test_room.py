import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.integration.catalog.conftest import MakeModel, MakeStore, causes_of
from tests.parts.mirror import Mirror, answer, cut_after

from garage_ai.catalog import (
    DiskFull,
    ModelStore,
    Room,
    SourceAbsent,
    StoreFull,
    digest_of,
    stored_bytes,
)
from garage_ai.catalog.locks import file_lock
from garage_ai.catalog.partial import Origin, Partial
from garage_ai.catalog.shelf import LABEL, MODELS

pytestmark = pytest.mark.anyio


async def test_too_little_room_is_said_before_anything_is_asked(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """The error counts what is missing, with what is already here taken off."""
    store = make_store(free=lambda _: 1_000_000, reserve_bytes=500)
    with pytest.raises(DiskFull) as caught:
        await store.ensure(make_model(mirror.source))
    assert caught.value.missing_bytes == len(mirror.content) + 500 - 1_000_000
    assert mirror.requests == []


async def test_bytes_already_here_need_no_room(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """A download that is two thirds through needs room for one third."""
    mirror.script.append(cut_after(2_000_000))
    mirror.always = answer(404)
    assert await causes_of(make_store(), make_model(mirror.source)) == [SourceAbsent]
    mirror.always = None
    store = make_store(free=lambda _: 2_900_000, reserve_bytes=0)
    paths = await store.ensure(make_model(mirror.source))
    assert paths["weights.gguf"].read_bytes() == mirror.content


async def test_a_disk_that_fills_up_meanwhile_is_the_same_error(
    mirror: Mirror, store: ModelStore, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own refusal while writing is told as a full disk, and not retried."""

    def on_full_device(self: Partial, offset: int, origin: Origin) -> BinaryIO:
        return Path("/dev/full").open("wb", buffering=0)

    monkeypatch.setattr(Partial, "begin", on_full_device)
    with pytest.raises(DiskFull) as caught:
        await store.ensure(make_model(mirror.source))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert len(mirror.requests) == 1


def age(path: Path, seconds: float) -> None:
    """Let a model have been used last so long ago."""
    label = path.parent / LABEL
    at = label.stat().st_mtime - seconds
    os.utime(label, (at, at))


async def test_the_longest_unused_makes_room(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """One that is fetched takes the place of the oldest; one in use since stays."""
    room = Room(int(2.5 * len(mirror.content)))
    store, paths = make_store(room=room), []
    for name, seconds in (("a.gguf", 200), ("b.gguf", 300), ("c.gguf", 0)):
        model = make_model(mirror.source, files={name: mirror.content})
        paths.append((await store.ensure(model))[name])
        age(paths[-1], seconds)
        if name == "b.gguf":
            # It is served now: that is a use.
            await store.ensure(model)
    assert [path.exists() for path in paths] == [False, True, True]
    assert stored_bytes(make_store.root) <= room.limit


async def test_a_download_that_was_never_finished_makes_room(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """Its bytes count like any other's, so they leave like any other's."""
    mirror.script.append(cut_after(2_000_000))
    mirror.always = answer(404)
    broken = make_model(mirror.source, files={"a.gguf": mirror.content})
    assert await causes_of(make_store(), broken) == [SourceAbsent]
    (begun,) = (make_store.root / MODELS).iterdir()
    taken = stored_bytes(make_store.root)
    assert taken > 100_000  # how much of the 2 MB arrived before the break is chance
    mirror.always = None
    store = make_store(room=Room(taken + len(mirror.content) - 1))
    model = make_model(mirror.source, files={"b.gguf": mirror.content})
    assert (await store.ensure(model))["b.gguf"].exists()
    assert not begun.exists()


async def test_what_is_served_or_kept_is_never_removed(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """Then it is said that there is no room, before anything is removed or asked for."""
    kept = make_model(mirror.source)
    here = (await make_store().ensure(kept))["weights.gguf"]
    asked = len(mirror.requests)
    room = Room(int(1.5 * len(mirror.content)), frozenset({digest_of(kept)}))
    with pytest.raises(StoreFull, match="--disk"):
        await make_store(room=room).ensure(
            make_model(mirror.source, files={"b.gguf": mirror.content})
        )
    assert here.exists()
    assert len(mirror.requests) == asked


async def test_a_smaller_room_is_tidied_as_far_as_may_be(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel
) -> None:
    """What is kept stays although it alone is too much; one that is being fetched is left alone."""
    kept, store = make_model(mirror.source), make_store()
    here = (await store.ensure(kept))["weights.gguf"]
    gone, busy = [
        (await store.ensure(make_model(mirror.source, files={name: mirror.content})))[name]
        for name in ("b.gguf", "c.gguf")
    ]
    assert await store.tidy() == []
    tight = make_store(room=Room(10, frozenset({digest_of(kept)})))
    lock = make_store.root / "locks" / f"{busy.parent.name}.lock"
    async with file_lock(lock, 0.0, lambda: None):
        removed = await tight.tidy()
    assert [each.folder for each in removed] == [gone.parent]
    assert not gone.parent.exists()
    assert here.exists()
    assert busy.exists()
