"""Have engines made for jobs alone, for as long as they are wanted. The shell around `dedication`.

A node is asked and asked again; one that is not asked any more takes itself back, so a gateway that
dies leaves nothing behind. All gateways hear which node serves which job; any of them may go on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self

import structlog

from garage_ai.network.dedication import Job, Obstacle, candidate, chat_needs, holders
from garage_ai.network.models import Node, Replica, Target
from garage_ai.network.registry import Registry
from garage_ai.network.sharing import told
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import Control, Dedicate, Undedicate

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
RENEW_SECONDS: Final = 10.0
LEASE_SECONDS: Final = 45.0
"""How long a node serves a job without being asked again; three askings may be lost."""
ANSWER_SECONDS: Final = 15.0
"""A node beats at once when it has given itself to a job; who has not by then is not going to."""
PREPARE_SECONDS: Final = 1800.0
"""An engine that is not there by then is not waited for; for as long another node is to make it."""
REFUSED_SECONDS: Final = 60.0
WANTED_SECONDS: Final = 3.0
"""Who wants an engine says so again and again; silent for so long, he has all he wanted."""
FORGET_SECONDS: Final = 120.0
"""What is known of who refused is kept so long for who may want again."""
LOST_SECONDS: Final = 5.0
"""Between the end of one engine and the next for the same job: its batch may just be over."""
CHAT_SECONDS: Final = 60.0
"""For so long no engine is made for a job whose node was needed for chats."""

State = Literal["ready", "preparing", "waiting"]


@dataclass(frozen=True, slots=True)
class DedicatedView:
    """How a job stands: by which nodes it is served, or is about to be, or why by none."""

    state: State
    nodes: tuple[NodeId, ...] = ()
    obstacle: Obstacle | None = None


@dataclass(slots=True)
class _Wish:
    """What one job wants, and what was done about it; moments by the monotonic clock."""

    job: Job
    wanted_at: float
    hungry_at: float = float("-inf")
    asked: NodeId | None = None
    asked_at: float = float("-inf")
    held: bool = False
    not_before: float = float("-inf")
    refused: dict[NodeId, float] = field(default_factory=dict)
    preparing: dict[NodeId, float] = field(default_factory=dict)

    def asks(self, now: float) -> bool:
        """Tell whether a node may still answer."""
        return self.asked is not None and now - self.asked_at < ANSWER_SECONDS


class Dedications:
    """Engines for jobs alone, as one gateway has them made. Belongs to the event loop."""

    def __init__(
        self,
        registry: Registry,
        control: Callable[[NodeId, Control], None],
        chat_waits: Callable[[Target], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._control = control
        self._chat_waits = chat_waits
        self._clock = clock
        self._wishes: dict[str, _Wish] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Begin to look after jobs; `close` ends that."""
        self._task = asyncio.create_task(self._run(), name="dedications")
        return self

    async def close(self) -> None:
        """Stop; nodes take themselves back unless another gateway goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)

    def want(self, job: Job, *, hungry: bool) -> None:
        """Want an engine for a job; to be said again within WANTED_SECONDS.

        `hungry` tells that it has something to begin; else what runs goes on.
        """
        now = self._clock()
        wish = self._wishes.setdefault(job.id, _Wish(job, now))
        wish.job, wish.wanted_at = job, now
        if hungry:
            wish.hungry_at = now

    def end(self, job: str) -> None:
        """Have the engines of a job removed: it is over."""
        self._wishes.pop(job, None)
        for node in holders(self._registry, job):
            self._control(node.id, Undedicate(job))

    def view(self, job: Job) -> DedicatedView:
        """Tell how a job stands."""
        held = holders(self._registry, job.id)
        nodes = tuple(node.id for node in held)
        if any(target.job == job.id for target in self._registry.jobs):
            return DedicatedView("ready", nodes)
        if nodes:
            return DedicatedView("preparing", nodes)
        wish = self._wishes.get(job.id)
        found = self._candidate(job, wish, self._clock())
        return DedicatedView("waiting", obstacle=found if isinstance(found, str) else None)

    def look(self) -> None:
        """Ask for what is wanted, and give back what chats need."""
        now = self._clock()
        for name, wish in list(self._wishes.items()):
            if now - wish.wanted_at > WANTED_SECONDS:
                if now - wish.wanted_at > FORGET_SECONDS:
                    del self._wishes[name]
                continue
            held = self._held(wish, now)
            if held:
                self._keep(wish, held, now)
            else:
                self._seek(wish, now)

    def _held(self, wish: _Wish, now: float) -> list[Node]:
        """Give those that serve a job or are about to; one that never comes to it is let go."""
        job, since = wish.job, wish.preparing
        held = holders(self._registry, job.id)
        serving = {each.node.id for each in self._registry.pool(job.model, job.id) or ()}
        wish.preparing = {
            node.id: since.get(node.id, now) for node in held if node.id not in serving
        }
        late = {node for node, at in wish.preparing.items() if now - at >= PREPARE_SECONDS}
        for node_id in late:
            if now >= wish.refused.get(node_id, now):
                _log.warning("job_not_served", job=job.id, node=node_id)
                wish.refused[node_id] = now + PREPARE_SECONDS
                self._control(node_id, Undedicate(job.id))
        return [node for node in held if node.id not in late]

    def _keep(self, wish: _Wish, held: Sequence[Node], now: float) -> None:
        if not wish.held:
            wish.held, wish.asked = True, None
            _log.info("job_dedicated", job=wish.job.id, nodes=[node.id for node in held])
        due = now - wish.asked_at >= RENEW_SECONDS
        wish.asked_at = now if due else wish.asked_at
        for replica in [each for node in held for each in node.replicas.values()]:
            waits = self._chat_waits(Target(replica.name))
            if chat_needs(self._registry, replica.name, chat_waits=waits):
                _log.info("job_gives_way", job=wish.job.id, node=replica.node.id)
                wish.not_before = now + CHAT_SECONDS
                self._control(replica.node.id, Undedicate(wish.job.id))
            elif due:
                self._ask(replica, wish.job)

    def _seek(self, wish: _Wish, now: float) -> None:
        if wish.held:
            wish.held = False
            wish.not_before = max(wish.not_before, now + LOST_SECONDS)
        if wish.asked is not None:
            if wish.asks(now):
                return
            wish.refused[wish.asked] = now + REFUSED_SECONDS
            wish.asked = None
        if now < wish.not_before or now - wish.hungry_at > WANTED_SECONDS:
            return
        found = self._candidate(wish.job, wish, now)
        if isinstance(found, Replica):
            wish.asked, wish.asked_at = found.node.id, now
            _log.info("job_asks", job=wish.job.id, node=found.node.id)
            self._ask(found, wish.job)

    def _candidate(self, job: Job, wish: _Wish | None, now: float) -> Replica | Obstacle:
        refused = {} if wish is None else wish.refused
        return candidate(
            self._registry,
            job,
            chat_waits=self._chat_waits(Target(job.model)),
            asked=sum(each.asks(now) for each in self._wishes.values() if each is not wish),
            refused=[node for node, until in refused.items() if now < until],
            now=now,
        )

    def _ask(self, replica: Replica, job: Job) -> None:
        node = replica.node
        asked = Dedicate(job.id, replica.digest, LEASE_SECONDS, told(node, job.member))
        self._control(node.id, asked)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()


__all__ = ["DedicatedView", "Dedications"]
