"""Whether batches and books agree, found out from files and SQL, without the program itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bench.books_check import Rows

__all__ = ["Checked", "Given", "check"]


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Body(msgspec.Struct):
    choices: list[_Choice] = []


class _Response(msgspec.Struct):
    status_code: int
    request_id: str
    body: _Body


class _Error(msgspec.Struct):
    code: str


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None
    error: _Error | None


@dataclass(frozen=True, slots=True)
class Given:
    """What was asked of a batch, and the lines of its two files."""

    batch: str
    asked: Sequence[str]
    output: Sequence[bytes]
    errors: Sequence[bytes]


class Checked(msgspec.Struct):
    """What was found; all but the last three must be nothing. Amounts are in nGAI."""

    lost: int = 0
    doubled: int = 0
    strange: int = 0  # lines that nobody asked for
    wrong_answers: int = 0
    not_recorded: int = 0  # lines without exactly one usage record
    recorded_twice: int = 0  # usage records of no line
    between_books_and_results: int = 0
    left_leased: int = 0
    left_items: int = 0
    answered: int = 0
    failed: int = 0
    charged: int = 0

    @property
    def faults(self) -> int:
        """How many things are wrong."""
        return sum(
            getattr(self, name)
            for name in self.__struct_fields__
            if name not in ("answered", "failed", "charged")
        )


def check(rows: Rows, batches: Sequence[Given], text: str | None) -> Checked:
    """Compare what came back with what was asked, and with usage and transfers.

    All answers are `text`; None where all that is known of them is that they say something.
    """
    seen, requests = Checked(), Counter[str]()
    for given in batches:
        _check_lines(given, text, requests, seen)
    _check_books(rows, requests, seen)
    return seen


def _check_lines(given: Given, text: str | None, requests: Counter[str], seen: Checked) -> None:
    counted: Counter[str] = Counter()
    for is_answer, raw in (*_told(True, given.output), *_told(False, given.errors)):
        line = msgspec.json.decode(raw, type=_Line)
        counted[line.custom_id] += 1
        if line.response is not None:
            requests[line.response.request_id] += 1
        if is_answer:
            seen.answered += 1
            said = [each.message.content for each in line.response.body.choices]  # type: ignore[union-attr]
            seen.wrong_answers += said != [text] if text is not None else not (said and all(said))
        else:
            seen.failed += 1
    asked = set(given.asked)
    seen.lost += len(asked - set(counted))
    seen.strange += len(set(counted) - asked)
    seen.doubled += sum(count - 1 for count in counted.values())


def _told(is_answer: bool, lines: Iterable[bytes]) -> list[tuple[bool, bytes]]:
    return [(is_answer, line) for line in lines if line]


def _check_books(rows: Rows, requests: Counter[str], seen: Checked) -> None:
    """Hold usage and transfers against the lines; every charge is in the books and no other."""
    found: Counter[str] = Counter()
    charges: dict[str, int] = {}
    usage: Iterable[tuple[Any, ...]] = rows(
        "SELECT request_id, charge FROM usage WHERE request_id LIKE 'batch_%'"
    )
    for request, charge in usage:
        found[request] += 1
        charges[request] = charge or 0
    seen.not_recorded = sum(found[request] != 1 for request in requests)
    seen.recorded_twice = sum(request not in requests for request in found)
    paid: Counter[str] = Counter()
    for request, amount in rows(
        "SELECT request_id, amount FROM transfers WHERE request_id LIKE 'batch_%'"
    ):
        paid[request] += amount
    seen.charged = sum(charges.values())
    seen.between_books_and_results = sum(
        abs(paid[request] - charges.get(request, 0)) for request in {*paid, *charges}
    )
    [(seen.left_leased,)] = rows(
        "SELECT CAST(COALESCE(SUM(amount - settled), 0) AS BIGINT) FROM leases"
        " WHERE gateway = 'batch' AND state = 'open'"
    )
    [(seen.left_items,)] = rows("SELECT COUNT(*) FROM batch_items")
