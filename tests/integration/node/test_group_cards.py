"""From what two rigs measured and lend to what their vLLM is started with, or to why it is not.

The rigs' links are real and their figures are given; cards are facts, and a server is in vLLM's
place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
from tests.integration.node.test_session import Node
from tests.parts.job_caller import until
from tests.parts.nats import NatsProcess
from tests.parts.parties import A, B, Party, free_places

from garage_ai.catalog import KNOWN, QUANTISATIONS, Place, Unweighed, Weighed
from garage_ai.cli.group_status import group_rows
from garage_ai.cli.reason_words import in_swedish
from garage_ai.network.authority import Authority
from garage_ai.node.engines.vllm_options import Lent
from garage_ai.node.group import link as link_module
from garage_ai.node.group.by_cards import by_cards
from garage_ai.node.group.messages import Measured, Wished
from garage_ai.wire.ids import NodeId

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

GIB = 1 << 30
NEXT = Weighed(KNOWN["Qwen3-Next-80B-A3B-Instruct"].shape, QUANTISATIONS["int4-experts"])
NONE = Wished()
SETS_OF_TWO, SETS_OF_FOUR = Wished(tensor=2), Wished(tensor=4)
UNKNOWN = Unweighed(16)


class Pair(Protocol):
    """Makes both rigs, of which none lends yet."""

    def __call__(
        self,
        *rooms: tuple[int, ...],
        model: Weighed | Unweighed = NEXT,
        wish: Wished = NONE,
        both: bool = False,
        gbit: float = 0.94,
        rtt_ms: float = 0.3,
    ) -> tuple[Party, Party]: ...


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Rigs whose cards have so many GiB each; the second one's owner wishes."""
    async with AsyncExitStack() as stack:

        def make(
            *rooms: tuple[int, ...],
            model: Weighed | Unweighed = NEXT,
            wish: Wished = NONE,
            both: bool = False,
            gbit: float = 0.94,
            rtt_ms: float = 0.3,
        ) -> tuple[Party, Party]:
            def given(node: NodeId, _rtt_ms: float, _gbit: float) -> Measured:
                return Measured(node, rtt_ms, gbit)

            monkeypatch.setattr(link_module, "Measured", given)
            places = free_places()
            made = []
            for me, held, wished in zip((A, B), rooms, (wish if both else NONE, wish), strict=True):
                cards = tuple(Place(f"a card of {room}", room * GIB, None, (8, 9)) for room in held)
                lent = Lent(cards, model)
                party = Party(tmp_path / me, me, places, by_cards(model), wish=wished, lent=lent)
                stack.push_async_callback(party.engine.stop)
                made.append(party)
            return made[0], made[1]

        yield make


@pytest.fixture
def node(nats: NatsProcess, authority: Authority, tmp_path: Path) -> Node:
    """The first rig's agent, which is not yet started."""
    return Node(tmp_path / "node", authority, nats.tcp_url)


async def served(one: Party, other: Party) -> None:
    await asyncio.gather(one.engine.start(), other.engine.start())
    await until(lambda: one.engine.state == "ready", seconds=60)
    # The first rank answers, which does not say that the others have come so far.
    await until(lambda: other.has_run, seconds=60)


async def test_a_slow_link_makes_a_pipeline_of_whole_layers(pair: Pair) -> None:
    """Each rig has a stage of its own cards, and all of it was the planner's word."""
    one, other = pair((15, 15), (15, 15))
    await served(one, other)
    for rank, party in enumerate((one, other)):
        said = {
            option: party.said(option)
            for option in (
                "--tensor-parallel-size",
                "--pipeline-parallel-size",
                "--nnodes",
                "--node-rank",
                "--master-addr",
                "--max-model-len",
                "--max-num-seqs",
                "--dtype",
                "--gpu-memory-utilization",
            )
        }
        assert said == {
            "--tensor-parallel-size": "2",
            "--pipeline-parallel-size": "2",
            "--nnodes": "2",
            "--node-rank": str(rank),
            "--master-addr": "10.213.0.1",
            "--max-model-len": "32768",
            "--max-num-seqs": "8",
            "--dtype": "auto",
            "--gpu-memory-utilization": "0.9",
        }
        assert ("--headless" in party.argv) == (rank > 0)
        assert "--enforce-eager" not in party.argv
        assert party.environment["VLLM_PP_LAYER_PARTITION"] == "24,24"
        assert party.environment["VLLM_HOST_IP"] == f"10.213.0.{rank + 1}"
        assert party.environment["NCCL_SOCKET_IFNAME"] == f"gai{'ab'[rank]}"
    (offer,) = one.engine.offers
    assert (offer.context, offer.slots) == (32_768, 8)


