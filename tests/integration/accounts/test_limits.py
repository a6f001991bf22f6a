"""Limits over a real database: set, held, given back, told to other gateways."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from garage_ai.accounts import (
    OPERATOR,
    BudgetExceeded,
    Demand,
    Dimension,
    ExpiredKey,
    InvalidField,
    Key,
    KeyId,
    KeyNotFound,
    KeyRing,
    Leases,
    LimitBook,
    Limits,
    LimitSettings,
    LimitsUnavailable,
    MemberId,
    MemberNotFound,
    Members,
    RateLimited,
    StoredPools,
)
from garage_ai.accounts.limit_models import Fail
from garage_ai.storage import DatabaseUnreachable, Storage

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
SMALL = Demand(10)


class Gateways:
    """Gateways over one database, each with limits of its own."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self._count = 0

    async def open(self, *, fail: Fail = "closed") -> tuple[Limits, LimitBook, Leases, Storage]:
        """Begin one more; all are closed at the end of the test."""
        self._count += 1
        storage = await Storage.open(self._url)
        self._stack.push_async_callback(storage.close)
        book = await LimitBook.open(storage)
        self._stack.push_async_callback(book.close)
        leases = Leases(StoredPools(storage), f"gateway-{self._count}")
        leases.start()
        self._stack.push_async_callback(leases.close)
        return Limits(book, leases, fail=fail), book, leases, storage


@pytest.fixture
async def gateways(database: str) -> AsyncIterator[Gateways]:
    """No gateway yet."""
    async with AsyncExitStack() as stack:
        yield Gateways(database, stack)


@pytest.fixture
async def make_key(storage: Storage) -> AsyncIterator[Callable[..., asyncio.Future[Key]]]:
    """Make keys of the operator or of a member."""
    ring = await KeyRing.open(storage)

    def make(
        limits: LimitSettings | None = None, member: MemberId = OPERATOR
    ) -> asyncio.Future[Key]:
        async def made() -> Key:
            return (await ring.create("k", member, limits=limits or LimitSettings())).key

        return asyncio.ensure_future(made())

    yield make
    await ring.close()


MakeKey = Callable[..., asyncio.Future[Key]]


async def let_in(limits: Limits, key: Key, tries: int) -> int:
    """Count how many of so many requests get in; each ends at once."""
    count = 0
    for _ in range(tries):
        try:
            (await limits.admit(key, SMALL)).finish(10)
            count += 1
        except (RateLimited, BudgetExceeded):
            pass
    return count


async def test_requests_a_minute_are_exact(gateways: Gateways, make_key: MakeKey) -> None:
    """As many as allowed get in, not one more, and the next is told when to come."""
    key = await make_key(LimitSettings(rpm=7))
    limits, *_ = await gateways.open()
    assert await let_in(limits, key, 20) == 7
    with pytest.raises(RateLimited, match="7 requests per minute") as caught:
        await limits.admit(key, SMALL)
    assert caught.value.retry_after is not None
    assert 55 < caught.value.retry_after <= 61
    headers = dict(caught.value.headers)
    assert headers[b"x-ratelimit-limit-requests"] == b"7"
    assert headers[b"x-ratelimit-remaining-requests"] == b"0"


async def test_no_limits_no_questions(gateways: Gateways, make_key: MakeKey) -> None:
    """A key without limits is let in with a ticket that tells nothing and books nothing."""
    key = await make_key()
    limits, book, *_ = await gateways.open()
    ticket = await limits.admit(key, SMALL)
    assert ticket.headers() == []
    ticket.finish(10)
    assert await book.used_by_key(key.id) == {}


async def test_none_is_no_limit_and_zero_is_nothing(gateways: Gateways, make_key: MakeKey) -> None:
    """Zero lets nobody in and names no time to come again; None takes it away."""
    key = await make_key(LimitSettings(rpm=0))
    limits, book, *_ = await gateways.open()
    with pytest.raises(RateLimited) as caught:
        await limits.admit(key, SMALL)
    assert caught.value.retry_after is None
    await book.change_key(key.id, {"rpm": None})
    assert await let_in(limits, key, 3) == 3


async def test_tokens_hold_their_worst_case_until_the_end(
    gateways: Gateways, make_key: MakeKey
) -> None:
    """What a request may use is held while it runs; what it did not use is room again."""
    key = await make_key(LimitSettings(tpm=100))
    limits, *_ = await gateways.open()
    ticket = await limits.admit(key, Demand(80))
    with pytest.raises(RateLimited, match="100 tokens per minute"):
        await limits.admit(key, Demand(30))
    ticket.finish(20)
    ticket.finish(20)
    second = await limits.admit(key, Demand(80))
    assert dict(second.headers())[b"x-ratelimit-remaining-tokens"] == b"0"
    second.finish(80)
    with pytest.raises(RateLimited):
        await limits.admit(key, Demand(1))


