"""Reservations in memory, inside leases in real SQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.network.conftest import until
from tests.parts.money import ANNA, BERT, A, B, fee, grant, use
from tests.parts.paying import Paying

from garage_ai.ledger import (
    InsufficientBalance,
    InvalidTransfer,
    Leases,
    Ledger,
    NanoGai,
)
from garage_ai.ledger.allowance import Allowance
from garage_ai.ledger.allowances import HOLD_SECONDS, IDLE_SECONDS
from garage_ai.ledger.leases import Granted, Request
from garage_ai.storage import DatabaseUnreachable, Storage, StorageTimeout

pytestmark = pytest.mark.anyio


class CountedLeases(Leases):
    """Leases that count how often they were asked."""

    calls = 0

    async def extend(self, asked: Sequence[Request]) -> list[Granted]:
        self.calls += 1
        return await super().extend(asked)


@pytest.fixture
def leases(storage: Storage) -> CountedLeases:
    return CountedLeases(storage, "g1")


@pytest.fixture
def others(storage: Storage) -> Leases:
    return Leases(storage, "g2")


@pytest.fixture
async def allowances(ledger: Ledger, leases: CountedLeases) -> AsyncIterator[Paying]:
    await ledger.post([grant("g1", A, 1000)])
    opened = Paying.over(ledger, leases)
    yield opened
    await opened.close()


async def test_a_request_is_reserved_and_settled(ledger: Ledger, allowances: Paying) -> None:
    """What it cost is spent, the rest comes back."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    assert (await ledger.balance(A)).amount == 1000
    assert 100 <= (await ledger.balance(A)).reserved <= 500
    allowances.pay(held, [use("u1", A, B, 30), fee("f1", A, 3)])
    allowances.pay(held, [use("u2", A, B, 30)])
    held.void()
    await allowances.close()
    balance = await ledger.balance(A)
    assert (held.state, balance.amount, balance.reserved) == ("settled", 967, 0)


async def test_a_void_costs_nothing(ledger: Ledger, allowances: Paying) -> None:
    """Neither does an end without transfers."""
    one = await allowances.reserve(ANNA, NanoGai(100))
    other = await allowances.reserve(ANNA, NanoGai(100))
    one.void()
    allowances.pay(other, [])
    allowances.pay(one, [use("u1", A, B, 30)])
    await allowances.close()
    assert (one.state, other.state) == ("voided", "voided")
    assert (await ledger.balance(A)).available == 1000


async def test_more_than_reserved_is_refused(allowances: Paying) -> None:
    """So is somebody else's transfer; the reservation is still held then."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    with pytest.raises(InvalidTransfer):
        allowances.pay(held, [use("u1", A, B, 101)])
    with pytest.raises(InvalidTransfer):
        allowances.pay(held, [use("u1", B, A, 1)])
    assert held.state == "held"
    held.void()


async def test_many_first_requests_are_one_call(allowances: Paying, leases: CountedLeases) -> None:
    """Whoever comes together is served by the same lease."""
    held = await asyncio.gather(*(allowances.reserve(ANNA, NanoGai(5)) for _ in range(100)))
    assert leases.calls == 1
    for each in held:
        each.void()


async def test_nobody_reserves_more_than_there_is(allowances: Paying) -> None:
    """As many as the balance bears are served, the others are refused."""
    asked = (allowances.reserve(ANNA, NanoGai(300)) for _ in range(5))
    got = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in got if isinstance(each, InsufficientBalance)]
    assert len(refused) == 2
    with pytest.raises(InsufficientBalance):
        await allowances.reserve(BERT, NanoGai(1))
    for each in got:
        if not isinstance(each, BaseException):
            each.void()
    (await allowances.reserve(ANNA, NanoGai(1000))).void()


def at(allowances: Paying) -> Allowance:
    """Give the only lease that is known."""
    [allowance] = allowances._open.values()
    return allowance


async def settled(allowances: Paying) -> None:
    await until(lambda: not allowances.writer.waiting)


async def test_an_idle_lease_goes_back(ledger: Ledger, allowances: Paying) -> None:
    """Not while a request runs, and the next request gets another one."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    first = at(allowances)
    first.used_at -= IDLE_SECONDS + 1
    await allowances.tick()
    assert (await ledger.balance(A)).reserved > 0
    held.void()
    first.used_at -= IDLE_SECONDS + 1
    await allowances.tick()
    assert (await ledger.balance(A)).reserved == 0
    (await allowances.reserve(ANNA, NanoGai(100))).void()
    assert at(allowances).lease != first.lease


async def test_a_small_balance_is_found_by_another_gateway(
    ledger: Ledger, storage: Storage, allowances: Paying
) -> None:
    """What one has leased and does not need goes back at once; who needs it waits for that."""
    running = await allowances.reserve(ANNA, NanoGai(100))
    allowances.pay(await allowances.reserve(ANNA, NanoGai(800)), [use("u1", A, B, 100)])
    other = Paying.over(ledger, Leases(storage, "g2"))
    try:
        (await other.reserve(ANNA, NanoGai(800))).void()
        with pytest.raises(InsufficientBalance) as refused:
            await other.reserve(ANNA, NanoGai(801))
        assert refused.value.available == 800
    finally:
        await other.close()
    allowances.pay(running, [use("u2", A, B, 100)])
    await allowances.close()
    assert allowances.unaccounted == 0
    assert (await ledger.balance(A)).available == 800


