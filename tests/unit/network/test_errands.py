"""What is asked of the books beside requests."""

import asyncio

import pytest
from structlog.testing import capture_logs

from garage_ai.network.errands import MOST, Errands

pytestmark = pytest.mark.anyio


async def test_no_kind_takes_the_places_of_another() -> None:
    """A thousand nodes to look up leave place for the rest; how many were dropped is said once."""
    errands, done = Errands(), list[str]()

    async def stays() -> None:
        await asyncio.Event().wait()

    async def ends(kind: str) -> None:
        done.append(kind)

    with capture_logs() as logs:
        begun = [errands.begin("look_up", stays()) for _ in range(1000)]
        assert sum(begun) == MOST["look_up"]
        assert errands.begin("compare", ends("compare"))
        assert errands.begin("renew", ends("renew"))
        assert errands.begin("claim", ends("claim"))
        await asyncio.sleep(0)
        errands.log_dropped()
        errands.log_dropped()
    assert done == ["compare", "renew", "claim"]
    dropped = {"event": "errands_dropped", "log_level": "warning"}
    assert logs == [{**dropped, "look_up": 1000 - MOST["look_up"]}]
    await errands.close()


async def test_a_place_is_free_again_after_an_errand_that_failed() -> None:
    """Books that cannot be read make room for the next look."""
    errands = Errands()

    async def fails() -> None:
        raise OSError

    for _ in range(2):
        assert errands.begin("compare", fails())
        for _ in range(3):
            await asyncio.sleep(0)
