"""Put a usage record every millisecond and tell how many are written and put, until killed."""

import asyncio
import sys
from datetime import UTC, datetime

from garage_ai.ledger import Ledger, Receipt, UsageWriter
from garage_ai.storage import KeyId, MemberId, Storage, UsageRecord


async def main(url: str) -> None:
    """Write without end."""
    writer = UsageWriter.start(Ledger(await Storage.open(url)))
    number = 0
    while True:
        for _ in range(10):
            record = UsageRecord(
                request_id=f"req_{number:08}",
                at=datetime.now(UTC),
                member=MemberId("mbr_operator"),
                key_id=KeyId("key_a"),
                route="chat",
                model="garage-chat",
                digest=None,
                node=None,
                outcome="completed",
                stream=False,
                prompt_tokens=1,
                completion_tokens=2,
                content_events=2,
                bytes_out=30,
                ttft_s=None,
                duration_s=0.1,
                attempts=1,
            )
            writer.put(Receipt(record))
            number += 1
        print(writer.counts.entered + writer.counts.repeated, number, flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
