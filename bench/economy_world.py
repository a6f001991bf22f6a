"""Who lives in the simulated network: members with wishes, PCs with cards, evenings with games."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Literal

from garage_ai.catalog import Card, find_card

__all__ = ["ROLES", "Member", "Node", "Plan", "Role", "populate"]

Role = Literal["guest", "lender", "idle", "friends", "self", "split", "twin"]
ROLES: tuple[Role, ...] = ("guest", "lender", "idle", "friends", "self", "split", "twin")

# Cards by how many of a hundred lenders have one.
_CARDS = (
    ("RTX 3060", 20),
    ("RTX 4060 Ti 16GB", 12),
    ("RTX 3080", 12),
    ("RTX 4070 Ti SUPER", 10),
    ("RTX 3090", 22),
    ("RTX 4090", 14),
    ("RTX 5070 Ti", 6),
    ("RTX 5090", 4),
)
_REFERENCE = "RTX 3090"

# Share of a day's wishes in each hour; evenings are when games are played, too.
_BY_HOUR = [1, 0.5, 0.3, 0.2, 0.2, 0.4, 1, 2, 4, 5, 5, 5, 4, 5, 5, 5, 5, 5, 5, 7, 9, 10, 8, 4]
ASKED = [each / sum(_BY_HOUR) for each in _BY_HOUR]


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the world is; wishes are of GAI in a month, `lenders` of a thousand members."""

    members: int = 1000
    days: int = 365
    lenders: int = 30
    wish: float = 4.0
    spread: float = 1.0
    cheats: int = 5
    accounts: int = 5
    seed: int = 1


@dataclass(slots=True)
class Node:
    """A PC with a card; slots that are free now, and what its member gets of what it earns."""

    number: int
    owner: int
    card: Card
    begins: int = 17
    ends: int = 24
    gaming: float = 0.4
    always: bool = False
    serves: bool = True
    online: bool = False
    free: int = 0
    minutes: int = 0
    earned: int = 0
    payers: set[int] = field(default_factory=set)
    proved: bool = False
    hours_on: int = 0
    busy_slots: float = 0.0

    @property
    def factor(self) -> float:
        """How fast it is beside the reference card."""
        return self.card.factor

    def is_on(self, hour: int, weekend: bool, chance: random.Random) -> bool:
        """Tell whether it lends in this hour: the PC is on, and nobody plays."""
        if self.always:
            return True
        begins = min(9, self.begins) if weekend else self.begins
        if not begins <= hour < self.ends:
            return False
        plays = self.gaming if hour >= 18 else self.gaming / 2
        return chance.random() > plays


@dataclass(slots=True)
class Member:
    """An account; `person` is who is behind it, and the same for accounts cut up."""

    number: int
    role: Role
    person: int
    wish: float
    joined: int = 0
    used: int = 0
    granted: int = 0
    stipend: int = 0
    earned: int = 0
    asked: int = 0
    poor: int = 0
    gave_up: int = 0


def populate(plan: Plan, chance: random.Random) -> tuple[list[Member], list[Node]]:
    """Make members and their PCs. The last ones are those who try to get something for nothing."""
    members: list[Member] = []
    nodes: list[Node] = []
    lenders = plan.members * plan.lenders // 1000
    for number in range(plan.members):
        role: Role = "lender" if number < lenders else "guest"
        wish = plan.wish * math.exp(chance.gauss(0, plan.spread) - plan.spread**2 / 2)
        # A quarter of the members comes in the course of the year.
        joined = chance.randrange(1, plan.days) if chance.random() < 0.25 else 0
        members.append(Member(number, role, number, wish, joined))
        if role == "lender":
            nodes.append(_node(len(nodes), number, chance))
    _add_cheats(plan, members, nodes)
    return members, nodes


def _node(number: int, owner: int, chance: random.Random) -> Node:
    name = chance.choices([each[0] for each in _CARDS], [each[1] for each in _CARDS])[0]
    begins = chance.choice([7, 9, 12, 15, 17])
    ends = chance.choice([22, 23, 24])
    always = chance.random() < 0.15
    return Node(number, owner, _card(name), begins, ends, chance.uniform(0.3, 0.7), always)


def _add_cheats(plan: Plan, members: list[Member], nodes: list[Node]) -> None:
    def account(role: Role, person: int, wish: float) -> Member:
        member = Member(len(members), role, person, wish)
        members.append(member)
        return member

    for _ in range(plan.cheats):
        for role in ("idle", "friends", "self"):
            person = len(members)
            owner = account(role, person, 0.0)
            # On all day, with a model that nobody asks for.
            card = _card(_REFERENCE)
            node = Node(len(nodes), owner.number, card, always=True, serves=False)
            nodes.append(node)
            if role == "self":
                account(role, person, 0.0)
        person = len(members)
        for _ in range(plan.accounts):
            account("split", person, plan.wish * 10 / plan.accounts)
        account("twin", len(members), plan.wish * 10)


def _card(name: str) -> Card:
    card = find_card(name)
    if card is None:
        raise AssertionError(f"{name} is not published")
    return card
