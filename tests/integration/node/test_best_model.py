"""A node whose owner named no model takes the network's best one that fits its card."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.parts.edge import Edge, running_edge
from tests.parts.manifests import bare_manifest
from tests.parts.teller import Handler, Teller, page

from garage_ai.catalog import DEFAULT_MODEL, InFolder, Manifest, ModelFile, OnHuggingFace
from garage_ai.cli.node_choice import Said, choose
from garage_ai.node import network_models
from garage_ai.node.catalogue import known_models
from garage_ai.node.engines.cards import Seat
from garage_ai.node.errors import GatewayAway
from garage_ai.node.events import Done, Event, Unlisted
from garage_ai.node.folder import Choice, NodeFolder, Record
from garage_ai.node.gateway_client import GatewayClient
from garage_ai.node.guard.limits import Limits, save_limits
from garage_ai.node.hardware.models import Gpu
from garage_ai.node.join import Tell, join
from garage_ai.node.network_models import pick

pytestmark = pytest.mark.anyio

GIB = 1 << 30
CARD = Gpu(name="NVIDIA GeForce RTX 3060", uuid="GPU-1", total=12 * GIB, free=2 * GIB)
OPEN = Choice(sandbox="none")

Picked = Callable[..., Awaitable[tuple[str, ...]]]


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """A gateway with real accounts."""
    async with running_edge(tmp_path / "edge") as running:
        yield running


@pytest.fixture
async def gateway(edge: Edge) -> AsyncIterator[Teller]:
    """The same one, with a list of models."""
    teller = Teller(behind=edge.url)
    await teller.start()
    yield teller
    await teller.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeFolder:
    """A node's new folder, from which a gateway that is away is soon given up."""
    hasty = functools.partial(GatewayClient, first_wait=0.01)
    monkeypatch.setattr("garage_ai.node.join.GatewayClient", hasty)
    return NodeFolder(tmp_path / "node")


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """The cards of this PC: one, in which a game runs."""
    cards = [CARD]

    async def find_seat(_: Choice) -> Seat:
        return Seat(tuple(cards))

    monkeypatch.setattr(network_models, "find_seat", find_seat)
    return cards


def model(name: str, size: int, rank: int, **changed: object) -> Manifest:
    source = OnHuggingFace(repo=f"org/{name}", revision="main")
    return bare_manifest(name, size, **{"rank": rank, "sources": (source,)} | changed)


@pytest.fixture
async def picked(gateway: Teller, folder: NodeFolder) -> AsyncIterator[Picked]:
    """Have a model picked."""
    async with GatewayClient(gateway.url, first_wait=0.01, seconds=1) as client:

        async def models(choice: Choice = OPEN) -> tuple[str, ...]:
            return (await pick(choice, folder.path, client, lambda _: None)).models

        yield models


async def typed(
    gateway: Teller, folder: NodeFolder, secret: str, said: Said, tell: Tell = lambda _: None
) -> Record:
    """Join as `gai node join` does with such options."""
    choice = choose(Choice(), said | Said(sandbox="none"))
    return await join(gateway.url, secret, folder, choice=choice, name="rig", tell=tell)


async def token(edge: Edge) -> str:
    made = await edge.services.tokens.create()
    assert made.secret is not None
    return made.secret


