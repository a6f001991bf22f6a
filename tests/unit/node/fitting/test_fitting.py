"""What is learnt from how an engine ends, and what follows for the next start."""

import asyncio
import threading
from collections.abc import Collection
from pathlib import Path

import pytest
from tests.parts.slow_disk import SlowDisk

from garage_ai.node.errors import DoesNotFit
from garage_ai.node.fitting import fitting as room_of_fitting
from garage_ai.node.fitting.book import Book
from garage_ai.node.fitting.fitting import Fitting
from garage_ai.node.fitting.sizes import Size
from garage_ai.wire.ids import Digest

pytestmark = pytest.mark.anyio

GIB = 1 << 30
DIGEST = Digest("sha256:" + "a" * 64)
PLANNED = Size(8192, 2)


class Pc:
    """A machine with as much room as the test says."""

    device = "cpu: one"
    driver = ""

    def __init__(self) -> None:
        self.free: int | None = 8 * GIB
        self.held_now: int | None = 3 * GIB

    def room(self) -> int | None:
        return self.free

    def held(self, pids: Collection[int]) -> int | None:
        return self.held_now


class Kernel:
    """Counts what it has killed."""

    def __init__(self) -> None:
        self.kills = 40

    def __call__(self) -> int:
        return self.kills


def made(folder: Path, pc: Pc, kernel: Kernel, *, takes_all: bool = False) -> Fitting:
    return Fitting(Book(folder), pc, "llamacpp 1", takes_all=takes_all, kills=kernel)


async def test_a_kill_by_the_kernel_makes_the_next_start_smaller(tmp_path: Path) -> None:
    """SIGKILL together with the kernel's count; with much more room it is tried again."""
    pc, kernel = Pc(), Kernel()
    fitting = made(tmp_path, pc, kernel)
    assert await fitting.begin("m", DIGEST, PLANNED) == PLANNED
    assert fitting.why.en == ""
    kernel.kills += 1
    assert await fitting.ended(137, said=False, killed_by_us=False)
    assert await fitting.begin("m", DIGEST, PLANNED) == Size(4096, 2)
    assert "because it ran out of memory with 2 requests of 8192 tokens" in fitting.why.en
    pc.free = 9 * GIB
    assert await made(tmp_path, pc, kernel).begin("m", DIGEST, PLANNED) == PLANNED


async def test_what_was_killed_before_does_not_count(tmp_path: Path) -> None:
    """Neither before the start nor before the engine was last seen well."""
    pc, kernel = Pc(), Kernel()
    fitting = made(tmp_path, pc, kernel)
    kernel.kills += 1
    await fitting.begin("m", DIGEST, PLANNED)
    assert not await fitting.ended(-9, said=False, killed_by_us=False)
    await fitting.begin("m", DIGEST, PLANNED)
    kernel.kills += 1
    await fitting.measure({1})
    assert not await fitting.ended(-9, said=False, killed_by_us=False)
    assert await fitting.begin("m", DIGEST, PLANNED) == PLANNED


async def test_an_engine_that_takes_what_it_is_given_is_not_held_to_its_peak(
    tmp_path: Path,
) -> None:
    """vLLM fills a card; that it held more than is free now does not mean it needs that."""
    pc, kernel = Pc(), Kernel()
    for takes_all, size in ((True, PLANNED), (False, Size(4096, 2))):
        pc.free = 8 * GIB
        fitting = made(tmp_path, pc, kernel, takes_all=takes_all)
        await fitting.begin("m", DIGEST, PLANNED)
        await fitting.measure({1})
        assert fitting.peak is not None
        assert fitting.peak.peak == 3 * GIB
        pc.free = 2 * GIB
        assert await fitting.begin("m", DIGEST, PLANNED) == size


async def test_memory_that_others_took_meanwhile_makes_no_size_of_vllms_too_large(
    tmp_path: Path,
) -> None:
    """It fills what it is given at any size; what it is given is planned anew by what is free."""
    for takes_all, taken, size in (
        (True, GIB, PLANNED),
        (True, GIB // 16, Size(4096, 2)),
        (False, GIB, Size(4096, 2)),
    ):
        pc, folder = Pc(), tmp_path / f"{takes_all}{taken}"
        folder.mkdir()
        fitting = made(folder, pc, Kernel(), takes_all=takes_all)
        await fitting.begin("m", DIGEST, PLANNED)
        assert pc.free is not None
        pc.free -= taken
        assert await fitting.ended(1, said=True, killed_by_us=False)
        assert await fitting.begin("m", DIGEST, PLANNED) == size


async def test_nothing_left_is_a_refusal_in_words(tmp_path: Path) -> None:
    """The message is the owner's, in both languages."""
    pc, kernel = Pc(), Kernel()
    fitting = made(tmp_path, pc, kernel)
    for size in (PLANNED, Size(4096, 2), Size(4096, 1)):
        assert await fitting.begin("m", DIGEST, PLANNED) == size
        await fitting.ended(1, said=True, killed_by_us=False)
    with pytest.raises(DoesNotFit, match="gai models --fits"):
        await fitting.begin("m", DIGEST, PLANNED)
    assert "får inte plats" in fitting.why.sv


async def test_a_driver_that_hangs_keeps_nothing_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread waits for it, and no more are sent after it."""
    monkeypatch.setattr(room_of_fitting, "_LOOK_SECONDS", 0.01)
    release, looks = threading.Event(), []

    class Hung(Pc):
        def room(self) -> int | None:
            looks.append(1)
            release.wait(60)
            return None

    fitting = made(tmp_path, Hung(), Kernel())
    try:
        async with asyncio.timeout(20):
            assert await fitting.begin("m", DIGEST, PLANNED) == PLANNED
            assert await fitting.begin("m", DIGEST, PLANNED) == PLANNED
    finally:
        release.set()
    assert looks == [1]


async def test_a_disk_that_is_slow_keeps_no_answer_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured while the engine works is written beside all that it does."""
    fitting = made(tmp_path, Pc(), Kernel())
    await fitting.begin("m", DIGEST, PLANNED)
    disk = SlowDisk(monkeypatch)
    measuring = asyncio.create_task(fitting.measure({1}))
    try:
        await asyncio.to_thread(disk.asked.wait, 30)
        assert not disk.held_all_up
    finally:
        disk.done.set()
        await measuring
    assert Book(tmp_path).knows(DIGEST)
