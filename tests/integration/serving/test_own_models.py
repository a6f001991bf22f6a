"""A model that is added while the gateway runs: known, counted and priced without a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.network.conftest import MakeNode, until
from tests.integration.serving.test_service import Records, call, read
from tests.parts.counted_engine import weights
from tests.parts.manifests import own_manifest
from tests.parts.scripted_node import ScriptedNode
from tests.parts.unbilled import NoBooks, NoLimits

from garage_ai.accounts import Manifests
from garage_ai.catalog import digest_of
from garage_ai.gateway.catalogue import NetworkCatalogue, follow
from garage_ai.gateway.counting import OWN_NODE, open_recount
from garage_ai.gateway.economy import Economy, open_economy
from garage_ai.gateway.metrics import Metrics
from garage_ai.ledger import FigureJudge
from garage_ai.ledger.tariff import expected_speeds, price_of_manifest, usual_price
from garage_ai.network.network import Network
from garage_ai.network.views import warm_nodes
from garage_ai.serving import Service
from garage_ai.settings import GatewaySettings
from garage_ai.storage import Storage
from garage_ai.wire.ids import Digest, NodeId
from garage_ai.wire.messages import ModelServed

pytestmark = pytest.mark.anyio

OWN = own_manifest(rank=5)
DIGEST = Digest(digest_of(OWN))
PATIENCE = 60.0


@dataclass
class Gateway:
    """What a gateway opens over one database and one network."""

    catalogue: NetworkCatalogue
    economy: Economy
    service: Service
    network: Network
    records: Records
    node: ScriptedNode

    async def count_source(self) -> str | None:
        """Ask for an answer, and tell how it was counted."""
        self.records.records.clear()
        await self.node.beat()
        await until(lambda: self.network.registry.pool(OWN.name) is not None)
        await read(await self.service.open(call(model=OWN.name)))
        await until(lambda: self.records.records != [])
        return self.records.one.count_source

    @property
    def is_warm(self) -> bool:
        """Tell whether the node's minutes count."""
        return warm_nodes(self.network.registry) == {NodeId("n0")}


@pytest.fixture
async def gateway(
    storage: Storage, network: Network, make_node: MakeNode, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway to whose network a node lends what is in no catalogue yet.

    The gateway's own node has the file, so that nothing needs to be fetched.
    """
    node = await make_node()
    node.model = ModelServed(OWN.name, DIGEST, slots=2)
    await node.beat()
    await until(lambda: network.registry.pool(OWN.name) is not None)
    place = tmp_path / OWN_NODE / "models" / DIGEST.removeprefix("sha256:")
    place.mkdir(parents=True)
    (place / OWN.weights.path).symlink_to(weights())
    settings, metrics, figures = GatewaySettings(data_dir=tmp_path), Metrics(), FigureJudge()
    records = Records()
    async with AsyncExitStack() as stack:
        catalogue = await NetworkCatalogue.open(Manifests(storage))
        economy = await open_economy(
            settings, storage, network, stack, metrics, figures=figures, catalogue=catalogue
        )
        recount = open_recount(settings, stack, metrics, network, figures, catalogue=catalogue)
        follow(catalogue, network, stack)
        service = Service(network, records, NoLimits(), NoBooks(), recount=recount)
        yield Gateway(catalogue, economy, service, network, records, node)


async def until_counted(gateway: Gateway) -> None:
    """Ask until the tokenizer counts: it is made ready beside requests."""
    async with asyncio.timeout(PATIENCE):
        while await gateway.count_source() != "tokenizer":
            continue


async def test_a_model_that_is_added_is_counted_and_priced_as_its_own(gateway: Gateway) -> None:
    """By its tokenizer and its derived price; the node's minutes and speed count from then on."""
    prices, registry = gateway.economy.prices, gateway.network.registry
    assert await gateway.count_source() == "rule"
    assert prices.price(DIGEST, OWN.name) == usual_price()
    assert not gateway.is_warm
    await gateway.catalogue.add(OWN)
    assert gateway.network.digest(OWN.name) == DIGEST
    assert gateway.network.resolve("garage-chat") == OWN.name
    assert gateway.is_warm
    assert gateway.economy.rewards._expected == dict(expected_speeds(gateway.catalogue.catalog))
    derived = price_of_manifest(OWN)
    assert derived != usual_price()
    await until(lambda: prices.price(DIGEST, OWN.name) == derived)
    await until_counted(gateway)
    assert registry.names.in_catalogue(OWN.name)


async def test_a_model_that_is_removed_is_served_on_and_not_counted(gateway: Gateway) -> None:
    """Its tokens are counted by the rule again, and its price stays in the list."""
    await gateway.catalogue.add(OWN)
    await until_counted(gateway)
    await gateway.catalogue.remove(OWN.name)
    assert await gateway.count_source() == "rule"
    assert not gateway.is_warm
    assert DIGEST not in gateway.economy.rewards._expected
    assert [each.subject for each in gateway.economy.prices.history(DIGEST)] == [DIGEST]
