"""What is given for nothing, and what is held back: the rules. Pure, in whole nGAI.

Minted are two things only. The **grant** lets every member who comes use the network at a fair
rate; it tops a balance up and never adds to savings, so grants cannot pile up. The **stipend**
thanks a node for being warm and proved where nobody happens to ask; it is small, bounded by the
hour, and in proportion to published figures of cards, never to what a node says of itself.

What a **new node** earns is half held back until it has been there for a while and worked for
several others.
"""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from garage_ai.catalog.cards import CARDS, REFERENCE
from garage_ai.ledger.charges import MILLE, Shares, split
from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.wire.ids import NodeId

MINUTES: Final = 60

GRANT: Final = NanoGai(5 * GAI)
"""Each month: five hours of the reference card, about six million tokens of an 8B's answers."""

MINT_PER_HOUR: Final = NanoGai(2 * GAI)
PROOF: Final = NanoGai(5 * GAI)

CLASSES: Final = tuple(
    sorted({int(MILLE * card.bandwidth / REFERENCE.bandwidth) for card in CARDS})
)
"""How fast published cards are beside the reference card, in thousandths, each once."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The figures of the economy, as settings give them; amounts in nGAI, shares in thousandths.

    `stipend` is of an hour's GAI for an hour of a reference card that is warm, `mint_per_hour` the
    most that is minted for all stipends of an hour. A node is proved after `probation` if it has
    earned `proof` by work for at least `proof_payers` others.
    """

    grant: NanoGai = GRANT
    fee: int = 50
    stipend: int = 5
    mint_per_hour: NanoGai = MINT_PER_HOUR
    escrow: int = 500
    probation: timedelta = timedelta(days=7)
    proof: NanoGai = PROOF
    proof_payers: int = 3
    verified_requests: int = 3
    verified_payers: int = 2


# --- the grant


def grant(rules: Rules, balance: NanoGai, joined: date, today: date) -> NanoGai:
    """Say what a member gets for the month of `today`: what is missing to the grant.

    Whoever joined this month is topped up to the part of the grant that is left of the month.
    """
    full = rules.grant
    if (joined.year, joined.month) == (today.year, today.month):
        days = monthrange(today.year, today.month)[1]
        full = NanoGai(full * (days - joined.day + 1) // days)
    return NanoGai(max(0, full - balance))


# --- new nodes


@dataclass(frozen=True, slots=True)
class Work:
    """What a node has done for others: its age, what it earned by that, and for how many."""

    age: timedelta
    earned: NanoGai
    payers: int


def is_proved(rules: Rules, work: Work) -> bool:
    """Tell whether what was held back may be released, and nothing more needs to be."""
    return (
        work.age >= rules.probation
        and work.earned >= rules.proof
        and work.payers >= rules.proof_payers
    )


# --- the stipend


@dataclass(frozen=True, slots=True)
class Served:
    """What a gateway saw of one node's work for one other member: streams, and their mean speed.

    `speed` is in tokens per second of one stream, `expected` what the reference card reaches alone
    by published figures.
    """

    requests: int
    speed: float
    expected: float


def together(served: Sequence[Served]) -> Served:
    """Take a member's use of several models as one: it is one witness, whatever it asked for."""
    if len(served) == 1:
        return served[0]
    requests = sum(each.requests for each in served)
    share = sum(each.requests * each.speed / each.expected for each in served) / requests
    return Served(requests, share, 1.0)


def class_factor(rules: Rules, served: Sequence[Served]) -> int:
    """Give the class that a node has shown, in thousandths of the reference card; 0 for none.

    It must have served enough requests of enough others. The class is that of the fastest
    published card which is not faster than the node was seen to be, other streams at the same time
    counting against it.
    """
    requests = sum(each.requests for each in served)
    if requests < rules.verified_requests or len(served) < rules.verified_payers:
        return 0
    # Each payer counts once: one who asks a thousand times decides no more than another.
    shares = [each.speed / each.expected for each in served if each.expected > 0]
    seen = MILLE * sum(shares) / len(shares) if shares else 0
    return max((each for each in CLASSES if each <= seen), default=0)


@dataclass(frozen=True, slots=True)
class Warm:
    """A node in an hour: minutes in which it was ready, its class, what of it is held back."""

    node: NodeId
    minutes: int
    factor: int
    escrow: int


@dataclass(frozen=True, slots=True)
class Stipends:
    """What an hour's stipends are: first minted to the pool, then paid out of it."""

    mint: NanoGai
    shares: Mapping[NodeId, Shares]


def stipends(rules: Rules, warm: Sequence[Warm], pool: NanoGai) -> Stipends:
    """Divide an hour's stipends: what is in the pool goes first, what is missing is minted.

    Where both do not suffice everybody gets less, in the same proportion.
    """
    due = {each.node: _due(rules, each) for each in warm}
    total = sum(due.values())
    there = max(0, pool) + rules.mint_per_hour
    shares = {}
    for each in warm:
        amount = due[each.node] if total <= there else due[each.node] * there // total
        if amount:
            shares[each.node] = split(NanoGai(amount), 0, each.escrow)
    paid = sum(each.node + each.escrow for each in shares.values())
    return Stipends(NanoGai(max(0, paid - max(0, pool))), shares)


def _due(rules: Rules, warm: Warm) -> int:
    minutes = min(max(0, warm.minutes), MINUTES)
    return GAI * rules.stipend * warm.factor * minutes // (MILLE * MILLE * MINUTES)


__all__ = [
    "CLASSES",
    "Rules",
    "Served",
    "Stipends",
    "Warm",
    "Work",
    "class_factor",
    "grant",
    "is_proved",
    "stipends",
    "together",
]
