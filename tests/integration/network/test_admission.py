"""Nodes that get no work, and are told why: over a real NATS server."""

from dataclasses import replace

import pytest
from tests.integration.network.conftest import FakeBooks, MakeNode, until
from tests.integration.network.test_dispatch import read, request

from garage_ai.network.admission import ImageList
from garage_ai.network.errors import DispatchError
from garage_ai.network.network import Network
from garage_ai.wire.messages import EngineImage, Notice
from garage_ai.wire.nkey import KeyPair, Role

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
