"""The recount of a request: what its record says is billed, and what its node's figures are worth.

A record waits here until its tokens are counted, a few milliseconds as a rule and a second at most;
the client has its answer by then.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from garage_ai.ledger import Counted, FigureJudge, Figures, Meter
from garage_ai.network import Delivered
from garage_ai.serving.models import Call
from garage_ai.storage.usage import UsagePart, UsageRecord

OK: Final = "ok"
Done = Callable[[UsageRecord], None]
"""Told of a record that is complete."""


class Recount:
    """Complete records by what the gateway itself counts."""

    def __init__(self, meter: Meter, judge: FigureJudge) -> None:
        self._meter = meter
        self._judge = judge

    def begin(
        self, call: Call, record: UsageRecord, delivered: Sequence[Delivered], done: Done
    ) -> None:
        """Complete a record; `done` is told once, at once where nothing was delivered."""
        said = [part.read() for part in delivered]
        texts = [text for part in said for text in part]
        if not texts and record.outcome != OK:
            done(record)
            return

        def counted(found: Counted) -> None:
            self._compare(record, delivered, found)
            done(_completed(record, found, [len(part) for part in said]))

        self._meter.begin(record.digest, call.route, call.body, texts, counted)

    def _compare(self, record: UsageRecord, delivered: Sequence[Delivered], found: Counted) -> None:
        """Judge the engine's figures, where the gateway could count what the engine did."""
        if found.source != "tokenizer" or not found.exact or record.outcome != OK:
            return
        if record.node is None or record.digest is None or record.prompt_tokens is None:
            return
        if len(delivered) != 1 or not (delivered[0].is_text or not found.each):
            return
        figures = Figures(
            record.prompt_tokens,
            record.completion_tokens or 0,
            found.prompt_tokens,
            found.completion_tokens,
        )
        self._judge.saw(record.node, record.digest, figures)


def _completed(record: UsageRecord, found: Counted, lengths: Sequence[int]) -> UsageRecord:
    return record.but(
        parts=tuple(_counted_parts(record, found, lengths)) if record.parts else (),
        counted_prompt_tokens=found.prompt_tokens,
        counted_completion_tokens=found.completion_tokens,
        count_source=found.source,
    )


def _counted_parts(
    record: UsageRecord, found: Counted, lengths: Sequence[int]
) -> Iterator[UsagePart]:
    each = iter(found.each)
    for part, length in zip(record.parts, lengths, strict=True):
        yield msgspec.structs.replace(part, counted_tokens=sum(islice(each, length)))


__all__ = ["Done", "Recount"]