async def test_a_request_larger_than_the_limit(gateways: Gateways, make_key: MakeKey) -> None:
    """An answer that the client bounds too high never fits; a long prompt asks for all there is."""
    key = await make_key(LimitSettings(tpm=100))
    limits, *_ = await gateways.open()
    with pytest.raises(RateLimited) as caught:
        await limits.admit(key, Demand(500, completion=101))
    assert caught.value.retry_after is None
    (await limits.admit(key, Demand(500, completion=50))).finish(100)


async def test_more_than_the_worst_case_is_a_debt(gateways: Gateways, make_key: MakeKey) -> None:
    """What was used is booked, even where nobody expected so much."""
    key = await make_key(LimitSettings(daily_tokens=100))
    limits, book, *_ = await gateways.open()
    (await limits.admit(key, Demand(10))).finish(150)
    with pytest.raises(BudgetExceeded):
        await limits.admit(key, Demand(1))
    await booked(book, key.id, Dimension.DAILY_TOKENS, 150)


async def test_a_batch_leaves_the_minute_to_chats(gateways: Gateways, make_key: MakeKey) -> None:
    """Requests and tokens of a minute, and those at a time; budgets hold for it as well."""
    key = await make_key(LimitSettings(streams=1, rpm=2, tpm=50, daily_tokens=100))
    limits, *_ = await gateways.open()
    batch = replace(SMALL, live=False)
    tickets = [await limits.admit(key, batch) for _ in range(5)]
    chat = await limits.admit(key, SMALL)
    with pytest.raises(RateLimited, match="1 requests at a time"):
        await limits.admit(key, SMALL)
    for ticket in tickets:
        ticket.finish(15)
    (await limits.admit(key, batch)).finish(15)
    with pytest.raises(BudgetExceeded):
        await limits.admit(key, batch)
    chat.finish(5)


async def test_who_may_ask_nothing_may_not_ask_by_batch(
    gateways: Gateways, make_key: MakeKey
) -> None:
    """A limit of nothing at all is how an operator stops a key."""
    keys = [await make_key(each) for each in (LimitSettings(rpm=0), LimitSettings(tpm=0))]
    limits, *_ = await gateways.open()
    for key in keys:
        with pytest.raises(RateLimited):
            await limits.admit(key, replace(SMALL, live=False))


async def test_slots_come_back_with_the_end(gateways: Gateways, make_key: MakeKey) -> None:
    """So many run at a time; an end or a leave frees a slot, once."""
    key = await make_key(LimitSettings(streams=2))
    limits, *_ = await gateways.open()
    first, second = [await limits.admit(key, SMALL) for _ in range(2)]
    with pytest.raises(RateLimited, match="2 requests at a time"):
        await limits.admit(key, SMALL)
    first.leave()
    first.finish(0)
    third = await limits.admit(key, SMALL)
    with pytest.raises(RateLimited):
        await limits.admit(key, SMALL)
    second.finish(0)
    third.finish(0)
    assert await let_in(limits, key, 5) == 5


async def test_a_charge_comes_back_at_the_end(gateways: Gateways, make_key: MakeKey) -> None:
    """A budget in GAI is used by charges, which nobody knows before the end."""
    key = await make_key(LimitSettings(monthly_gai=1_000))
    limits, book, *_ = await gateways.open()
    (await limits.admit(key, Demand(10))).finish(10, 400)
    ticket = await limits.admit(key, Demand(10, charge=600))
    with pytest.raises(BudgetExceeded, match="nGAI per month") as caught:
        await limits.admit(key, Demand(10))
    assert caught.value.retry_after is not None
    ticket.finish(10, 600)
    with pytest.raises(BudgetExceeded):
        await limits.admit(key, Demand(10))
    await booked(book, key.id, Dimension.MONTHLY_GAI, 1_000)


async def test_a_members_limit_holds_for_all_its_keys(
    gateways: Gateways, make_key: MakeKey, storage: Storage
) -> None:
    """Two keys of one member share what the member may; the tighter limit decides."""
    member = (await Members(storage).add("Anna")).id
    one, two = await make_key(LimitSettings(rpm=5), member), await make_key(None, member)
    limits, book, *_ = await gateways.open()
    await book.change_member(member, {"rpm": 8, "models": frozenset({"a", "b"})})
    await book.change_key(one.id, {"models": frozenset({"b", "c"})})
    assert await let_in(limits, one, 10) == 5
    assert await let_in(limits, two, 10) == 3
    assert limits.models(one) == frozenset("b")
    assert limits.models(two) == frozenset("ab")


async def test_a_key_expires(gateways: Gateways, make_key: MakeKey) -> None:
    """Until its moment it works; the moment may be moved."""
    past, future = [datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1)]
    key = await make_key(LimitSettings(expires_at=past))
    limits, book, *_ = await gateways.open()
    with pytest.raises(ExpiredKey):
        limits.check_expiry(key)
    await book.change_key(key.id, {"expires_at": future})
    limits.check_expiry(key)
    assert book.of(key.id).expires_at == future


