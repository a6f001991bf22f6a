"""The engines of batches: those that are everybody's, and those that are made for one alone."""

from collections.abc import Iterable
from typing import Final

from garage_ai.accounts import Key
from garage_ai.batch import DEDICATED, Batch, BatchId, Desk, LineRefused
from garage_ai.batch.worker.items import Line, Queue
from garage_ai.network import Network
from garage_ai.network.dedication import Job
from garage_ai.network.dedications import DedicatedView, Dedications
from garage_ai.network.models import Target
from garage_ai.network.router import Wanted, slots_for
from garage_ai.network.sharing import alike, narrow_owners
from garage_ai.serving import ServingError
from garage_ai.serving.admission import Limits, models_for

REFUSED: Final = Line("")
"""What no node is asked, as its key is refused: of it so many at a time are told so."""
_TOLD_AT_ONCE: Final = 32


class Engines:
    """What the network could do at once for batches."""

    def __init__(
        self, network: Network, dedications: Dedications, desk: Desk, limits: Limits
    ) -> None:
        self._network = network
        self._dedications = dedications
        self._desk = desk
        self._limits = limits

    def lines(self, queues: Iterable[Queue]) -> dict[BatchId, Line]:
        """Say of which line each batch's items are now; one line for all that are served alike."""
        owners: dict[Target, frozenset[str]] = {}
        return {queue.batch: self._line(queue, owners) for queue in queues}

    def slots(self, line: Line) -> dict[str, int]:
        """Count the slots of each node that may serve a line now."""
        if line == REFUSED:
            return {"": _TOLD_AT_ONCE}
        pool = self._network.registry.pool(line.model, line.job)
        if pool is None:
            return {}
        places = (None,) if line.regions is None else sorted(line.regions)
        wanted = [Wanted(each, member=line.asker, priority="batch") for each in places]
        return {str(node): slots for node, slots in slots_for(pool, wanted).items()}

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

    def _line(self, queue: Queue, owners: dict[Target, frozenset[str]]) -> Line:
        """Give a batch's line; `owners` keeps what was found out of each pool."""
        try:
            job = self._job(queue.batch, queue.model, self._desk.key(queue.key))
        except LineRefused:
            return REFUSED
        except ServingError:
            return Line(queue.model, queue.job)
        if job.regions is not None and not job.regions:
            return REFUSED
        target = Target(job.model, queue.job)
        if target not in owners:
            pool = self._network.registry.pool(*target) or ()
            owners[target] = narrow_owners(replica.node for replica in pool)
        return Line(*target, job.regions, alike(job.member, owners[target]))

    def _job(self, batch: BatchId, model: str, key: Key) -> Job:
        allowed = models_for(key, model, self._limits)
        served = self._network.resolve(model, key.member, allowed, job=batch)
        regions = self._limits.regions(key)
        if key.region is not None:
            bound = frozenset({key.region})
            regions = bound if regions is None else bound & regions
        return Job(batch, served, key.member, regions)


__all__ = ["Engines"]
