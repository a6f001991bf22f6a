"""Choosing a replica: filters → candidates → scores. Pure; chance comes in from outside.

Two candidates are drawn at random from those with room and the one that would be free sooner is
taken (power of two choices), so a choice costs the same with ten nodes as with ten thousand.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import msgspec

from garage_ai.network.models import Life, Replica
from garage_ai.network.pool import Pool
from garage_ai.network.sharing import goes_first, serves
from garage_ai.wire.frames import Priority
from garage_ai.wire.ids import Digest, NodeId

CANDIDATES: Final = 2
DRAWS: Final = 8
"""Random draws before every free replica is looked at."""
LOOKS: Final = 64
"""Most free replicas of a region that are looked at where one region of several is chosen."""


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks of a replica.

    With a digest it must be of that very model, `fenced` that its engine must not be unsandboxed.
    `member` is who asks, empty where nobody knows. A `chat` also gets the slot of a batch request.
    """

    region: str | None = None
    excluded: frozenset[Life] = frozenset()
    digest: Digest | None = None
    fenced: bool = False
    member: str = ""
    priority: Priority = "chat"


class Filter(Protocol):
    """One reason why a replica may not be chosen."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:
        """Say in a few words why not, or None."""


class NotTriedYet:
    """A node that just failed this request is not asked again, unless it has begun anew."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return "it failed this request" if replica.node.life in wanted.excluded else None


class SameModel:
    """An answer is only continued by the model that began it."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        if wanted.digest is None or replica.digest == wanted.digest:
            return None
        return "it serves another model under this name"


class AsTrusted:
    """An answer that began in a sandbox does not go on outside one: its headers have said so."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        outside = wanted.fenced and replica.node.trust == "unsandboxed"
        return "its engine has no sandbox" if outside else None


class Shared:
    """An owner says whose requests his node serves."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        node = replica.node
        return None if serves(node, wanted.member) else f"its owner shares it with {node.share}"


class InRegion:
    """Residency is closed: where a region is asked for, no other serves."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        region = replica.node.enrolled.region
        if wanted.region is None or region == wanted.region:
            return None
        return f"it is in {region or 'no region'}, not in {wanted.region}"


class LetsGiveWay:
    """An agent that cannot let a batch request give way to a chat is given none."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        holds = wanted.priority == "batch" and replica.served.batch is None
        return "its agent is too old to let batch give way" if holds else None


class BreakerClosed:
    """A node that keeps failing is left alone."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return None if replica.node.breaker.allows(now) else "it failed too often"


class OneTrial:
    """Where nobody else can serve, even a node that keeps failing is tried, by one at a time."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return None if replica.node.breaker.allows(now, in_need=True) else "it is being tried"


class NotJustFull:
    """A node that answered busy a moment ago is."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:
        """Say in a few words why not, or None."""
        chat = wanted.priority == "chat"
        until = replica.full_until if chat else replica.batch_full_until
        return "it said it is busy" if now < until else None


MAY: Final[tuple[Filter, ...]] = (
    NotTriedYet(),
    SameModel(),
    AsTrusted(),
    Shared(),
    InRegion(),
    LetsGiveWay(),
)
"""Whether a replica may serve the request at all."""
FIT: Final[tuple[Filter, ...]] = (*MAY, BreakerClosed())
"""Whether it can be counted on, too."""
FILTERS: Final[tuple[Filter, ...]] = (*FIT, NotJustFull())
"""Whether it can be now."""
IN_NEED: Final[tuple[Filter, ...]] = (*MAY, OneTrial(), NotJustFull())
"""Whether it is to be tried now, where none can be counted on."""


def relative_load(replica: Replica) -> float:
    """Score a replica by how full it would be; less is better."""
    return (replica.load + 1) / replica.served.slots


def expected_wait(replica: Replica) -> float:
    """Score a replica by its work in units of its own speed; less is better."""
    return relative_load(replica) / replica.speed


def best_of(candidates: list[Replica]) -> Replica | None:
    """Take the one that would be free soonest.

    Speeds count only where all are known: a node that was never measured is neither slow nor fast.
    """
    if len(candidates) == 1:
        return candidates[0]
    measured = all(replica.speed > 0 for replica in candidates)
    return min(candidates, key=expected_wait if measured else relative_load, default=None)


def refusal(
    replica: Replica, wanted: Wanted, now: float, rules: tuple[Filter, ...] = FILTERS
) -> str | None:
    """Say why a replica may not be chosen, or None."""
    for rule in rules:
        reason = rule.refuses(replica, wanted, now)
        if reason is not None:
            return reason
    return None


