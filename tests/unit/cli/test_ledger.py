"""`gai ledger`, as far as it needs no gateway."""

import io
import sys
from collections.abc import Generator

import pytest

from garage_ai.cli import ledger


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
