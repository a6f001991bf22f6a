import asyncio
import fcntl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.integration.catalog.conftest import MakeModel, MakeStore, begun
from tests.parts.mirror import Mirror, stall_after

from garage_ai.catalog import ModelStore, Progress, StoreBusy, digest_of

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("fetch_in_process.py")
Start = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def start(tmp_path: Path, certificate: Path, mirror: Mirror, make_model: MakeModel) -> Start:
    """Start a process that fetches the mirror's model into the store."""
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(msgspec.json.encode(make_model(mirror.source)))
    arguments = [str(SCRIPT), str(manifest), str(tmp_path / "store"), str(certificate)]

    async def begin() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
        )

    return begin


async def path_of(process: asyncio.subprocess.Process) -> Path:
    output, _ = await process.communicate()
    assert process.returncode == 0
    return Path(output.decode().splitlines()[-1])


async def test_two_processes_fetch_one_model_once(start: Start, mirror: Mirror) -> None:
    """Two starts at the same time end with one download and the same whole file."""
    async with asyncio.timeout(60):
        processes = [await start(), await start()]
        paths = [await path_of(process) for process in processes]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == mirror.content
    assert mirror.sent == len(mirror.content)


async def test_a_killed_process_leaves_its_work_to_the_next(
    start: Start, mirror: Mirror, tmp_path: Path
) -> None:
    """After kill -9 the lock is free and the waiting process continues the partial file."""
    mirror.script.append(stall_after(2_500_000, asyncio.Event()))
    async with asyncio.timeout(60):
        first = await start()
        while not begun(tmp_path):  # noqa: ASYNC110  only the disk shows it
            await asyncio.sleep(0.005)
        second = await start()
        first.kill()
        await first.communicate()
        path = await path_of(second)
    assert path.read_bytes() == mirror.content
    assert len(mirror.requests) == 2
    assert mirror.requests[1].http_range.start > 0


async def test_waiting_for_another_process_is_shown_and_bounded(
    mirror: Mirror, make_store: MakeStore, make_model: MakeModel, tmp_path: Path
) -> None:
    """Who waits says so, however short it is, and gives up with a typed error at last."""
    model = make_model(mirror.source)
    seen: list[Progress] = []
    lock = tmp_path / "store" / "locks" / f"{digest_of(model).removeprefix('sha256:')}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy):
            await make_store(lock_wait_s=0.0).ensure(model, seen.append)
    assert {each.phase for each in seen} == {"waiting"}
    assert mirror.requests == []
    await make_store().ensure(model)


async def test_two_fetches_in_one_process_share_the_work_too(
    mirror: Mirror, store: ModelStore, make_model: MakeModel
) -> None:
    """The lock also holds between tasks."""
    model = make_model(mirror.source)
    first, second = await asyncio.gather(store.ensure(model), store.ensure(model))
    assert first == second
    assert len(mirror.requests) == 1