async def test_a_lease_in_use_is_renewed(allowances: Paying, leases: CountedLeases) -> None:
    """Before its time is over; a young one is left alone."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    mine = at(allowances)
    before = mine.valid_until
    await allowances.tick()
    assert mine.valid_until == before
    mine.valid_until -= 0.6 * leases.seconds
    await allowances.tick()
    assert mine.valid_until >= before
    held.void()


async def test_a_lease_that_was_taken_back_is_lost(
    ledger: Ledger, allowances: Paying, leases: CountedLeases, others: Leases
) -> None:
    """What was held in it cannot be billed any more; new requests get a new one."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    await others.sweep(grace=-86_400)
    at(allowances).valid_until -= 0.6 * leases.seconds
    await allowances.tick()
    other = await allowances.reserve(ANNA, NanoGai(100))
    allowances.pay(held, [use("u1", A, B, 30)])
    allowances.pay(other, [use("u2", A, B, 20)])
    await settled(allowances)
    assert (allowances.writer.counts.refused, allowances.unaccounted) == (1, 30)
    assert (await ledger.balance(A)).amount == 980
    assert (await ledger.verify()).unaccounted >= 100


async def test_a_refused_settlement_tells_that_the_lease_is_lost(
    ledger: Ledger, allowances: Paying, others: Leases
) -> None:
    """Also before anybody renews; a request that waits gets a new one in the same call."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    await others.sweep(grace=-86_400)
    allowances.pay(held, [use("u1", A, B, 30)])
    await settled(allowances)
    allowances.pay(await allowances.reserve(ANNA, NanoGai(100)), [use("u2", A, B, 20)])
    await settled(allowances)
    assert (await ledger.balance(A)).amount == 980


async def test_a_lease_that_refused_a_settlement_goes_back(
    ledger: Ledger, allowances: Paying
) -> None:
    """It may have been good all the same, and its payer is to have what lies in it."""
    await ledger.post([use("u1", A, B, 7)])
    allowances.pay(await allowances.reserve(ANNA, NanoGai(100)), [use("u1", A, B, 30)])
    await settled(allowances)
    assert allowances.writer.counts.refused == 1
    held = await allowances.reserve(ANNA, NanoGai(100))
    assert (await ledger.verify()).open_leases == 2
    await allowances.tick()
    assert (await ledger.verify()).open_leases == 1
    held.void()


async def test_what_could_not_be_written_by_the_end_is_booked_when_its_lease_expires(
    ledger: Ledger, allowances: Paying, others: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is not given back as if all of it were settled."""

    async def away(*_: object) -> None:
        raise DatabaseUnreachable("away")

    held = await allowances.reserve(ANNA, NanoGai(100))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "enter", away)
        allowances.pay(held, [use("u1", A, B, 30), fee("f1", A, 3)])
        await allowances.writer.close(0.01)
    await allowances.close()
    assert allowances.unaccounted == 33
    assert (await ledger.balance(A)).reserved > 33
    await others.sweep(grace=-86_400)
    seen = await ledger.verify()
    assert (seen.findings, seen.unaccounted_leases) == ([], 1)
    assert seen.unaccounted >= 33


async def test_a_lease_that_ended_unseen_is_found_when_more_is_asked(
    ledger: Ledger, allowances: Paying, others: Leases
) -> None:
    """The request that asked is served by a new lease."""
    (await allowances.reserve(ANNA, NanoGai(10))).void()
    await others.sweep(grace=-86_400)
    held = await allowances.reserve(ANNA, NanoGai(900))
    allowances.pay(held, [use("u1", A, B, 900)])
    await settled(allowances)
    assert (await ledger.balance(A)).amount == 100


async def test_a_gateway_keeps_its_own_leases_through_an_outage(
    ledger: Ledger, allowances: Paying, leases: CountedLeases, others: Leases
) -> None:
    """What it has served meanwhile is billed, however late; only others may take them back."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    assert await leases.sweep(grace=-86_400) == []
    allowances.pay(held, [use("u1", A, B, 30)])
    await settled(allowances)
    assert (await ledger.balance(A)).amount == 970
    assert len(await others.sweep(grace=-86_400)) == 1


@pytest.mark.parametrize("clocks", [(-1, 0), (0, 1)], ids=["behind", "ahead"])
async def test_a_gateway_whose_clock_is_off_costs_nobody_a_lease(
    ledger: Ledger,
    allowances: Paying,
    others: Leases,
    monkeypatch: pytest.MonkeyPatch,
    clocks: tuple[int, int],
) -> None:
    """Neither itself where it is hours behind, nor the others where it is ahead."""
    own, theirs = clocks
    set_clock(monkeypatch, own)
    held = await allowances.reserve(ANNA, NanoGai(100))
    set_clock(monkeypatch, theirs)
    assert await others.sweep() == []
    allowances.pay(held, [use("u1", A, B, 30)])
    await settled(allowances)
    assert (await ledger.balance(A)).amount == 970


def set_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Let a gateway's own clock be off."""
    off = timedelta(hours=hours)
    monkeypatch.setattr("garage_ai.ledger.leases.utc_now", lambda: datetime.now(UTC) + off)