async def test_it_joins_with_the_best_that_fits(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """Told at once, kept from then on, and never chosen anew behind the owner's back."""
    gateway.tells(model("small", GIB, 1))
    gateway.tells(model("right", 7 * GIB, 2))
    gateway.tells(model("huge", 20 * GIB, 3))
    told = list[Event]()
    record = await typed(gateway, folder, await token(edge), Said(), told.append)
    assert record.choice.models == folder.load().choice.models == ("right",)
    assert [each for each in told if isinstance(each, Done) and each.step == "pick"] == [
        Done("pick", "right")
    ]
    gateway.tells(model("better", 8 * GIB, 9))
    again = await typed(gateway, folder, "", Said())
    assert again.choice == record.choice
    await gateway.stop()
    away = await typed(gateway, folder, "", Said())
    assert away.choice == folder.load().choice == record.choice


async def test_what_the_owner_named_once_stays_until_he_names_another(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """Joining again without a name is no wish for another model, and other cards are one."""
    gateway.tells(model("small", GIB, 1))
    gateway.tells(model("best", 7 * GIB, 2))
    named = await typed(gateway, folder, await token(edge), Said(models=["small"]))
    again = await typed(gateway, folder, "", Said())
    assert again.choice == named.choice == choose(OPEN, Said(models=["small"]))
    other = await typed(gateway, folder, "", Said(models=["best"]))
    assert (other.choice.models, other.choice.picked) == (("best",), False)


async def test_what_was_picked_for_cards_is_picked_anew_for_others(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """On the processor that is the small model, as at a first join."""
    gateway.tells(model("best", 7 * GIB, 2))
    assert (await typed(gateway, folder, await token(edge), Said())).choice.picked
    seat.clear()
    processor = await typed(gateway, folder, "", Said(gpus=["none"]))
    assert (processor.choice.models, processor.choice.picked) == ((), False)


async def test_what_the_network_takes_back_is_kept_to_no_longer(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """Of what it still describes the best is picked when the owner joins again."""
    gateway.tells(model("best", 7 * GIB, 2))
    await typed(gateway, folder, await token(edge), Said())
    gateway.listed.clear()
    del gateway.says["best"]
    gateway.tells(model("second", 6 * GIB, 1))
    again = await typed(gateway, folder, "", Said())
    assert (again.choice.models, again.choice.picked) == (("second",), True)


async def test_smaller_forms_are_kept_beside_what_was_picked(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """The largest three; other models, and forms of what an owner named, are not."""
    gateway.tells(model("best", 7 * GIB, 2))
    for size in (6, 5, 4, 3):
        gateway.tells(model(f"best-{size}", size * GIB, 1))
    gateway.tells(model("other", 5 * GIB, 1, family="else"))
    gateway.tells(model(DEFAULT_MODEL, 6 * GIB + 1, 1))
    await typed(gateway, folder, await token(edge), Said(models=["best"]))
    assert {"best-6", "other"}.isdisjoint(each.name for each in known_models(folder.path))
    folder.forget()
    await typed(gateway, folder, await token(edge), Said())
    known = {each.name for each in known_models(folder.path)}
    assert known >= {"best", "best-6", "best-5"}
    assert known.isdisjoint({"best-3", "other"})


UNREAD: list[Handler] = [
    page(b"<html>"),
    page(b" " * (8 << 20) + b'{"data": []}'),
    page(b'{"error": {"code": "not_found"}}', 404),
]


@pytest.mark.parametrize("listing", UNREAD, ids=["no JSON", "too long", "no list"])
async def test_an_owner_is_told_that_the_list_could_not_be_read(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder, listing: Handler
) -> None:
    """The node serves the small model meanwhile, and picks when it joins again."""
    gateway.tells(model("best", 7 * GIB, 2))
    gateway.listing = listing
    told = list[Event]()
    record = await typed(gateway, folder, await token(edge), Said(), told.append)
    assert record.choice.models == ()
    assert Unlisted(DEFAULT_MODEL) in told
    assert not [each for each in told if isinstance(each, Done) and each.step == "pick"]
    gateway.listing = None
    assert (await typed(gateway, folder, "", Said())).choice.models == ("best",)


async def test_a_gateway_that_cannot_help_costs_no_token(
    gateway: Teller, edge: Edge, seat: list[Gpu], folder: NodeFolder
) -> None:
    """Its own words are the owner's; a node that is let in already serves what it has."""
    gateway.listing = page(b'{"error": {"message": "too busy"}}', 503)
    secret = await token(edge)
    with pytest.raises(GatewayAway, match="too busy"):
        await typed(gateway, folder, secret, Said())
    assert gateway.enrolled == 0
    gateway.listing = None
    assert (await typed(gateway, folder, secret, Said())).choice.models == ()
    await gateway.stop()
    told = list[Event]()
    assert (await typed(gateway, folder, "", Said(), told.append)).choice.models == ()
    assert Unlisted(DEFAULT_MODEL) in told


async def test_what_a_list_may_hold_besides(
    gateway: Teller, seat: list[Gpu], picked: Picked
) -> None:
    """Lies, models of other kinds and for other engines, and such as lie on another's disk."""
    assert await picked() == ()
    gateway.lists({"name": "huge"})
    gateway.lists(["nonsense"])
    gateway.lists({"digest": "sha256:" + "0" * 64, "name": "lie", "manifest": {}})
    gateway.tells(model("vectors", GIB, 9, kind="embedding"))
    shards = tuple(ModelFile(path=p, size=7, sha256="0" * 64) for p in ("a.safetensors", "b.json"))
    gateway.tells(model("shards", GIB, 9, files=shards))
    gateway.tells(model("here", GIB, 9, sources=(InFolder(folder="/etc"),)))
    assert await picked() == ()
    gateway.tells(model("right", GIB, 1))
    assert await picked() == ("right",)


async def test_where_nothing_is_to_be_chosen(
    gateway: Teller, seat: list[Gpu], picked: Picked
) -> None:
    """The owner's own word, another engine, and no card."""
    gateway.tells(model("right", GIB, 1))
    named = msgspec.structs.replace(OPEN, models=(DEFAULT_MODEL,))
    assert await picked(named) == (DEFAULT_MODEL,)
    assert await picked(Choice(engine="external", engine_url="http://127.0.0.1:1")) == ()
    assert await picked() == ("right",)
    seat.clear()
    assert await picked() == ()


async def test_the_owners_room_on_the_disk_is_kept_to(
    gateway: Teller, seat: list[Gpu], tmp_path: Path
) -> None:
    """A limit that he set before, and what is free."""
    gateway.tells(model("right", 7 * GIB, 2))
    gateway.tells(model("small", GIB, 1))
    save_limits(tmp_path, Limits(disk=2 * GIB))
    async with GatewayClient(gateway.url, first_wait=0.01, seconds=1) as client:
        assert (await pick(OPEN, tmp_path, client, lambda _: None)).models == ("small",)
