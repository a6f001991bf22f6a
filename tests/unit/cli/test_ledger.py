"""`gai ledger`, as far as it needs no gateway."""

import io
import sys
from collections.abc import Generator

import pytest

from garage_ai.cli import ledger
from garage_ai.cli.ledger_shapes import Entry, Statement


def test_an_export_ends_when_its_reader_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gai ledger export | head -1` does not fetch the rest of the books."""
    asked: list[str] = []

    class Books:
        def export_ledger(self, *_: object) -> Generator[str, None, None]:
            for number in range(3):
                asked.append(f"line {number}")
                yield asked[-1]

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(ledger, "client", lambda *_: Books())
    monkeypatch.setattr(sys, "stdout", Gone())
    ledger.export()
    assert asked == ["line 0"]


def test_who_uses_an_own_node_sees_that_it_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes to the account itself is neither taken from it nor given to it."""
    me, other = "member:mbr_me", "member:mbr_other"
    ways = ((me, me), (me, other), (other, me))
    entries = [
        Entry(f"t{number}", "use", debit, credit, "1500000000", "2026-11-23T15:00:00Z")
        for number, (debit, credit) in enumerate(ways)
    ]

    class Books:
        def statement(self, *_: object) -> Statement:
            return Statement(me, tuple(entries))

    monkeypatch.setattr(ledger, "client", lambda *_: Books())
    ledger.statement(limit=50)
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[3] for row in rows] == ["±1.500000000", "-1.500000000", "1.500000000"]