async def test_what_cannot_be_kept(storage: Storage, gateways: Gateways, make_key: MakeKey) -> None:
    """Numbers below zero, unknown regions and owners are refused, and nothing is changed."""
    key = await make_key(LimitSettings(rpm=1))
    _, book, *_ = await gateways.open()
    for changes in ({"rpm": -1}, {"tpm": 2**63}, {"models": {""}}, {"regions": {"NO-03"}}):
        with pytest.raises(InvalidField):
            await book.change_key(key.id, changes)
    with pytest.raises(KeyNotFound):
        await book.change_key(KeyId("key_none"), {"rpm": 1})
    with pytest.raises(MemberNotFound):
        await book.change_member(MemberId(key.id), {"rpm": 1})
    assert book.of(key.id) == LimitSettings(rpm=1)


async def test_another_gateway_hears_of_a_change(gateways: Gateways, make_key: MakeKey) -> None:
    """A limit that one gateway sets holds at another within a second."""
    key = await make_key()
    _, book, *_ = await gateways.open()
    there, *_ = await gateways.open()
    await book.change_key(key.id, {"models": frozenset({"small"})})
    await until(lambda: there.models(key) == frozenset({"small"}))


async def test_two_gateways_share_one_limit(gateways: Gateways, make_key: MakeKey) -> None:
    """What one does not use the other gets; together they get exactly what is allowed."""
    key = await make_key(LimitSettings(rpm=40))
    here, *_ = await gateways.open()
    there, *_ = await gateways.open()
    assert await let_in(here, key, 4) == 4
    assert await let_in(there, key, 60) == 36
    assert await let_in(here, key, 5) == 0


async def test_what_was_used_outlives_its_gateway(gateways: Gateways, make_key: MakeKey) -> None:
    """A gateway that ends books what was used, and frees the rest at once."""
    key = await make_key(LimitSettings(daily_tokens=100))
    here, _, leases, _ = await gateways.open()
    (await here.admit(key, Demand(90))).finish(30)
    await leases.close()
    there, *_ = await gateways.open()
    (await there.admit(key, Demand(70))).finish(70)
    with pytest.raises(BudgetExceeded):
        await there.admit(key, Demand(1))


async def test_a_key_that_was_idle_works_again(
    gateways: Gateways, make_key: MakeKey, storage: Storage
) -> None:
    """What nobody uses is given back and forgotten, and asked for again."""
    key = await make_key(LimitSettings(rpm=100, streams=4))
    later = [0.0]
    _, book, *_ = await gateways.open()
    leases = Leases(StoredPools(storage), "mine", clock=lambda: time.monotonic() + later[0])
    leases.start()
    limits = Limits(book, leases)
    assert await let_in(limits, key, 3) == 3
    later[0] = 11.0
    await until(lambda: leases.forgotten == 2)
    assert await let_in(limits, key, 100) == 97
    await leases.close()


async def test_a_dead_gateways_share_comes_back(gateways: Gateways, make_key: MakeKey) -> None:
    """Slots of a gateway that was killed are free when its lease ends."""
    key = await make_key(LimitSettings(streams=2))
    here, _, leases, _ = await gateways.open()
    there, *_ = await gateways.open()
    for _ in range(2):
        await here.admit(key, SMALL)
    assert leases._task is not None
    leases._task.cancel()
    with pytest.raises(RateLimited):
        await there.admit(key, SMALL)
    await until(lambda: let_in(there, key, 1))


@pytest.mark.parametrize("fail", ["open", "closed"])
async def test_without_a_database(gateways: Gateways, make_key: MakeKey, fail: Fail) -> None:
    """Closed refuses, open lets in and counts; what was used is booked when it is back."""
    key = await make_key(LimitSettings(daily_tokens=1_000))
    limits, book, leases, storage = await gateways.open(fail=fail)
    write = storage.write

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnreachable("gone")

    storage.write = away  # type: ignore[assignment,method-assign]
    if fail == "closed":
        with pytest.raises(LimitsUnavailable) as caught:
            await limits.admit(key, Demand(10))
        assert caught.value.retry_after == 1.0
    else:
        (await limits.admit(key, Demand(10))).finish(7)
        assert limits.unchecked == 1
    assert leases.failures >= 1
    storage.write = write  # type: ignore[method-assign]
    if fail == "open":
        await booked(book, key.id, Dimension.DAILY_TOKENS, 7)
    async with asyncio.timeout(PATIENCE):
        while limits.unchecked == (fail == "open"):
            try:
                (await limits.admit(key, Demand(10))).finish(0)
                break
            except LimitsUnavailable:
                await asyncio.sleep(0.1)


async def booked(book: LimitBook, key: KeyId, dimension: Dimension, units: int) -> None:
    """Wait until so much is booked."""

    async def is_booked() -> bool:
        return (await book.used_by_key(key)).get(dimension) == units

    await until(is_booked)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)
