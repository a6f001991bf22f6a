"""A year of the simulated network by the real rules: prices, shares, grants, stipends, turns."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

from bench.economy_world import ASKED, Member, Node, Plan, Role, populate
from garage_ai.ledger.charges import charge, split
from garage_ai.ledger.models import GAI, NanoGai
from garage_ai.ledger.priority import RecentUse, standing
from garage_ai.ledger.rewards import (
    Rules,
    Served,
    Warm,
    Work,
    class_factor,
    grant,
    is_proved,
    stipends,
)
from garage_ai.ledger.tariff import STREAMS, usual_price
from garage_ai.network.errors import NoCapacity
from garage_ai.network.waiting import WaitingRoom
from garage_ai.storage import MemberId
from garage_ai.wire.ids import NodeId

__all__ = ["Job", "Outcome", "Year"]

STEP_MINUTES = 6
PER_HOUR = 60 // STEP_MINUTES
PATIENCE = 10  # steps: an hour, for a client that asks again and again
BEGIN = date(2027, 1, 1)
MODEL = "usual"
PROMPT, ANSWER = 60_000, 15_000  # tokens of a session in the mean
WORST = 3.0  # what is reserved, over the mean
ISSUANCE, POOL, FEE = "issuance", "pool", "fee"


@dataclass(slots=True)
class Job:
    """A session of several requests: who asks, what it costs, since when it waits, its number."""

    member: int
    cost: int
    since: int
    number: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of a year; waits in steps by whether the asker lends."""

    waits: dict[str, list[int]] = field(default_factory=lambda: {"lender": [], "guest": []})
    evening: dict[str, list[int]] = field(default_factory=lambda: {"lender": [], "guest": []})
    supply: list[dict[str, float]] = field(default_factory=list)
    minted: Counter[str] = field(default_factory=Counter)
    capacity: float = 0.0
    served: int = 0
    gave_up: int = 0
    refused: int = 0
    self_dealt: int = 0
    came_back: int = 0
    books: int = 0