def choose(pool: Pool, wanted: Wanted, now: float, chance: random.Random) -> Replica | None:
    """Choose a replica with room, on a node of the asker's own if it can be; None where none is.

    A chat that finds no slot free gets one where batch requests give way. Where none can be counted
    on, busy or not, one that failed too often is tried.
    """
    own, free = _free_of(pool, wanted), pool.free(wanted.region)
    found = _choose(own, wanted, now, chance) or _choose(free, wanted, now, chance)
    if found is not None:
        return found
    if wanted.priority == "chat":
        mine = pool.giving_way_of(wanted.member) if goes_first(wanted.member) else []
        held = pool.giving_way(wanted.region)
        found = _choose(mine, wanted, now, chance) or _choose(held, wanted, now, chance)
        if found is not None:
            return found
    tried = _choose(own, wanted, now, chance, IN_NEED)
    tried = tried or _choose(free, wanted, now, chance, IN_NEED)
    return tried if tried is not None and not could_serve(pool, wanted, now) else None


def choose_own(pool: Pool, wanted: Wanted, now: float, chance: random.Random) -> Replica | None:
    """Choose a replica with room on a node of the asker's own; None when there is none."""
    return _choose(_free_of(pool, wanted), wanted, now, chance)


def _free_of(pool: Pool, wanted: Wanted) -> list[Replica]:
    return pool.free_of(wanted.member) if goes_first(wanted.member) else []


def _choose(
    free: list[Replica],
    wanted: Wanted,
    now: float,
    chance: random.Random,
    rules: tuple[Filter, ...] = FILTERS,
) -> Replica | None:
    if not free:
        return None
    candidates = _draw(free, wanted, now, chance, rules) if len(free) > DRAWS else []
    if not candidates:
        fit = [replica for replica in free if refusal(replica, wanted, now, rules) is None]
        # Also of two, in an order by chance: equals would else be chosen as they stand in the list.
        candidates = chance.sample(fit, min(CANDIDATES, len(fit))) if len(fit) > 1 else fit
    return best_of(candidates)


def could_serve(pool: Pool, wanted: Wanted, now: float) -> bool:
    """Tell whether waiting helps: some replica would be fit if it had room."""
    return _is_any(pool, wanted, now, FIT)


def region_for(pool: Pool, allowed: Collection[str], wanted: Wanted, now: float) -> str | None:
    """Choose among regions: where most replicas have room for this, else where most could serve it.

    None only where no region is allowed.
    """
    mine = pool.free_of(wanted.member)[:LOOKS]
    own = [replica for replica in mine if replica.node.enrolled.region in allowed]
    free = {replica for region in allowed for replica in pool.free(region)[:LOOKS]}
    fit = [replica for replica in free.union(own) if refusal(replica, wanted, now) is None]
    if not fit:
        there = [replica for replica in pool if replica.node.enrolled.region in allowed]
        fit = [replica for replica in there if refusal(replica, wanted, now, FIT) is None]
    counted = Counter(replica.node.enrolled.region for replica in fit)
    return max(sorted(allowed), key=counted.__getitem__, default=None)


def slots_for(pool: Pool, wanted: Sequence[Wanted]) -> dict[NodeId, int]:
    """Count the slots, free or not, of each node that may serve any of these requests at all."""
    return {
        replica.node.id: replica.served.slots
        for replica in pool
        if any(refusal(replica, each, 0.0, MAY) is None for each in wanted)
    }


def could_be_tried(pool: Pool, wanted: Wanted, now: float) -> bool:
    """Tell whether waiting may help: some replica may serve, if it works again."""
    return _is_any(pool, wanted, now, MAY)


def _is_any(pool: Pool, wanted: Wanted, now: float, rules: tuple[Filter, ...]) -> bool:
    if wanted.region is not None and not pool.regions[wanted.region]:
        return False
    return any(refusal(replica, wanted, now, rules) is None for replica in pool)


def _draw(
    free: list[Replica],
    wanted: Wanted,
    now: float,
    chance: random.Random,
    rules: tuple[Filter, ...],
) -> list[Replica]:
    found: list[Replica] = []
    for _ in range(DRAWS):
        replica = free[int(chance.random() * len(free))]
        if replica in found or refusal(replica, wanted, now, rules) is not None:
            continue
        found.append(replica)
        if len(found) == CANDIDATES:
            break
    return found


__all__ = [
    "CANDIDATES",
    "DRAWS",
    "FILTERS",
    "LOOKS",
    "Filter",
    "Shared",
    "Wanted",
    "best_of",
    "choose",
    "choose_own",
    "could_be_tried",
    "could_serve",
    "expected_wait",
    "refusal",
    "region_for",
    "relative_load",
    "slots_for",
]