async def test_a_fast_link_carries_the_set_that_an_owner_wishes(pair: Pair) -> None:
    """One owner's word is both rigs', and the context is what then fits."""
    one, other = pair((15, 15), (15, 15), wish=SETS_OF_FOUR, gbit=10.0)
    await served(one, other)
    for party in (one, other):
        assert party.said("--tensor-parallel-size") == "4"
        assert "--pipeline-parallel-size" not in party.argv
        assert party.said("--max-model-len") == "16384"
        assert "VLLM_PP_LAYER_PARTITION" not in party.environment


async def test_a_model_nobody_can_weigh_goes_over_the_cards_that_are_wished_for(
    pair: Pair,
) -> None:
    """Neither rig begins alone; vLLM deals out the layers, and says itself if they do not fit."""
    one, other = pair((15,), (15,), model=UNKNOWN, wish=SETS_OF_TWO, both=True, gbit=10.0)
    await served(one, other)
    for party in (one, other):
        assert party.said("--tensor-parallel-size") == party.said("--nnodes") == "2"
        assert party.said("--max-model-len") == "512"
        assert "VLLM_PP_LAYER_PARTITION" not in party.environment


@pytest.mark.parametrize(
    ("make", "said", "swedish"),
    [
        (
            lambda pair: pair((15, 15), (15, 15), wish=SETS_OF_FOUR),
            "a and b have 0.94 Gbit/s between them, less than 8",
            "a och b har 0.94 Gbit/s mellan sig, mindre än 8",
        ),
        (
            lambda pair: pair((15,), (15,), model=UNKNOWN, wish=SETS_OF_TWO, both=True),
            "a and b have 0.94 Gbit/s between them, less than 8",
            "a och b har 0.94 Gbit/s mellan sig, mindre än 8",
        ),
        (
            lambda pair: pair((15, 11), (15, 11), wish=SETS_OF_TWO),
            "the cards of a are not equal",
            "korten i a är inte lika",
        ),
        (
            lambda pair: pair((15, 15), (15, 15), rtt_ms=8.0),
            "a to b and back takes 8 ms, more than 2",
            "a till b och tillbaka tar 8 ms, mer än 2",
        ),
        (
            lambda pair: pair((15,), (15,)),
            "2 cards are 8.7 GiB short each",
            "2 kort har 8.7 GiB för lite var",
        ),
    ],
    ids=["bandwidth", "of any model", "unequal cards", "trip", "memory"],
)
async def test_a_refusal_reaches_the_owner(
    pair: Pair,
    node: Node,
    make: Callable[[Pair], tuple[Party, Party]],
    said: str,
    swedish: str,
) -> None:
    """In `gai node status`, in his language, with what was measured; nothing was started."""
    one, other = make(pair)
    session = node.start_with(one.engine)
    try:
        await other.engine.start()
        await until(lambda: said in session.status().engine.reason, seconds=30)
        await until(lambda: said in other.engine.reason, seconds=30)
        status = session.status()
        assert (status.engine.state, status.models) == ("loading", ())
        assert swedish in in_swedish(status.engine.reason)
        assert status.group is not None
        rows = [row for _, row in group_rows(status.group, A)]
        (link,) = status.group.links
        assert any(f"{link.rtt_ms:g} ms, {link.gbit:g} Gbit/s" in row for row in rows)
        assert not one.has_run
        assert not other.has_run
    finally:
        await node.stop()
