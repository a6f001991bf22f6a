"""What rigs lend follows what their cards hold by then; a server stands in for vLLM."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.parts import fake_vllm
from tests.parts.job_caller import until
from tests.parts.parties import A, B, Party, free_places

from garage_ai.catalog import Place, Unweighed
from garage_ai.node.engines.vllm_options import Lent, VllmOptions
from garage_ai.node.errors import NoRoom
from garage_ai.node.group import lending as lending_module
from garage_ai.node.group import link as link_module
from garage_ai.node.group.gang import Refusal
from garage_ai.node.group.messages import Measured, Member
from garage_ai.node.group.planning import Division
from garage_ai.wire.ids import NodeId

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

GIB = 1 << 30
NEEDED = 10 * GIB
MODEL = Unweighed(16)


def over_both(free: tuple[Member, ...]) -> Division | Refusal:
    """Divide among two whose cards hold so much each."""
    fit = [each for each in free if each.cards and each.cards[0].room >= NEEDED]
    if len(fit) < 2:
        return Refusal(f"{len(fit)} of 2 cards suffice")
    return Division((A, B), tensor=2)


@dataclass
class Desk:
    """A PC whose card others use, too: of 16 GiB a share is free."""

    share: float
    looks: int = 0
    stuck: bool = False

    @property
    def lent(self) -> Lent:
        return Lent((Place("a card", int(self.share * 16 * GIB), None, (8, 9)),), MODEL)


@pytest.fixture
def desks() -> dict[NodeId, Desk]:
    return {A: Desk(0.91), B: Desk(0.91)}


@pytest.fixture
async def pair(
    tmp_path: Path, desks: dict[NodeId, Desk], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Party, Party]]:
    """Two rigs that look at their cards again, of which none lends yet."""
    monkeypatch.setattr(link_module, "Measured", lambda node, *_: Measured(node, 0.3, 10.0))
    places = free_places()
    made = []

    def begun(me: NodeId) -> Party:
        async def look() -> VllmOptions:
            desk = desks[me]
            desk.looks += 1
            if desk.share < 0.1:
                raise NoRoom("The card is full.", reason="waiting for memory: 2 GiB needed, 1 free")
            return replace(party.options, memory_share=desk.share, lent=desk.lent)

        party = Party(tmp_path / me, me, places, over_both, lent=desks[me].lent, look=look)
        return party

    made = [begun(me) for me in (A, B)]
    yield made[0], made[1]
    await asyncio.gather(*(party.engine.stop() for party in made))


async def test_after_a_part_that_failed_its_cards_are_looked_at_before_the_next(
    pair: tuple[Party, Party], desks: dict[NodeId, Desk]
) -> None:
    """A browser that was opened since is no reason to fail for ever."""
    one, other = pair
    desks[B].share = 0.8
    fake_vllm.tell(other.vllm, fails=True)
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: "Free memory on device" in one.engine.reason, seconds=40)
    fake_vllm.tell(other.vllm, fails=False)
    await until(lambda: one.engine.state == "ready", seconds=90)
    await until(lambda: other.said("--gpu-memory-utilization") == "0.8", seconds=30)
    (told,) = [each for each in one.engine.view().members if each.node == B]
    assert told.cards[0].room == int(0.8 * 16 * GIB)
    assert desks[A].looks >= 1


async def test_a_rig_that_began_beside_a_game_lends_more_later(
    pair: tuple[Party, Party], desks: dict[NodeId, Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new start of its agent; meanwhile its owner reads what is lacking."""
    monkeypatch.setattr(lending_module, "AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(lending_module, "_FRESH_SECONDS", -1.0)
    one, other = pair
    desks[B].share = 0.05
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: "waiting for memory: 2 GiB needed" in other.engine.reason, seconds=30)
    await until(lambda: one.engine.reason.endswith("1 of 2 cards suffice"), seconds=30)
    assert not one.has_run
    desks[B].share = 0.7
    await until(lambda: one.engine.state == "ready", seconds=90)
    await until(lambda: other.has_run, seconds=30)
    assert other.said("--gpu-memory-utilization") == "0.7"


async def test_a_part_that_ran_out_of_memory_tells_less(pair: tuple[Party, Party]) -> None:
    """Though as much is free as before; the other rigs hear why it failed."""
    one, other = pair
    fake_vllm.tell(other.vllm, fails="torch.OutOfMemoryError: CUDA out of memory")
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: "CUDA out of memory" in one.engine.reason, seconds=40)
    fake_vllm.tell(other.vllm, fails=False)
    await until(lambda: one.engine.state == "ready", seconds=90)
    await until(lambda: other.said("--gpu-memory-utilization") < "0.9", seconds=30)
    assert one.said("--gpu-memory-utilization") == "0.91"
    (told,) = [each for each in one.engine.view().members if each.node == B]
    assert told.cards[0].room < int(0.9 * 16 * GIB)


async def test_an_owner_who_wants_his_pc_back_waits_for_no_look(
    pair: tuple[Party, Party], desks: dict[NodeId, Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is broken off, and made when he lends again."""
    monkeypatch.setattr(lending_module, "_FRESH_SECONDS", -1.0)
    one, _ = pair
    asked = asyncio.Event()

    async def endless() -> VllmOptions:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    look, one.engine._lending._look = one.engine._lending._look, endless
    await one.engine.start()
    await asked.wait()
    async with asyncio.timeout(20):
        await one.engine.release()
    one.engine._lending._look = look
    await one.engine.start()
    await until(lambda: desks[A].looks > 0)
