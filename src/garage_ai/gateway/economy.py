"""The books of a gateway, opened: the ledger, what may be promised of it, and the bills."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from garage_ai.catalog import Catalog
from garage_ai.gateway.catalogue import NetworkCatalogue
from garage_ai.gateway.metrics import Metrics
from garage_ai.ledger import (
    GAI,
    Allowances,
    FigureJudge,
    Grants,
    Leases,
    Ledger,
    NanoGai,
    Projector,
    UsageWriter,
)
from garage_ai.ledger.flags import Flags
from garage_ai.ledger.prices import ANY_MODEL, PriceList
from garage_ai.ledger.priority import Standings
from garage_ai.ledger.reward_book import Probation
from garage_ai.ledger.reward_jobs import RewardJobs
from garage_ai.ledger.rewards import Rules
from garage_ai.ledger.tariff import expected_speeds, tariff, usual_price
from garage_ai.network import Network
from garage_ai.network.gangs import Part, parts_of
from garage_ai.network.registry import Registry
from garage_ai.network.views import warm_nodes
from garage_ai.serving import Billing, Earner
from garage_ai.settings import GatewaySettings
from garage_ai.storage import MemberId, Storage
from garage_ai.wire.ids import NodeId, new_gateway_id

_UNACCOUNTED: Final = "What was used and could not be billed since the start, in nGAI."


@dataclass(frozen=True, slots=True)
class Economy:
    """What keeps the books, and what bills by them."""

    ledger: Ledger
    grants: Grants
    prices: PriceList
    billing: Billing
    rewards: RewardJobs
    standings: Standings
    usage: UsageWriter


class NodeOwners:
    """Who earns for a node: the member it belongs to, and those of rigs that computed with it."""

    def __init__(self, registry: Registry, probation: Probation) -> None:
        self._registry = registry
        self._probation = probation

    def earners(self, node: str, digest: str) -> Sequence[Earner]:
        """Tell who earns for a node's answer, and how much of it is held back of each."""
        return [self._earner(part) for part in parts_of(self._registry, NodeId(node), digest)]

    def _earner(self, part: Part) -> Earner:
        member = MemberId(self._registry.nodes[part.node].enrolled.member)
        escrow = self._probation.escrow_permille(part.node, member)
        return Earner(part.node, member, escrow, part.parts)


async def open_economy(
    settings: GatewaySettings,
    storage: Storage,
    network: Network,
    stack: AsyncExitStack,
    metrics: Metrics,
    *,
    figures: FigureJudge,
    catalogue: NetworkCatalogue,
) -> Economy:
    """Open all that; `stack` closes it, after the network whose requests it bills.

    Raises: StorageError.
    """
    ledger = Ledger(storage)
    gateway = new_gateway_id()
    leases = Leases(storage, gateway)
    rules = rules_of(settings)
    grants = Grants(storage, ledger, rules)
    projector = Projector.start(storage, leases)
    stack.push_async_callback(projector.close)
    allowances = Allowances.start(leases, grants=grants)
    stack.push_async_callback(allowances.close)
    usage = UsageWriter.start(ledger, on_end=allowances.ended, on_drop=metrics.usage_dropped)
    stack.push_async_callback(usage.close)
    derived = [*tariff(catalogue.catalog), (ANY_MODEL, usual_price(), "any other model")]
    prices = await PriceList.open(storage, derived)
    stack.push_async_callback(prices.close)

    def ready() -> set[NodeId]:
        return warm_nodes(network.registry)

    flags = Flags(storage, figures, gateway)
    jobs = RewardJobs(
        storage,
        ledger,
        rules,
        dict(expected_speeds(catalogue.catalog)),
        ready,
        flags=flags,
        partners=partial(parts_of, network.registry),
    )
    await jobs.start()
    stack.push_async_callback(jobs.close)

    async def reckon_with(catalog: Catalog) -> None:
        jobs.expects(dict(expected_speeds(catalog)))
        await prices.publish(tariff(catalog))

    catalogue.on_change(reckon_with)
    standings = Standings(allowances.balance, rules.grant)
    billing = Billing(
        allowances,
        prices,
        network,
        NodeOwners(network.registry, jobs.probation),
        fee_permille=rules.fee,
        turns=standings,
    )
    watch_economy(metrics, allowances, projector, billing, jobs, usage=usage)
    return Economy(ledger, grants, prices, billing, jobs, standings, usage)


def rules_of(settings: GatewaySettings) -> Rules:
    """Put the economy's figures together."""
    return Rules(
        grant=NanoGai(settings.grant * GAI),
        fee=settings.fee_permille,
        stipend=settings.stipend_permille,
        mint_per_hour=NanoGai(settings.stipend_mint * GAI),
        escrow=settings.escrow_permille,
        probation=timedelta(days=settings.escrow_days),
        proof=NanoGai(settings.escrow_work * GAI),
    )


def watch_economy(
    metrics: Metrics,
    allowances: Allowances,
    projector: Projector,
    billing: Billing,
    jobs: RewardJobs,
    *,
    usage: UsageWriter,
) -> None:
    """Show how the books do."""
    gauge, counter = metrics.gauge, metrics.counter
    gauge("gai_usage_waiting", "Usage and bills not committed yet.", lambda: usage.waiting)
    gauge("gai_reservations_held", "Requests not settled.", lambda: allowances.held)
    counter("gai_unaccounted_nanogai", _UNACCOUNTED, lambda: allowances.unaccounted)
    counter("gai_bills_failed", "Requests that nobody could bill.", lambda: billing.failures)
    counter("gai_projector_failures", "Times that balances waited.", lambda: projector.failures)
    counter(
        "gai_reward_failures", "Times that stipends and releases waited.", lambda: jobs.failures
    )


__all__ = ["Economy", "open_economy", "watch_economy"]
