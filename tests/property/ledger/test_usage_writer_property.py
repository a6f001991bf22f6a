"""Whatever is put into the usage writer, the sums come out even."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from garage_ai.ledger import Ledger, Receipt, UsageWriter
from garage_ai.storage import KeyId, MemberId, Storage, UsageRecord, sqlite_url
from garage_ai.storage.usage import MAX_LISTED, usage_list

PLAIN = UsageRecord(
    request_id="",
    at=datetime(2026, 11, 23, tzinfo=UTC),
    member=MemberId("mbr_operator"),
    key_id=KeyId("key_a"),
    route="chat",
    model="garage-chat",
    digest=None,
    node=None,
    outcome="completed",
    stream=False,
    prompt_tokens=None,
    completion_tokens=None,
    content_events=0,
    bytes_out=0,
    ttft_s=None,
    duration_s=0.0,
    attempts=1,
)

TOKENS = st.none() | st.integers(-(2**70), 2**70)
RECORDS = st.lists(
    st.builds(
        lambda number, prompt, completion, model: replace(
            PLAIN,
            request_id=f"req_{number}",
            prompt_tokens=prompt,
            completion_tokens=completion,
            model=model,
        ),
        st.integers(0, 40),
        TOKENS,
        TOKENS,
        st.text(st.characters(), max_size=3),
    ),
    max_size=60,
)


def fits(record: UsageRecord) -> bool:
    numbers = (record.prompt_tokens or 0, record.completion_tokens or 0)
    return all(-(2**63) <= number < 2**63 for number in numbers) and not any(
        "\ud800" <= letter <= "\udfff" for letter in record.model
    )


async def write(path: Path, records: list[UsageRecord]) -> tuple[UsageWriter, list[UsageRecord]]:
    storage = await Storage.open(sqlite_url(path))
    writer = UsageWriter.start(Ledger(storage))
    for record in records:
        writer.put(Receipt(record))
    await writer.close(timeout=30)
    page = await usage_list(storage, MAX_LISTED)
    await storage.close()
    return writer, list(reversed(page.records))


@settings(max_examples=15)
@given(records=RECORDS)
def test_every_record_is_written_repeated_or_dropped(records: list[UsageRecord]) -> None:
    """The first sound record of each request is kept, unchanged and in order; all are counted."""
    with tempfile.TemporaryDirectory() as folder:
        writer, kept = asyncio.run(write(Path(folder) / "garage.db", records))
    first: dict[str, UsageRecord] = {}
    for record in filter(fits, records):
        # No database holds a NUL.
        told = record.but(model=record.model.replace("\0", "\ufffd"))
        first.setdefault(record.request_id, told)
    counts = writer.counts
    assert kept == list(first.values())
    assert counts.entered == len(kept)
    assert counts.dropped == sum(not fits(record) for record in records)
    assert counts.entered + counts.repeated + counts.dropped == len(records)
