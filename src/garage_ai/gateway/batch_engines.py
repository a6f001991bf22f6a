"""The engines of batches: those that are everybody's, and those that are made for one alone."""

from garage_ai.accounts import Key
from garage_ai.batch import DEDICATED, Batch, BatchId, Desk, LineRefused
from garage_ai.batch.worker.items import Line, Queue
from garage_ai.network import Network
from garage_ai.network.dedication import Job
from garage_ai.network.dedications import DedicatedView, Dedications
from garage_ai.serving import ServingError
from garage_ai.serving.admission import Limits, models_for


class Engines:
    """What the network could do at once for batches."""

    def __init__(
        self, network: Network, dedications: Dedications, desk: Desk, limits: Limits
    ) -> None:
        self._network = network
        self._dedications = dedications
        self._desk = desk
        self._limits = limits

    def slots(self, line: Line) -> int:
        """Count the slots of all nodes that serve a model or alias now."""
        try:
            model = self._network.resolve(line.model, job=line.job)
        except ServingError:
            return 0
        pool = self._network.registry.pool(model, line.job)
        return 0 if pool is None else pool.slots

    def want(self, queue: Queue, *, hungry: bool) -> None:
        """Have engines made for a batch alone, where its key still works."""
        try:
            job = self._job(queue.batch, queue.model, self._desk.key(queue.key))
        except (LineRefused, ServingError):
            return
        self._dedications.want(job, hungry=hungry)

    def over(self, batch: BatchId) -> None:
        """Have the engines removed that were made for a batch, if any were."""
        self._dedications.end(batch)

    def view(self, batch: Batch) -> DedicatedView | None:
        """Tell how a batch stands that is to have engines of its own; None for all others."""
        if batch.isolation != DEDICATED or batch.status != "in_progress" or batch.model is None:
            return None
        try:
            return self._dedications.view(
                self._job(batch.id, batch.model, self._desk.key(batch.key_id))
            )
        except (LineRefused, ServingError):
            return DedicatedView("waiting", obstacle="no_node")

    def _job(self, batch: BatchId, model: str, key: Key) -> Job:
        allowed = models_for(key, model, self._limits)
        served = self._network.resolve(model, key.member, allowed, job=batch)
        regions = self._limits.regions(key)
        if key.region is not None:
            regions = frozenset({key.region})
        return Job(batch, served, key.member, regions)


__all__ = ["Engines"]
