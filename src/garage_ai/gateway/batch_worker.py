"""The gateway's part in the work of batches, opened: what it lends the worker."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from garage_ai.accounts import Limits
from garage_ai.batch import Desk, FileStore, ReadRequest
from garage_ai.batch.worker.bills import ItemBills
from garage_ai.batch.worker.items import Items
from garage_ai.batch.worker.promises import Promises
from garage_ai.batch.worker.worker import Worker
from garage_ai.gateway.batch_engines import Engines
from garage_ai.gateway.economy import Economy
from garage_ai.gateway.metrics import Metrics
from garage_ai.network import Network
from garage_ai.network.dedications import Dedications
from garage_ai.serving import Recount, Service
from garage_ai.storage import Storage
from garage_ai.wire.ids import new_gateway_id


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """What chat has in a gateway, and items are done with, too."""

    storage: Storage
    network: Network
    economy: Economy
    limits: Limits
    recount: Recount
    metrics: Metrics

    def promises(self) -> Promises:
        """Make what sets aside what batches may cost."""
        economy = self.economy
        give = economy.grants.give
        return Promises(self.storage, economy.prices, self.network, self.limits, give)

    def open_engines(self, stack: AsyncExitStack, desk: Desk) -> Engines:
        """Begin to have engines made for batches alone; `stack` ends that."""
        network = self.network
        waits = network.dispatcher.placement.waits
        dedications = Dedications(network.registry, network.control, waits).start()
        stack.push_async_callback(dedications.close)
        return Engines(network, dedications, desk, self.limits)

    def open_worker(
        self,
        stack: AsyncExitStack,
        *,
        store: FileStore,
        read: ReadRequest,
        desk: Desk,
        engines: Engines,
        lease_seconds: float,
    ) -> Worker:
        """Begin to do items; `stack` ends that, before what they are done with is closed."""
        economy = self.economy
        bills = ItemBills(economy.billing, economy.prices, self.network)
        serving = Service(
            self.network,
            bills,
            self.limits,
            bills,
            observe=self.metrics.observe_batch,
            recount=self.recount,
        )
        name = new_gateway_id()
        worker = Worker(
            Items(self.storage, economy.ledger, name, seconds=lease_seconds),
            serving,
            bills,
            store=store,
            read=read,
            desk=desk,
            capacity=engines,
            weights=economy.standings,
        ).start()
        stack.push_async_callback(worker.close)
        watch_worker(self.metrics, worker)
        return worker


def watch_worker(metrics: Metrics, worker: Worker) -> None:
    """Show how the work goes."""
    gauge, counter, counts = metrics.gauge, metrics.counter, worker.ends.counts
    gauge("gai_batch_items_running", "Items of batches that run.", lambda: worker.running)
    waiting = "Items of batches whose ends are not committed."
    gauge("gai_batch_ends_waiting", waiting, lambda: worker.ends.waiting)
    late = "Results of batches that came too late and were refused."
    counter("gai_batch_results_late", late, lambda: counts.late)
    unbilled = "What items of batches cost and could not be billed since the start, in nGAI."
    counter("gai_batch_unbilled_nanogai", unbilled, lambda: counts.unbilled)
    failures = "Times that the batch worker did not reach the database."
    counter("gai_batch_worker_failures", failures, lambda: worker.failures)


__all__ = ["WorkPlace", "watch_worker"]
