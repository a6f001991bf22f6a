"""Nodes that get no work, and are told why: over a real NATS server."""

import asyncio
import time
from dataclasses import replace

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.integration.network.conftest import SMALL, FakeBooks, MakeNode, until
from tests.integration.network.test_dispatch import read, request

from garage_ai.network.admission import ImageList
from garage_ai.network.errands import MOST
from garage_ai.network.errors import DispatchError
from garage_ai.network.names import KnownClaim, KnownModel
from garage_ai.network.network import Network
from garage_ai.network.pace import BURST, CLAIMS, CLAIMS_PER_SECOND, PER_SECOND
from garage_ai.network.registry import Claim
from garage_ai.wire import subjects
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.messages import EngineImage, Notice, Renew, encode_message
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.session import Message

pytestmark = pytest.mark.anyio

PULLED = EngineImage("sha256:" + "9" * 64)


async def test_who_was_suspended_at_another_gateway_gets_no_work(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The books say so; resumed there, the node serves again."""
    node = await make_node()
    monkeypatch.setattr("garage_ai.network.network.COMPARE_SECONDS", 0.0)
    before = books.enrolled[node.id]
    books.enrolled[node.id] = replace(before, suspended=True)
    await until(lambda: network.nodes()[0].refused is not None)
    with pytest.raises(DispatchError):
        await network.open(request())
    books.enrolled[node.id] = before
    await until(lambda: network.nodes()[0].refused is None)
    assert await read(await network.open(request()))


async def test_an_image_waits_for_an_administrator_at_any_gateway(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is told and left alone; a decision made elsewhere is found in the books."""
    node = await make_node()
    node.image = PULLED
    await node.beat()
    await until(lambda: bool(node.controls))
    [notice] = node.controls
    assert isinstance(notice, Notice)
    assert notice.code == "image_not_approved"
    with pytest.raises(DispatchError):
        await network.open(request())
    [view] = network.nodes()
    assert view.refused is not None
    assert (view.state, view.image_state, view.refused.code) == ("joining", "pending", notice.code)

    monkeypatch.setattr("garage_ai.network.network.COMPARE_SECONDS", 0.0)
    books.decided = ImageList(approved=frozenset({PULLED.digest}))
    await until(lambda: len(node.controls) > 1)
    assert node.controls[-1] == Notice("admitted", "The network gives this node work again.")
    assert await read(await network.open(request()))


async def test_a_claim_is_made_anew_if_the_catalogue_takes_its_name_meanwhile(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first one is about a name that nobody had."""
    node = await make_node()
    asked: list[bool] = []
    answered = asyncio.Event()

    async def claim(_name: str, _member: str, _digest: Digest, *, reserved: bool) -> bool:
        asked.append(reserved)
        await answered.wait()
        return not reserved

    monkeypatch.setattr(books, "claim", claim)
    own = Digest("sha256:" + "d" * 64)
    node.model = msgspec.structs.replace(node.model, name="own", digest=own)
    await node.beat()
    await until(lambda: asked == [False])
    theirs = KnownModel("own", Digest("sha256:" + "c" * 64), "chat", 8192, rank=0)
    network.catalogue_is([SMALL, theirs])
    answered.set()
    async with asyncio.timeout(20):
        while asked != [False, True]:
            await node.beat()
            await asyncio.sleep(0.01)
    assert [view for view in network.models() if view.name == "own"] == []


async def test_a_name_is_claimed_once_and_its_approval_is_found_in_the_books(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often its node beats, nothing is written; whoever approved it, it is served."""
    node = await make_node()
    asked, claim = list[str](), books.claim

    async def counted(name: str, member: str, digest: Digest, *, reserved: bool) -> bool:
        asked.append(name)
        return await claim(name, member, digest, reserved=reserved)

    monkeypatch.setattr(books, "claim", counted)
    own = Digest("sha256:" + "d" * 64)
    theirs = KnownClaim("own", "mbr_other", own, admitted=True, by_admin=False)
    books.claimed = [theirs]
    node.model = msgspec.structs.replace(node.model, name="own", digest=own)
    await node.beat()
    await until(lambda: bool(node.controls))
    [told] = node.controls
    assert isinstance(told, Notice)
    assert told.code == "model_name_taken"
    for _ in range(3):
        heard = len(books.beats)
        await node.beat()
        await until(lambda heard=heard: len(books.beats) > heard)  # type: ignore[misc]
    assert asked == ["own"]
    [_, mine] = books.claimed
    books.claimed = [theirs, replace(mine, admitted=True, by_admin=True)]
    network.compare()
    await until(lambda: network.registry.pool("own") is not None)
    assert asked == ["own"]


async def test_no_nodes_many_names_keep_all_else_out(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a thousand claims wait for the books, a suspension elsewhere is still found in them."""
    node = await make_node()
    asked = list[str]()

    async def claim(name: str, _member: str, _digest: Digest, *, reserved: bool) -> bool:
        asked.append(name)
        await asyncio.Event().wait()
        return reserved

    monkeypatch.setattr(books, "claim", claim)
    own = Digest("sha256:" + "d" * 64)
    network._apply([Claim(node.id, "mbr_n0", f"own-{number}", own) for number in range(1000)])
    await until(lambda: len(asked) == MOST["claim"])
    monkeypatch.setattr("garage_ai.network.network.COMPARE_SECONDS", 0.0)
    books.enrolled[node.id] = replace(books.enrolled[node.id], suspended=True)
    await until(lambda: network.nodes()[0].refused is not None)
    assert len(asked) == MOST["claim"]


async def test_other_names_in_each_beat_are_asked_for_now_and_then(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node keeps the database and the log no busier than so."""
    node = await make_node()
    asked, begun = list[str](), time.monotonic()

    async def claim(name: str, _member: str, _digest: Digest, *, reserved: bool) -> bool:
        asked.append(name)
        return reserved

    monkeypatch.setattr(books, "claim", claim)
    own = Digest("sha256:" + "d" * 64)
    for number in range(1000):
        network._apply([Claim(node.id, "mbr_n0", f"own-{number}", own)])
        await until(lambda: not network._claiming)
    passed = time.monotonic() - begun
    assert CLAIMS <= len(asked) <= CLAIMS + CLAIMS_PER_SECOND * passed


async def test_beats_that_cannot_be_read_do_not_fill_the_log(
    network: Network, make_node: MakeNode
) -> None:
    """A node may send them as fast as its line allows; a stranger's are not told at all."""
    node, begun = await make_node(), time.monotonic()
    with capture_logs() as logs:
        for _ in range(1000):
            for each in (node.id, NodeId("stranger")):
                network._heard_beat(Message(subjects.beat(None, each), b"\xc1", "", False))
    passed = time.monotonic() - begun
    told = [entry["node"] for entry in logs if entry["event"] == "bad_beat"]
    assert set(told) == {node.id}
    assert len(told) <= BURST + PER_SECOND * passed


async def test_no_many_unknown_nodes_keep_all_else_out(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a thousand look-ups wait a JWT is renewed; one not begun may be asked for again."""
    node = await make_node()
    waits = asyncio.Event()

    async def look_up(_: NodeId) -> None:
        await waits.wait()

    async def renew(_: NodeId) -> str:
        await waits.wait()
        return "a.jwt"

    monkeypatch.setattr(books, "node", look_up)
    for number in range(1000):
        network._look_up(NodeId(f"nobody{number}"))
    assert len(network._unknown) == MOST["look_up"]
    session = network.registry.nodes[node.id].session
    assert session is not None
    asks = Message(subjects.renew(node.id), encode_message(Renew(session)), "", False)
    network._heard_renewal(asks)
    await until(lambda: books.renewals == [node.id])
    network.remove(node.id)
    assert node.id not in network._renewed

    monkeypatch.setattr(books, "renew", renew)
    network.enrol(books.enrolled[node.id])
    for number in range(MOST["renew"]):
        assert network._errands.begin("renew", network._renew(NodeId(f"other{number}")))
    await node.beat()
    await until(lambda: network.registry.nodes[node.id].session == session)
    network._heard_renewal(asks)
    assert node.id not in network._renewed
    waits.set()


async def test_a_key_that_was_replaced_elsewhere_is_found_in_the_books(
    network: Network, make_node: MakeNode, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rig signs with it counts here too; nothing else of the node changes."""
    node = await make_node()
    fresh = KeyPair.generate(Role.USER).public
    monkeypatch.setattr("garage_ai.network.network.COMPARE_SECONDS", 0.0)
    books.enrolled[node.id] = replace(books.enrolled[node.id], public_key=fresh)
    await until(lambda: network.registry.nodes[node.id].enrolled.public_key == fresh)
    assert await read(await network.open(request()))
