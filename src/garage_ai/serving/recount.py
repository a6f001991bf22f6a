"""The recount of a request: what its record says is billed, and what its node's figures are worth.

A record waits here until its tokens are counted, a few milliseconds as a rule, and a second at most
for each piece of what is large; the client has its answer by then. Where that fails the record is
told as it is: what it holds of a balance ends with it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec
import structlog

from garage_ai.ledger import Counted, FigureJudge, Figures, Meter
from garage_ai.network import Delivered
from garage_ai.serving.models import Call
from garage_ai.storage.usage import UsagePart, UsageRecord

_log = structlog.get_logger(__name__)

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
        counting = _Counting(record, delivered, done, self._compare)
        try:
            texts = counting.texts()
            if texts or record.outcome == OK:
                self._meter.begin(record.digest, call.route, call.body, texts, counting.counted)
            else:
                counting.tell(record)
        except Exception as error:
            counting.failed(error)

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


class _Counting:
    """One record whose tokens are counted; it is told once, as it was where that fails."""

    __slots__ = ("_compare", "_delivered", "_done", "_record", "_said")

    def __init__(
        self,
        record: UsageRecord,
        delivered: Sequence[Delivered],
        done: Done,
        compare: Callable[[UsageRecord, Sequence[Delivered], Counted], None],
    ) -> None:
        self._record = record
        self._delivered = delivered
        self._done: Done | None = done
        self._compare = compare
        self._said: list[tuple[str, ...]] = []

    def texts(self) -> list[str]:
        self._said = [part.read() for part in self._delivered]
        return [text for part in self._said for text in part]

    def counted(self, found: Counted) -> None:
        record = self._record
        try:
            self._compare(record, self._delivered, found)
            self.tell(_completed(record, found, self._said))
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        _log.error("not_counted", request=self._record.request_id, error=type(error).__name__)
        self.tell(self._record)

    def tell(self, record: UsageRecord) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(record)


def _completed(record: UsageRecord, found: Counted, said: Sequence[Sequence[str]]) -> UsageRecord:
    return record.but(
        parts=tuple(_counted_parts(record, found, said)) if record.parts else (),
        counted_prompt_tokens=found.prompt_tokens,
        counted_completion_tokens=found.completion_tokens,
        count_source=found.source,
    )


def _counted_parts(
    record: UsageRecord, found: Counted, said: Sequence[Sequence[str]]
) -> Iterator[UsagePart]:
    each = iter(found.each)
    for part, texts in zip(record.parts, said, strict=True):
        yield msgspec.structs.replace(part, counted_tokens=sum(islice(each, len(texts))))


__all__ = ["Done", "Recount"]