async def test_a_lease_whose_answer_was_lost_is_given_back(
    allowances: Paying, leases: CountedLeases, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else takes it back while its gateway lives."""
    real = leases.extend

    async def committed_unheard(asked: Sequence[Request]) -> list[Granted]:
        await real(asked)
        raise StorageTimeout("the answer was lost")

    monkeypatch.setattr(leases, "extend", committed_unheard)
    with pytest.raises(StorageTimeout):
        await allowances.reserve(ANNA, NanoGai(100))
    assert (await Ledger(storage).verify()).open_leases == 1
    at(allowances).used_at -= IDLE_SECONDS + 1
    await allowances.tick()
    assert (await Ledger(storage).verify()).open_leases == 0


async def test_a_reservation_that_nobody_ends_expires(allowances: Paying) -> None:
    """Its amount is free again; what is told of it later is counted and not billed."""
    held = await allowances.reserve(ANNA, NanoGai(100))
    held.since -= HOLD_SECONDS + 1
    await allowances.tick()
    assert (held.state, allowances.held) == ("expired", 0)
    allowances.pay(held, [use("u1", A, B, 30)])
    held.void()
    held.expire()
    assert (held.state, allowances.unaccounted) == ("expired", 30)


async def test_nothing_is_reserved_for_nothing(allowances: Paying) -> None:
    """A request that costs nothing needs no balance."""
    held = await allowances.reserve(BERT, NanoGai(0))
    allowances.pay(held, [])
    assert held.state == "voided"


async def test_who_stops_waiting_holds_nothing(ledger: Ledger, allowances: Paying) -> None:
    """Whether its lease has come or not."""
    waiting = asyncio.create_task(allowances.reserve(ANNA, NanoGai(100)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (await allowances.reserve(ANNA, NanoGai(1000))).void()
    assert allowances.held == 0
    await allowances.close()
    assert (await ledger.balance(A)).reserved == 0


async def test_without_a_database_nothing_is_promised(
    allowances: Paying, leases: CountedLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that is there serves on; what needs another one fails, and works again later."""
    (await allowances.reserve(ANNA, NanoGai(10))).void()

    async def away(*_: object) -> None:
        raise DatabaseUnreachable("gone")

    monkeypatch.setattr(leases, "extend", away)
    monkeypatch.setattr(leases, "renew", away)
    (await allowances.reserve(ANNA, NanoGai(10))).void()
    with pytest.raises(DatabaseUnreachable):
        await allowances.reserve(ANNA, NanoGai(900))
    at(allowances).valid_until -= 0.6 * leases.seconds
    with pytest.raises(DatabaseUnreachable):
        await allowances.tick()
    monkeypatch.undo()
    (await allowances.reserve(ANNA, NanoGai(900))).void()


async def test_whoever_waits_too_long_is_told(
    allowances: Paying, leases: CountedLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays reserved for it."""

    async def hang(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(leases, "extend", hang)
    monkeypatch.setattr("garage_ai.ledger.allowances.WAIT_SECONDS", 0.05)
    with pytest.raises(StorageTimeout):
        await allowances.reserve(ANNA, NanoGai(10))
    waiting = asyncio.create_task(allowances.reserve(ANNA, NanoGai(10)))
    await asyncio.sleep(0)
    await allowances.close()
    with pytest.raises(StorageTimeout):
        await waiting


async def test_an_unforeseen_error_reaches_who_waits(
    allowances: Paying, leases: CountedLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next request is served."""

    async def break_down(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "extend", break_down)
        with pytest.raises(RuntimeError):
            await allowances.reserve(ANNA, NanoGai(10))
    (await allowances.reserve(ANNA, NanoGai(10))).void()


async def test_leases_are_renewed_though_none_can_be_given_back(
    allowances: Paying, leases: CountedLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is in use does not end because another is not."""
    idle = await allowances.reserve(ANNA, NanoGai(10))
    idle.void()
    at(allowances).used_at -= IDLE_SECONDS + 1
    ageing = at(allowances).valid_until = at(allowances).valid_until - 0.6 * leases.seconds

    async def away(*_: object) -> None:
        raise DatabaseUnreachable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "close", away)
        with pytest.raises(DatabaseUnreachable):
            await allowances.tick()
    assert at(allowances).valid_until > ageing


async def test_renewing_goes_on_after_an_unforeseen_error(
    allowances: Paying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again at the next turn."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        turns += 1
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("garage_ai.ledger.allowances.TICK_SECONDS", 0.01)
    monkeypatch.setattr(allowances, "tick", tick)
    going = asyncio.create_task(allowances._run())
    await until(lambda: turns > 1)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
