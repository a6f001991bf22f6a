"""What may be asked of usage: pages of records and sums."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from garage_ai.ledger import Ledger, Receipt, UsageWriter
from garage_ai.storage import (
    KeyId,
    MemberId,
    Storage,
    UsagePart,
    UsageRecord,
    UsageTotal,
    usage_list,
    usage_summary,
)

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANNA, BO = MemberId("mbr_anna"), MemberId("mbr_bo")

ANSWERED = UsageRecord(
    request_id="req_0",
    at=NOON,
    member=ANNA,
    key_id=KeyId("key_a"),
    route="chat",
    model="garage-chat",
    digest="sha256:00",
    node="naaaaaaaaaaaa",
    outcome="completed",
    stream=True,
    prompt_tokens=10,
    completion_tokens=20,
    content_events=21,
    bytes_out=3000,
    ttft_s=0.1,
    duration_s=0.5,
    attempts=1,
)
UNSENT = replace(
    ANSWERED,
    digest=None,
    node=None,
    outcome="no_node",
    stream=False,
    prompt_tokens=None,
    completion_tokens=None,
    content_events=0,
    bytes_out=0,
    ttft_s=None,
    duration_s=0.25,
    attempts=0,
)
RECORDS = (
    ANSWERED,
    replace(ANSWERED, request_id="req_1", at=NOON + timedelta(hours=1), completion_tokens=0),
    replace(UNSENT, request_id="req_2", at=NOON + timedelta(hours=2)),
    replace(ANSWERED, request_id="req_3", at=NOON + timedelta(hours=3), member=BO),
    replace(UNSENT, request_id="req_4", at=NOON + timedelta(hours=4), member=BO),
)


@pytest.fixture
async def used(storage: Storage) -> Storage:
    writer = UsageWriter.start(Ledger(storage))
    for record in RECORDS:
        writer.put(Receipt(record))
    await writer.close()
    return storage


async def test_records_come_back_as_they_were(used: Storage) -> None:
    """Newest first, each field unchanged, None still None and zero still zero."""
    page = await usage_list(used)
    assert page.records == tuple(reversed(RECORDS))
    assert page.before is None


async def test_the_parts_of_an_answer_come_back(storage: Storage) -> None:
    """In their order, with what each node's engine said and did not say."""
    parts = (
        UsagePart("naaaaaaaaaaaa", "sha256:00", None, None, 9, "yielded", None),
        UsagePart("nbbbbbbbbbbbb", "sha256:00", 19, 11, 12, "ok", 0.5),
    )
    writer = UsageWriter.start(Ledger(storage))
    writer.put(Receipt(replace(ANSWERED, parts=parts)))
    await writer.close()
    [record] = (await usage_list(storage)).records
    assert record == replace(ANSWERED, parts=parts)


async def test_pages_follow_each_other(used: Storage) -> None:
    """The cursor of one page leads to the next, without gap or repeat, to an end."""
    first = await usage_list(used, 2)
    second = await usage_list(used, 2, first.before)
    third = await usage_list(used, 2, second.before)
    ids = [r.request_id for page in (first, second, third) for r in page.records]
    assert ids == ["req_4", "req_3", "req_2", "req_1", "req_0"]
    assert third.before is None


async def test_a_members_pages_are_in_the_order_of_its_moments(storage: Storage) -> None:
    """A long answer is recorded late and stands where it began; none is missed or comes twice."""
    hours = {"req_0": 3, "req_1": 1, "req_2": 1, "req_3": 2, "req_4": 0}
    writer = UsageWriter.start(Ledger(storage))
    for name, hour in hours.items():
        writer.put(Receipt(replace(ANSWERED, request_id=name, at=NOON + timedelta(hours=hour))))
        writer.put(Receipt(replace(ANSWERED, request_id=f"bo_{name}", member=BO)))
    await writer.close()
    seen, before = list[str](), None
    while True:
        page = await usage_list(storage, 1, before, member=ANNA)
        seen += [record.request_id for record in page.records]
        before = page.before
        if before is None:
            break
    assert seen == ["req_0", "req_3", "req_2", "req_1", "req_4"]
    assert len((await usage_list(storage, 9, 2**63 - 1, member=BO)).records) == 5


@pytest.mark.parametrize("limit", [-1, 0])
async def test_a_page_holds_at_least_one(used: Storage, limit: int) -> None:
    """A senseless limit is brought into range."""
    assert len((await usage_list(used, limit)).records) == 1


async def test_a_list_may_be_one_members(used: Storage) -> None:
    """What does not belong is left out."""
    assert {r.request_id for r in (await usage_list(used, member=BO)).records} == {"req_3", "req_4"}


async def test_sums_by_member(used: Storage) -> None:
    """What was not told is counted as not told, never as zero tokens of an answer."""
    assert await usage_summary(used) == [
        UsageTotal("mbr_anna", 3, 1, 20, 20, 42, 6000, 1.25),
        UsageTotal("mbr_bo", 2, 1, 10, 20, 21, 3000, 0.75),
    ]


async def test_sums_by_node_keep_what_no_node_served(used: Storage) -> None:
    """Requests that reached no node stand under None."""
    totals = await usage_summary(used, by="node")
    assert {total.group: total.requests for total in totals} == {"naaaaaaaaaaaa": 3, None: 2}


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", {"key_a"}),
        ("model", {"garage-chat"}),
        ("route", {"chat"}),
        ("outcome", {"completed", "no_node"}),
    ],
)
async def test_sums_by_other_properties(used: Storage, by: str, groups: set[str]) -> None:
    """Every grouping that is offered works."""
    totals = await usage_summary(used, by=by)  # type: ignore[arg-type]
    assert {total.group for total in totals} == groups


async def test_sums_have_a_beginning_and_an_end(used: Storage) -> None:
    """`since` is in, `until` is out, so that neighbouring spans share nothing."""
    later = NOON + timedelta(hours=3)
    before = await usage_summary(used, NOON, later)
    after = await usage_summary(used, later, None, member=BO)
    assert [(t.group, t.requests) for t in before + after] == [("mbr_anna", 3), ("mbr_bo", 2)]


async def test_no_usage_is_no_sum(storage: Storage) -> None:
    """A network that has served nothing says so."""
    assert await usage_summary(storage) == []
    assert (await usage_list(storage)).records == ()
