import errno
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.integration.catalog.conftest import MakeModel, MakeStore, causes_of
from tests.parts.mirror import Mirror, answer, cut_after

from garage_ai.catalog import DiskFull, ModelStore, SourceAbsent
from garage_ai.catalog.partial import Origin, Partial

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
