"""Grants in the real books: given once a month to who comes, and never on top of savings."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update
from tests.parts.money import ANNA, BERT, A, B, use

from garage_ai.ledger import GAI, ISSUANCE, Kind, Ledger, member_account
from garage_ai.ledger.grants import Grants
from garage_ai.ledger.rewards import Rules
from garage_ai.storage import MemberId, Storage
from garage_ai.storage.tables import members

pytestmark = pytest.mark.anyio

RULES = Rules()


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2027, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def grants(storage: Storage, ledger: Ledger, clock: Clock) -> Grants:
    for member in (ANNA, BERT):
        await add_member(storage, member, clock.now - timedelta(days=90))
    return Grants(storage, ledger, RULES, clock)


async def add_member(storage: Storage, member: MemberId, joined: datetime) -> None:
    async with storage.write() as connection:
        row = {"id": member, "name": member, "created_at": joined}
        await connection.execute(insert(members).values(**row))


async def test_who_comes_has_a_grant_a_month(grants: Grants, ledger: Ledger, clock: Clock) -> None:
    """Once, however often it is asked for; the next month fills up what was used."""
    for _ in range(3):
        await grants.give(ANNA)
    assert (await ledger.balance(A)).amount == RULES.grant
    await ledger.post([use("u1", A, B, 2 * GAI)])
    await grants.give(ANNA)
    assert (await ledger.balance(A)).amount == RULES.grant - 2 * GAI
    clock.now += timedelta(days=31)
    await grants.give(ANNA)
    assert (await ledger.balance(A)).amount == RULES.grant
    kinds = [each.kind for each in (await ledger.statement(A)).transfers]
    assert kinds == [Kind.GRANT, Kind.USE, Kind.GRANT]


async def test_savings_take_its_place(grants: Grants, ledger: Ledger) -> None:
    """Who has earned a part gets the rest, and who has a whole grant gets nothing."""
    await grants.give(ANNA)
    await ledger.post([use("u1", A, B, 3 * GAI)])
    await grants.give(BERT)
    assert (await ledger.balance(B)).amount == RULES.grant
    [grant, _] = (await ledger.statement(B)).transfers
    assert grant.amount == 2 * GAI


async def test_many_have_it_in_one_go(
    grants: Grants, storage: Storage, ledger: Ledger, clock: Clock
) -> None:
    """Each what is missing, also where one had it, one was decided, and one is nobody."""
    new = MemberId("mbr_cilla")
    await add_member(storage, new, clock.now)
    await grants.give(ANNA)
    dying = Grants(storage, _Deaf(ledger), RULES, clock)
    with pytest.raises(ConnectionError):
        await dying.give(BERT)
    some = (ANNA, BERT, new, MemberId("mbr_nobody"))
    await grants.give(*some)
    assert [grants.has(each) for each in some] == [True, True, True, False]
    held = [(await ledger.balance(member_account(each))).amount for each in some]
    assert held == [RULES.grant, RULES.grant, RULES.grant, 0]
    clock.now += timedelta(days=31)
    assert not any(map(grants.has, some))


async def test_several_gateways_give_it_once(
    grants: Grants, storage: Storage, ledger: Ledger, clock: Clock
) -> None:
    """Each tries at the same moment; the books have one grant."""
    others = [Grants(storage, ledger, RULES, clock) for _ in range(3)]
    await asyncio.gather(*(each.give(ANNA) for each in (grants, *others)))
    assert (await ledger.balance(A)).amount == RULES.grant
    assert (await ledger.balance(ISSUANCE)).amount == -RULES.grant


async def test_joining_in_the_month_gives_the_rest_of_it(
    grants: Grants, storage: Storage, ledger: Ledger, clock: Clock
) -> None:
    """On the sixteenth of thirty-one days, sixteen of them."""
    clock.now = datetime(2027, 3, 16, 12, tzinfo=UTC)
    new = MemberId("mbr_cilla")
    await add_member(storage, new, clock.now)
    await grants.give(new)
    assert (await ledger.balance(A)).amount == 0
    assert (await ledger.balance(B)).amount == 0
    assert -(await ledger.balance(ISSUANCE)).amount == RULES.grant * 16 // 31


async def test_who_is_suspended_gets_none(grants: Grants, storage: Storage, ledger: Ledger) -> None:
    """Nor who was erased, nor who never was; once back, there is one."""
    ended = {ANNA: {"suspended_at": datetime.now(UTC)}, BERT: {"erased_at": datetime.now(UTC)}}
    async with storage.write() as connection:
        for member, values in ended.items():
            change = update(members).where(members.c.id == member).values(**values)
            await connection.execute(change)
    for member in (ANNA, BERT, MemberId("mbr_nobody")):
        await grants.give(member)
    assert (await ledger.balance(ISSUANCE)).amount == 0
    async with storage.write() as connection:
        back = update(members).where(members.c.id == ANNA).values(suspended_at=None)
        await connection.execute(back)
    await grants.give(ANNA)
    assert (await ledger.balance(A)).amount == RULES.grant


async def test_what_was_decided_is_posted_by_the_next(
    grants: Grants, storage: Storage, ledger: Ledger, clock: Clock
) -> None:
    """A gateway that dies between the two leaves an amount, and that is what is given."""
    dying = Grants(storage, _Deaf(ledger), RULES, clock)
    with pytest.raises(ConnectionError):
        await dying.give(ANNA)
    assert (await ledger.balance(A)).amount == 0
    clock.now += timedelta(days=3)
    await grants.give(ANNA)
    [grant] = (await ledger.statement(A)).transfers
    assert grant.amount == RULES.grant
    assert grant.at == clock.now - timedelta(days=3)


class _Deaf:
    """A ledger whose gateway dies before it posts."""

    def __init__(self, ledger: Ledger) -> None:
        self.balance = ledger.balance

    async def post(self, transfers: object) -> int:
        raise ConnectionError
