"""Choosing a replica: filters → candidates → scores. Pure; chance comes in from outside.

Two candidates are drawn at random from those with room and the one that would be free sooner is
taken (power of two choices), so a choice costs the same with ten nodes as with ten thousand.
"""

import random
from dataclasses import dataclass
from typing import Final, Protocol

from garage_ai.network.models import Replica
from garage_ai.network.pool import Pool
from garage_ai.wire.ids import Digest, NodeId

CANDIDATES: Final = 2
DRAWS: Final = 8
"""Random draws before every free replica is looked at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks of a replica.

    With a digest it must be of that very model, `fenced` that its engine must not be unsandboxed.
    """

    region: str | None = None
    excluded: frozenset[NodeId] = frozenset()
    digest: Digest | None = None
    fenced: bool = False


class Filter(Protocol):
    """One reason why a replica may not be chosen."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:
        """Say in a few words why not, or None."""


class NotTriedYet:
    """A node that just failed this request is not asked again."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return "it failed this request" if replica.node.id in wanted.excluded else None


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


class InRegion:
    """Residency is closed: where a region is asked for, no other serves."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        region = replica.node.enrolled.region
        if wanted.region is None or region == wanted.region:
            return None
        return f"it is in {region or 'no region'}, not in {wanted.region}"


class BreakerClosed:
    """A node that keeps failing is left alone."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return None if replica.node.breaker.allows(now) else "it failed too often"


class NotJustFull:
    """A node that answered busy a moment ago is."""

    def refuses(self, replica: Replica, wanted: Wanted, now: float) -> str | None:  # noqa: ARG002
        """Say in a few words why not, or None."""
        return "it said it is busy" if now < replica.full_until else None


FIT: Final[tuple[Filter, ...]] = (
    NotTriedYet(),
    SameModel(),
    AsTrusted(),
    InRegion(),
    BreakerClosed(),
)
"""Whether a replica can serve the request at all."""
FILTERS: Final[tuple[Filter, ...]] = (*FIT, NotJustFull())
"""Whether it can now."""


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
    """Choose a replica with room; None when there is none."""
    free = pool.free(wanted.region)
    if not free:
        return None
    candidates = _draw(free, wanted, now, chance) if len(free) > DRAWS else []
    if not candidates:
        fit = [replica for replica in free if refusal(replica, wanted, now) is None]
        candidates = chance.sample(fit, CANDIDATES) if len(fit) > CANDIDATES else fit
    return best_of(candidates)


def could_serve(pool: Pool, wanted: Wanted, now: float) -> bool:
    """Tell whether waiting helps: some replica would be fit if it had room."""
    return any(refusal(replica, wanted, now, FIT) is None for replica in pool)


def _draw(free: list[Replica], wanted: Wanted, now: float, chance: random.Random) -> list[Replica]:
    found: list[Replica] = []
    for _ in range(DRAWS):
        replica = free[int(chance.random() * len(free))]
        if replica in found or refusal(replica, wanted, now) is not None:
            continue
        found.append(replica)
        if len(found) == CANDIDATES:
            break
    return found
