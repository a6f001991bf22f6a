"""Several gateways over one limit: whatever the order of events, nobody goes over."""

import random
from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from garage_ai.accounts.shares import RENEW_SECONDS, Share
from garage_ai.accounts.windows import MINUTE, Answer, Ask, Dimension, Pool

START = 1_800_000_000.0
SKEW = 0.25
"""How far the gateways' clocks run apart from the database's, in seconds."""


@dataclass
class Gateway:
    """A share, and its exchange with the pool as two steps, between which anything may happen."""

    name: str
    share: Share
    skew: float = 0.0
    asked: Ask | None = None
    asked_at: float = 0.0
    answer: Answer | None = None
    held: deque[int] = field(default_factory=deque)


@dataclass
class World:
    """A pool, its gateways, and a log of what was let in and used."""

    dimension: Dimension
    limit: int
    count: int
    now: float = START
    pool: Pool = field(default_factory=Pool)
    used: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateways = [
            Gateway(f"g{number}", Share(self.limit), SKEW * (number % 2))
            for number in range(self.count)
        ]

    def take(self, gateway: Gateway, units: int) -> bool:
        """Let a request in, if there is room."""
        now = self.now + gateway.skew
        if not gateway.share.has(units, now):
            gateway.share.request(units, now)
            return False
        gateway.share.take(units, now)
        gateway.held.append(units)
        return True

    def drain(self, gateway: Gateway) -> None:
        """Let in as many requests as there is room for, asking for more as long as it comes."""
        while self.take(gateway, 1):
            pass
        if gateway.asked is None:
            self.exchange(gateway)
            while self.take(gateway, 1):
                pass

    def end(self, gateway: Gateway) -> None:
        """Let all requests end; they used what they held."""
        while gateway.held:
            self.settle(gateway, 1.0)

    def settle(self, gateway: Gateway, part: float) -> None:
        """End the oldest request; it used a part of what it held."""
        if gateway.held:
            held = gateway.held.popleft()
            used = 0 if self.dimension is Dimension.STREAMS else int(held * part)
            gateway.share.settle(held, used)
            self.used.append((self.now, used))

    def ask(self, gateway: Gateway) -> None:
        """Send a question; the pool answers at once, the gateway hears it later."""
        now = self.now + gateway.skew
        if gateway.asked is None and gateway.share.is_due(now):
            gateway.asked, gateway.asked_at = gateway.share.ask(gateway.name, now), now
            gateway.answer = self.pool.exchange(self.dimension, gateway.asked, self.now)

    def hear(self, gateway: Gateway) -> None:
        """Let the answer arrive."""
        if gateway.asked is not None and gateway.answer is not None:
            gateway.share.heard(gateway.answer, gateway.asked_at, self.now + gateway.skew)
            gateway.asked = gateway.answer = None

    def lose(self, gateway: Gateway) -> None:
        """Let the answer be lost."""
        if gateway.asked is not None:
            gateway.share.failed()
            gateway.asked = gateway.answer = None

    def exchange(self, gateway: Gateway) -> None:
        """Ask and hear without anything between."""
        self.ask(gateway)
        self.hear(gateway)

    def wait(self, seconds: float) -> None:
        """Let time pass; gateways that live renew their leases every second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.5, end)
            for gateway in self.gateways:
                if self.now + gateway.skew - gateway.share.answered >= RENEW_SECONDS:
                    self.hear(gateway)
                    self.exchange(gateway)

    def check(self) -> None:
        """What was used within the period and what is held never goes over the limit."""
        held = sum(sum(gateway.held) for gateway in self.gateways)
        recent = sum(units for at, units in self.used if at > self.now - MINUTE)
        assert held + recent <= self.limit


STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 3), st.integers(1, 12)),
    st.tuples(st.just("settle"), st.integers(0, 3), st.floats(0, 1)),
    st.tuples(st.just("ask"), st.integers(0, 3), st.none()),
    st.tuples(st.just("hear"), st.integers(0, 3), st.none()),
    st.tuples(st.just("exchange"), st.integers(0, 3), st.none()),
    st.tuples(st.just("drain"), st.integers(0, 3), st.none()),
    st.tuples(st.just("end"), st.integers(0, 3), st.none()),
    st.tuples(st.just("lose"), st.integers(0, 3), st.none()),
    st.tuples(
        st.just("wait"), st.just(0), st.sampled_from([0.01, 0.2, 0.9, 3.1, 11.0, 30.0, 58.4, 59.6])
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([Dimension.REQUESTS, Dimension.TOKENS, Dimension.STREAMS]),
    st.integers(1, 40),
    st.integers(1, 4),
    st.lists(STEPS, max_size=120),
)
def test_never_over_whatever_the_order(
    dimension: Dimension, limit: int, count: int, steps: list[tuple[str, int, float | None]]
) -> None:
    """In no minute is more used than allowed, with answers late or lost and clocks apart."""
    world = World(dimension, limit, count)
    for kind, which, value in steps:
        gateway = world.gateways[which % count]
        match kind, value:
            case "take", int(units):
                world.take(gateway, units)
            case "settle", float(part):
                world.settle(gateway, part)
            case "wait", float(seconds):
                world.wait(seconds)
            case _:
                getattr(world, kind)(gateway)
        world.check()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200))
def test_one_gateway_gets_exactly_the_limit(limit: int) -> None:
    """Alone, a gateway lets in what is allowed and not one more, and again a minute later."""
    world = World(Dimension.REQUESTS, limit, 1)
    [gateway] = world.gateways
    for _round in range(2):
        let_in = 0
        for _attempt in range(limit + 20):
            if not world.take(gateway, 1):
                world.exchange(gateway)
                if not world.take(gateway, 1):
                    continue
            world.settle(gateway, 1)
            let_in += 1
        assert let_in == limit
        world.now += MINUTE + 1.0


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 4), st.integers(20, 600), st.integers(0, 2**32))
def test_refills_are_fair_and_the_limit_is_used(count: int, limit: int, seed: int) -> None:
    """Gateways that want more than there is get it all, each a part of it."""
    world = World(Dimension.REQUESTS, limit, count)
    chance, got = random.Random(seed), [0] * count
    for tick in range(4 * MINUTE * 4):
        for number in chance.sample(range(count), count):
            gateway = world.gateways[number]
            for _ in range(max(1, limit // 20)):
                if world.take(gateway, 1):
                    world.settle(gateway, 1)
                    got[number] += 1
            world.exchange(gateway)
        if tick % 10 == 0:
            world.check()
        world.now += 0.25
    assert sum(got) >= 0.95 * 4 * limit
    assert min(got) >= sum(got) / count / 4
