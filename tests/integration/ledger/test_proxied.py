"""Calls of a proxy in a real database: kept once, passed on to the nGAI, compared by id."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select
from tests.parts.money import grant

from garage_ai.accounts import Members
from garage_ai.audit.models import Actor, utc_now
from garage_ai.ledger import AccountId, Grants, Kind, Ledger, NanoGai, Transfer, member_account
from garage_ai.ledger.proxied import (
    Booker,
    MappingNotFound,
    Mappings,
    Page,
    ProxiedCall,
    ProxiedCalls,
    Reconciliation,
    UnknownMember,
)
from garage_ai.ledger.proxied.booking import RETRIED
from garage_ai.ledger.rewards import Rules
from garage_ai.storage import KeyId, MemberId, Storage
from garage_ai.storage.tables import litellm_calls, usage

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = KeyId("key_proxy")
CALL = ProxiedCall(
    call_id="c1",
    request_id=None,
    begun_at=NOON,
    ended_at=NOON + timedelta(seconds=1),
    model="mock",
    route="acompletion",
    stream=True,
    sent=True,
    outcome="ok",
    prompt_tokens=16,
    completion_tokens=5,
    cost=NanoGai(26_000),
    key_alias="anna",
)


class Death(Exception):
    """The process dies here."""


class Office:
    """A proxy's member, Anna, and everything that is kept of their calls."""

    def __init__(self, storage: Storage, proxy: MemberId, anna: MemberId) -> None:
        self.storage, self.proxy, self.anna = storage, proxy, anna
        self.ledger = Ledger(storage)
        self.calls, self.mappings = ProxiedCalls(storage), Mappings(storage)
        self.booker = Booker(storage, self.ledger)
        self.reconciliation = Reconciliation(storage, self.calls)
        self._given = 0

    @property
    def later(self) -> Booker:
        """Book when nobody tries the calls again any more."""
        return Booker(self.storage, self.ledger, clock=lambda: utc_now() + RETRIED)

    @property
    def account(self) -> AccountId:
        """Anna's account."""
        return member_account(self.anna)

    async def give(self, member: MemberId, amount: int) -> None:
        """Let a member have something."""
        self._given += 1
        await self.ledger.post([grant(f"grant-{self._given}", member_account(member), amount)])

    async def passed_on(self) -> list[Transfer]:
        """Give what was passed on, oldest first."""
        return [each async for each in self.ledger.entries() if each.kind == Kind.PASSED_ON]

    async def tell(self, *calls: ProxiedCall, proxy: MemberId | None = None) -> list[str]:
        """Tell calls as the proxy does."""
        return list(await self.calls.tell(proxy or self.proxy, KEY, calls))

    async def serve(
        self,
        request: str,
        caller: str | None = "c1",
        *,
        charge: int | None = 26_000,
        tokens: tuple[int | None, int | None] = (16, 5),
        outcome: str = "ok",
        at: datetime = NOON,
    ) -> None:
        """Have the gateway serve a request of the proxy's key, and charge for it."""
        row = {
            "request_id": request,
            "caller_id": caller,
            "at": at,
            "outcome": outcome,
            "member_id": self.proxy,
            "key_id": KEY,
            "route": "chat",
            "model": "mock",
            "stream": True,
            "content_events": 5,
            "bytes_out": 9,
            "duration_s": 0.5,
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "attempts": 1,
            "charge": charge,
        }
        async with self.storage.write() as connection:
            await connection.execute(insert(usage).values(row))

    async def compare(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[dict[str, int], list[tuple[str, str | None, str | None]]]:
        """Compare everything, page by page."""
        counts: dict[str, int] = {}
        found: list[tuple[str, str | None, str | None]] = []
        after: str | None = None
        while True:
            page: Page = await self.reconciliation.page(since, until, after)
            for verdict, count in page.counts.items():
                counts[verdict] = counts.get(verdict, 0) + count
            found += [(each.kind, each.call_id, each.request_id) for each in page.differences]
            if page.after is None:
                return counts, found
            after = page.after


@pytest.fixture
async def office(storage: Storage) -> Office:
    """An office with a database of its own."""
    members = Members(storage)
    return Office(storage, (await members.add("proxy")).id, (await members.add("Anna")).id)


async def test_a_call_is_kept_once(office: Office) -> None:
    """Told again, also in one group, it is known; the first word stands."""
    assert await office.tell(CALL, CALL) == ["new", "known"]
    assert await office.tell(replace(CALL, completion_tokens=99)) == ["known"]
    [kept] = await office.calls.page(None, None, 0, 10)
    assert (kept.call, kept.proxy, kept.proxy_key) == (CALL, office.proxy, KEY)


async def test_a_call_of_another_proxy_is_not_taken_over(office: Office) -> None:
    """Who tells first has it; another member's proxy is refused."""
    await office.tell(CALL)
    assert await office.tell(CALL, proxy=office.anna) == ["taken"]


async def test_a_mapped_call_is_passed_on_to_the_ngai(office: Office) -> None:
    """Anna pays exactly what the proxy was charged, once, however often it is looked at."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(CALL)
    await office.serve("req_1", charge=26_001)
    assert [await office.booker.book(), await office.booker.book()] == [1, 0]
    [transfer] = await office.passed_on()
    assert (transfer.id, transfer.kind, transfer.amount) == ("litellm:c1", Kind.PASSED_ON, 26_001)
    assert (transfer.debit, transfer.credit) == (
        member_account(office.anna),
        member_account(office.proxy),
    )
    assert transfer.request_id == "req_1"
    [kept] = await office.calls.page(None, None, 0, 10)
    assert (kept.booked_to, kept.booked) == (office.anna, 26_001)


async def test_an_unmapped_call_waits_for_its_mapping(office: Office) -> None:
    """It is the proxy's own until then, and booked as soon as there is one."""
    await office.give(office.anna, 100_000)
    await office.tell(CALL)
    await office.serve("req_1")
    assert await office.booker.book() == 0
    await office.mappings.put("alias", "anna", office.anna)
    assert await office.booker.book() == 1


async def test_a_call_that_is_not_settled_yet_waits(office: Office) -> None:
    """The report may come before the gateway's record of the request."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(CALL)
    assert await office.booker.book() == 0
    await office.serve("req_1")
    assert await office.booker.book() == 1


@pytest.mark.parametrize("charge", [None, 0])
async def test_what_costs_nothing_is_not_passed_on(office: Office, charge: int | None) -> None:
    """And is not looked at again, once it is too late for another try."""
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(CALL)
    await office.serve("req_1", charge=charge)
    assert await office.later.book() == 0
    async with office.storage.read() as connection:
        assert await connection.scalar(select(litellm_calls.c.state)) == "nothing"


@pytest.mark.parametrize("late", [False, True])
async def test_a_call_that_is_tried_again_is_passed_on(office: Office, late: bool) -> None:
    """LiteLLM tells of the try that was refused; the next has the same id, and costs something."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(replace(CALL, outcome="failed"))
    await office.serve("req_1", charge=None, outcome="no_capacity")
    if not late:
        assert await office.booker.book() == 0
    assert await office.tell(CALL) == ["known"]
    await office.serve("req_2")
    assert await (office.later if late else office.booker).book() == 1
    [transfer] = await office.passed_on()
    assert (transfer.request_id, transfer.amount) == ("req_2", 26_000)
    [kept] = await office.calls.page(None, None, 0, 10)
    assert (kept.booked_to, kept.booked) == (office.anna, 26_000)


async def test_who_has_not_enough_keeps_nobody_else_waiting(office: Office) -> None:
    """The call waits for a balance; the next one is booked."""
    bo = (await Members(office.storage).add("Bo")).id
    await office.give(bo, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.mappings.put("alias", "bo", bo)
    await office.tell(CALL, replace(CALL, call_id="c2", key_alias="bo"))
    await office.serve("req_1")
    await office.serve("req_2", "c2")
    assert await office.booker.book() == 1
    assert [each.id for each in await office.passed_on()] == ["litellm:c2"]
    await office.give(office.anna, 26_000)
    assert await office.booker.book() == 1


async def test_calls_that_nobody_is_mapped_to_keep_no_other_waiting(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are looked at each time, of the old ones a few; in turn, so that all are."""
    monkeypatch.setattr("garage_ai.ledger.proxied.booking.LOOK", 2)
    await office.give(office.anna, 1_000_000)
    await office.mappings.put("alias", "anna", office.anna)
    for number in range(7):
        await office.tell(replace(CALL, call_id=f"c{number}", key_alias="bo"))
        await office.serve(f"req_{number}", f"c{number}")
    await office.tell(replace(CALL, call_id="c7"))
    await office.serve("req_7", "c7")
    assert await office.booker.book() == 1
    await office.mappings.put("alias", "bo", office.anna)
    booked = [await office.booker.book() for _ in range(4)]
    assert sum(booked) == 7
    assert len(await office.passed_on()) == 8


async def test_who_comes_by_a_proxy_alone_has_the_months_grant_too(office: Office) -> None:
    """It is given before the first call is passed on, as with a key of one's own."""
    grants = Grants(office.storage, office.ledger, Rules())
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(CALL)
    await office.serve("req_1")
    assert await Booker(office.storage, office.ledger, before=grants.give).book() == 1
    kinds = [each.kind for each in (await office.ledger.statement(office.account)).transfers]
    assert kinds == [Kind.PASSED_ON, Kind.GRANT]


async def test_of_who_has_not_enough_one_call_is_tried_at_a_time(office: Office) -> None:
    """The others behind it wait without a question to the books, and follow in their order."""
    asked: list[str] = []

    class Listening(Ledger):
        async def post(self, transfers: Sequence[Transfer], *, by: Actor | None = None) -> int:
            asked.extend(each.id for each in transfers)
            return await super().post(transfers, by=by)

    booker = Booker(office.storage, Listening(office.storage))
    await office.mappings.put("alias", "anna", office.anna)
    for number in range(3):
        await office.tell(replace(CALL, call_id=f"c{number}"))
        await office.serve(f"req_{number}", f"c{number}")
    assert [await booker.book(), await booker.book()] == [0, 0]
    assert asked == ["litellm:c0", "litellm:c0"]
    await office.give(office.anna, 60_000)
    assert await booker.book() == 2
    assert [each.id for each in await office.passed_on()] == ["litellm:c0", "litellm:c1"]


async def test_a_death_after_the_transfer_books_nothing_twice(office: Office) -> None:
    """Posted but not noted, and mapped to another since: the first payer stays the payer."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(CALL)
    await office.serve("req_1")

    class Dies(Ledger):
        async def post(self, transfers: Sequence[Transfer], *, by: Actor | None = None) -> int:
            await super().post(transfers, by=by)
            raise Death

    with pytest.raises(Death):
        await Booker(office.storage, Dies(office.storage)).book()
    bo = (await Members(office.storage).add("Bo")).id
    await office.give(bo, 100_000)
    await office.mappings.put("alias", "anna", bo)
    await office.booker.book()
    assert [each.debit for each in await office.passed_on()] == [member_account(office.anna)]
    [kept] = await office.calls.page(None, None, 0, 10)
    assert kept.booked_to == office.anna


@pytest.mark.parametrize(
    ("mapped", "payer"),
    [
        ({"team": "t1"}, "team"),
        ({"team": "the team"}, "team"),
        ({"team": "t1", "user": "u1"}, "user"),
        ({"team": "t1", "user": "u1", "alias": "anna"}, "alias"),
        ({"team": "t1", "user": "u1", "alias": "anna", "key": "h1"}, "key"),
    ],
)
async def test_the_most_exact_mapping_decides(
    office: Office, mapped: dict[str, str], payer: str
) -> None:
    """A key before its alias, that before the user, that before the team."""
    who = replace(
        CALL, key_hash="h1", key_user_id="u1", key_team_id="t1", key_team_alias="the team"
    )
    members = {kind: (await Members(office.storage).add(kind)).id for kind in mapped}
    for kind, value in mapped.items():
        await office.give(members[kind], 100_000)
        await office.mappings.put(kind, value, members[kind])  # type: ignore[arg-type]
    await office.tell(who)
    await office.serve("req_1")
    await office.booker.book()
    [transfer] = await office.passed_on()
    assert transfer.debit == member_account(members[payer])


async def test_a_request_belongs_to_the_call_that_it_names(office: Office) -> None:
    """A call that claims another's request gets nothing passed on for it."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.tell(replace(CALL, call_id="c9", request_id="req_1"))
    await office.serve("req_1", "c1")
    assert await office.booker.book() == 0


async def test_a_request_is_passed_on_once(office: Office) -> None:
    """Of several calls that claim the same request the first has it, also when that is booked."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    first, *others = (
        replace(CALL, call_id=f"c{number}", request_id="req_1") for number in range(3)
    )
    await office.serve("req_1", None)
    await office.tell(first, others[0])
    assert await office.booker.book() == 1
    await office.tell(others[1])
    assert await office.booker.book() == 0
    assert [each.id for each in await office.passed_on()] == ["litellm:c0"]


async def test_a_members_calls_are_found(office: Office) -> None:
    """Page by page in the order of their coming, also those that cost nothing; nobody else's."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    for number in (2, 0, 1):
        await office.tell(replace(CALL, call_id=f"c{number}"))
    await office.serve("req_2", "c2")
    await office.serve("req_0", "c0", charge=0)
    assert await office.booker.book() == 1
    await office.tell(replace(CALL, call_id="c3", sent=False), replace(CALL, call_id="c4"))
    await office.tell(replace(CALL, call_id="c9", key_alias=None))
    first = await office.calls.of_member(office.anna, 0, 2)
    rest = await office.calls.of_member(office.anna, first[-1].seq, 9)
    assert [told.call.call_id for told in [*first, *rest]] == ["c2", "c0", "c1", "c3", "c4"]
    assert await office.calls.of_member(office.proxy, 0, 9) == []


async def test_who_is_erased_is_named_in_no_call(office: Office) -> None:
    """Whether it was passed on, waits, cost nothing or was never sent; nor in another's."""
    await office.give(office.anna, 100_000)
    await office.mappings.put("alias", "anna", office.anna)
    await office.mappings.put("user", "anna@example.org", office.anna)
    await office.mappings.put("user", "bo@example.org", office.proxy)
    await office.mappings.put("key", "h2", office.proxy)
    named = replace(CALL, key_hash="h1", key_user_id="anna@example.org", key_team_alias="anna's")
    of_bo = replace(CALL, key_alias=None, key_user_id="bo@example.org")
    await office.tell(
        named,
        replace(named, call_id="c2"),
        replace(of_bo, call_id="c3"),
        replace(named, call_id="c4", outcome="failed"),
        replace(named, call_id="c5", sent=False),
        replace(named, call_id="c6", key_hash="h2", key_team_alias="bo's"),
    )
    await office.serve("req_1")
    await office.serve("req_4", "c4", charge=0, outcome="node_failed")
    assert await office.booker.book() == 1
    await Members(office.storage).erase(office.anna, "Anna")
    kept = await office.calls.page(None, None, 0, 10)
    assert "anna" not in repr([each.call for each in kept])
    assert [each.call.key_hash for each in kept] == [*[None] * 5, "h2"]
    assert [each.call.key_user_id for each in kept if each.call.key_user_id] == ["bo@example.org"]
    assert [each.kind for each in await office.mappings.list()] == ["key", "user"]
    await office.serve("req_2", "c2")
    assert await office.booker.book() == 0


async def test_what_an_erased_member_called_its_requests_is_gone(office: Office) -> None:
    """A client may write anything there."""
    await office.serve("req_1", "anna-svensson-homework")
    await Members(office.storage).erase(office.proxy, "proxy")
    async with office.storage.read() as connection:
        assert (await connection.execute(select(usage.c.caller_id))).scalars().all() == [None]


async def test_mappings_are_put_listed_and_removed(office: Office) -> None:
    """A second one of the same replaces the first; who is unknown or was erased is refused."""
    await office.mappings.put("team", " t1 ", office.proxy)
    await office.mappings.put("team", "t1", office.anna)
    [mapping] = await office.mappings.list()
    assert (mapping.kind, mapping.value, mapping.member) == ("team", "t1", office.anna)
    with pytest.raises(UnknownMember):
        await office.mappings.put("team", "t1", MemberId("mbr_nobody"))
    await Members(office.storage).erase(office.proxy, "proxy")
    with pytest.raises(UnknownMember):
        await office.mappings.put("team", "t1", office.proxy)
    await office.mappings.remove("team", "t1")
    with pytest.raises(MappingNotFound):
        await office.mappings.remove("team", "t1")


async def test_both_sides_agree(office: Office) -> None:
    """By LiteLLM's id, and where the gateway never heard that, by the gateway's."""
    await office.tell(CALL, replace(CALL, call_id="c2", request_id="req_2"))
    await office.serve("req_1")
    await office.serve("req_2", None)
    assert await office.compare() == ({"equal": 2}, [])


async def test_every_kind_of_difference_is_found(office: Office) -> None:
    """Missing on either side, double, other tokens, other cost, another end."""
    told = {name: replace(CALL, call_id=name) for name in ("only", "dbl", "tok", "cost", "end")}
    await office.tell(*told.values())
    await office.serve("r_dbl1", "dbl")
    await office.serve("r_dbl2", "dbl")
    await office.serve("r_tok", "tok", tokens=(16, 6))
    await office.serve("r_cost", "cost", charge=27_000)
    await office.serve("r_end", "end", outcome="engine_error")
    await office.serve("r_alone", "never_told")
    await office.serve("r_direct", None)
    counts, found = await office.compare()
    assert found == [
        ("only_litellm", "only", None),
        ("double", "dbl", "r_dbl1"),
        ("double", "dbl", "r_dbl2"),
        ("completion_tokens", "tok", "r_tok"),
        ("cost", "cost", "r_cost"),
        ("outcome", "end", "r_end"),
        ("only_gateway", "never_told", "r_alone"),
        ("only_gateway", None, "r_direct"),
    ]
    assert sum(counts.values()) == 7


async def test_the_time_bounds_what_is_compared(office: Office) -> None:
    """A call at the edge still finds its other side beyond it."""
    await office.tell(CALL, replace(CALL, call_id="c2", begun_at=NOON + timedelta(hours=1)))
    await office.serve("req_1", at=NOON - timedelta(milliseconds=1))
    await office.serve("req_2", "c2", at=NOON + timedelta(hours=1))
    counts, found = await office.compare(NOON, NOON + timedelta(minutes=1))
    assert (counts, found) == ({"equal": 1}, [])


async def test_what_is_compared_comes_in_the_order_of_its_time(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late a proxy told it, page by page, from the first moment asked for on."""
    monkeypatch.setattr("garage_ai.ledger.proxied.reconciliation.PAGE", 2)
    for number in (3, 1, 4, 0, 2):
        at = NOON + timedelta(minutes=number // 2)
        await office.tell(replace(CALL, call_id=f"c{number}", begun_at=at))
        await office.serve(f"req_{number}", f"r{number}", at=at)
    _, found = await office.compare(NOON + timedelta(minutes=1))
    assert [call for kind, call, _ in found if kind == "only_litellm"] == ["c3", "c2", "c4"]
    assert [request for kind, _, request in found if kind == "only_gateway"] == [
        "req_3",
        "req_2",
        "req_4",
    ]


async def test_many_calls_are_compared_page_by_page(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call and every request once, however many pages there are."""
    monkeypatch.setattr("garage_ai.ledger.proxied.reconciliation.PAGE", 7)
    await office.tell(*(replace(CALL, call_id=f"c{number}") for number in range(50)))
    for number in range(51):
        await office.serve(f"req_{number}", f"c{number}")
    counts, found = await office.compare()
    assert counts == {"equal": 50, "only_gateway": 1}
    assert found == [("only_gateway", "c50", "req_50")]