class Year:
    """The world and its clock."""

    def __init__(self, plan: Plan, rules: Rules | None = None) -> None:
        self.plan, self.rules = plan, rules or Rules()
        self.chance = random.Random(plan.seed)
        self.members, self.nodes = populate(plan, self.chance)
        self.out = Outcome()
        self.balance: Counter[str] = Counter()
        self._price = usual_price()
        self._recent = RecentUse()
        self._room: WaitingRoom[Job] = WaitingRoom(256)
        self._ends: list[tuple[int, int, int]] = []
        self._waiting: dict[int, Job] = {}
        self._online: list[Node] = []
        self._asked: list[float] = []
        self._sum = 0.0
        self._free = 0
        self._step = 0
        mean = charge(self._price, PROMPT, ANSWER) / GAI
        self._weights = [each.wish / mean for each in self.members]
        self._of: dict[int, list[Node]] = {}
        for node in self.nodes:
            self._of.setdefault(node.owner, []).append(node)

    def run(self) -> Outcome:
        """Live through the days."""
        for day in range(self.plan.days):
            today = BEGIN + timedelta(days=day)
            self._day(day, today)
            for hour in range(24):
                self._hour(day, hour, today.weekday() >= 5)
                for _ in range(PER_HOUR):
                    self._tick()
                self._stipends()
            if (today + timedelta(days=1)).day == 1 or day == self.plan.days - 1:
                self._note(day)
        return self.out

    # --- money

    def move(self, debit: str, credit: str, amount: int) -> None:
        """Enter a transfer."""
        self.balance[debit] -= amount
        self.balance[credit] += amount

    def _day(self, day: int, today: date) -> None:
        for member in self.members:
            if member.joined > day or (today.day != 1 and member.joined != day):
                continue
            joined = BEGIN + timedelta(days=member.joined)
            if member.joined == 0:
                joined -= timedelta(days=90)
            account = f"m{member.number}"
            amount = grant(self.rules, NanoGai(self.balance[account]), joined, today)
            self.move(ISSUANCE, account, amount)
            member.granted += amount
            self.out.minted["grant"] += amount
        if today.day == 1:
            self._deal_with_oneself()
        for node in self.nodes:
            self._prove(node, day)

    def _prove(self, node: Node, day: int) -> None:
        age = timedelta(days=day - self.members[node.owner].joined)
        work = Work(age, NanoGai(node.earned), len(node.payers))
        if not node.proved and is_proved(self.rules, work):
            node.proved = True
            held = f"e{node.number}"
            self.move(held, f"m{node.owner}", self.balance[held])

    def _deal_with_oneself(self) -> None:
        """Spend the whole grant of a second account on one's own node, which says nothing new."""
        for member in self.members:
            nodes = self._of.get(member.person)
            if member.role == "self" and member.number != member.person and nodes:
                amount = self.balance[f"m{member.number}"]
                before = self.balance[f"m{member.person}"]
                self._pay(member, nodes[0], amount)
                self.out.self_dealt += amount
                self.out.came_back += self.balance[f"m{member.person}"] - before

    def _pay(self, member: Member, node: Node, amount: int) -> None:
        held = 0 if node.proved else self.rules.escrow
        shares = split(NanoGai(amount), self.rules.fee, held)
        payer, owner = f"m{member.number}", f"m{node.owner}"
        self.move(payer, owner, shares.node)
        self.move(payer, f"e{node.number}", shares.escrow)
        self.move(payer, FEE, shares.fee)
        member.used += amount
        self.members[node.owner].earned += shares.node + shares.escrow
        if self.members[node.owner].person != member.person:
            node.earned += shares.node + shares.escrow
            node.payers.add(member.number)

    def _stipends(self) -> None:
        warm = []
        for node in self.nodes:
            if not node.online:
                continue
            held = 0 if node.proved else self.rules.escrow
            factor = class_factor(self.rules, self._served(node))
            warm.append(Warm(NodeId(str(node.number)), 60, factor, held))
            node.hours_on += 1
        made = stipends(self.rules, warm, NanoGai(self.balance[POOL]))
        self.move(ISSUANCE, POOL, made.mint)
        self.out.minted["stipend"] += made.mint
        for name, shares in made.shares.items():
            node = self.nodes[int(name)]
            self.move(POOL, f"m{node.owner}", shares.node)
            self.move(POOL, f"e{node.number}", shares.escrow)
            self.members[node.owner].stipend += shares.node + shares.escrow

    def _served(self, node: Node) -> list[Served]:
        """Say what a gateway saw of it: of idle ones nothing, or what two friends asked for it."""
        role = self.members[node.owner].role
        if role == "friends":
            return [Served(2, node.factor, 1.0)] * 2
        if not node.serves or len(node.payers) < self.rules.verified_payers:
            return []
        return [Served(2, node.factor, 1.0)] * 2

    # --- work

    def _hour(self, day: int, hour: int, weekend: bool) -> None:
        self._online = []
        for node in self.nodes:
            there = self.members[node.owner].joined <= day
            on = there and node.is_on(hour, weekend, self.chance)
            if on and not node.online:
                node.free = STREAMS
            node.online = on
            if on and node.serves:
                self._online.append(node)
                self.out.capacity += node.factor
        self._free = sum(node.free for node in self._online)
        share = 12 / 365 * ASKED[hour] / PER_HOUR
        self._asked = [
            weight * share if self.members[number].joined <= day else 0.0
            for number, weight in enumerate(self._weights)
        ]
        self._sum = sum(self._asked)

    def _tick(self) -> None:
        self._step += 1
        self._end_jobs()
        self._give_up()
        count = self._poisson(self._sum)
        if not count:
            return
        for number in self.chance.choices(range(len(self.members)), self._asked, k=count):
            self._ask(self.members[number])

    def _poisson(self, mean: float) -> int:
        count, left = 0, self.chance.expovariate(1.0)
        while left < mean:
            count += 1
            left += self.chance.expovariate(1.0)
        return count

    def _ask(self, member: Member) -> None:
        size = self.chance.lognormvariate(-0.32, 0.8)  # one in the mean
        cost = charge(self._price, round(PROMPT * size), round(ANSWER * size))
        account = f"m{member.number}"
        member.asked += 1
        if self.balance[account] < cost:
            member.poor += 1
            return
        job = Job(member.number, cost, self._step)
        if self._free and not len(self._room):
            self._begin(job)
            return
        recent = self._recent.of(MemberId(account), self._now)
        weight = standing(NanoGai(self.balance[account]), recent, self.rules.grant)
        try:
            job.number = self._room.enter(MODEL, job, member=account, weight=weight)
            self._waiting[job.number] = job
        except NoCapacity:
            self.out.refused += 1
            member.gave_up += 1

    @property
    def _now(self) -> float:
        return self._step * STEP_MINUTES * 60.0

    def _begin(self, job: Job) -> bool:
        node = self._with_room()
        member = self.members[job.member]
        account = f"m{job.member}"
        if node is None:
            return False
        if self.balance[account] < job.cost:
            # What is owned went into an earlier one meanwhile.
            member.poor += 1
            return True
        node.free -= 1
        self._free -= 1
        steps = max(1, round(job.cost / GAI * STREAMS / node.factor * PER_HOUR))
        node.busy_slots += steps
        heapq.heappush(self._ends, (self._step + steps, node.number, job.member))
        self._pay(member, node, job.cost)
        self._recent.add(MemberId(account), NanoGai(job.cost), self._now)
        self._told(member, self._step - job.since)
        self.out.served += job.cost
        return True

    def _told(self, member: Member, wait: int) -> None:
        kind = "lender" if member.number in self._of else "guest"
        self.out.waits[kind].append(wait)
        if 19 <= self._step // PER_HOUR % 24 < 23:
            self.out.evening[kind].append(wait)

    def _with_room(self) -> Node | None:
        if not self._free:
            return None
        for _ in range(8):
            node = self.chance.choice(self._online)
            if node.free:
                return node
        return next(node for node in self._online if node.free)

    def _end_jobs(self) -> None:
        while self._ends and self._ends[0][0] <= self._step:
            _, number, _ = heapq.heappop(self._ends)
            node = self.nodes[number]
            if node.free < STREAMS:
                node.free += 1
                self._free += node.online and node.serves
        if self._free and len(self._room):
            self._room.serve(MODEL, self._offer)

    def _offer(self, job: Job) -> bool:
        if not self._begin(job):
            return False
        self._waiting.pop(job.number, None)
        return True

    def _give_up(self) -> None:
        tired = [job for job in self._waiting.values() if self._step - job.since > PATIENCE]
        for job in tired:
            del self._waiting[job.number]
            self._room.leave(MODEL, job.number)
            self.members[job.member].gave_up += 1
            self.out.gave_up += 1

    # --- looking

    def _note(self, day: int) -> None:
        self.out.books = max(self.out.books, abs(sum(self.balance.values())))
        lenders = {f"m{owner}" for owner in self._of}
        held = sum(amount for name, amount in self.balance.items() if name in lenders)
        members = sum(amount for name, amount in self.balance.items() if name[0] == "m")
        escrow = sum(amount for name, amount in self.balance.items() if name[0] == "e")
        self.out.supply.append(
            {
                "day": day,
                "issued": -self.balance[ISSUANCE] / GAI,
                "lenders": held / GAI,
                "others": (members - held) / GAI,
                "escrow": escrow / GAI,
                "fee": self.balance[FEE] / GAI,
                "pool": self.balance[POOL] / GAI,
                "served": self.out.served / GAI,
            }
        )

    def by_role(self, role: Role) -> list[Member]:
        """Give the accounts of those who play a role."""
        return [each for each in self.members if each.role == role]
