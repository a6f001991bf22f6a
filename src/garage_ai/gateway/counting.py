"""The gateway's own count of what was used: opened beside the network, closed before the books."""

from contextlib import AsyncExitStack
from typing import Final

from garage_ai.catalog import Catalog
from garage_ai.gateway.catalogue import NetworkCatalogue
from garage_ai.gateway.metrics import Metrics
from garage_ai.ledger import FigureJudge, Librarian, Library, TokenMeter
from garage_ai.network import Network
from garage_ai.serving import Recount
from garage_ai.settings import GatewaySettings

TOKENIZERS: Final = "tokenizers"
OWN_NODE: Final = "local-node"
"""Folders below data_dir: what counts is kept in one, the other is the node's of `gai up`."""


def open_recount(
    settings: GatewaySettings,
    stack: AsyncExitStack,
    metrics: Metrics,
    network: Network,
    judge: FigureJudge,
    *,
    catalogue: NetworkCatalogue,
) -> Recount:
    """Begin to count; tokenizers come while the gateway runs, and until then the rule holds."""
    folder = settings.data_dir / TOKENIZERS
    library = Library(folder, catalogue.catalog, stores=(settings.data_dir / OWN_NODE,))
    meter = TokenMeter.start(folder, metrics.counted, library.knows)
    stack.push_async_callback(meter.close)
    librarian = Librarian(library, meter, lambda: [view.digest for view in network.models()])
    librarian.start()
    stack.push_async_callback(librarian.close)

    async def look_for(catalog: Catalog) -> None:
        librarian.catalogue_is(catalog)

    catalogue.on_change(look_for)
    watch_counts(metrics, meter, judge)
    return Recount(meter, judge)


def watch_counts(metrics: Metrics, meter: TokenMeter, judge: FigureJudge) -> None:
    """Show how counting does."""
    waiting = "Requests whose tokens are being counted."
    metrics.gauge("gai_counts_waiting", waiting, lambda: meter.waiting)
    flagged = "Models on nodes whose engines' token figures are off."
    metrics.gauge("gai_figures_flagged", flagged, lambda: judge.flagged)


__all__ = ["open_recount", "watch_counts"]
