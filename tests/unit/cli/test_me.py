"""What is one's own, taken along and erased."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage_ai.cli import me
from garage_ai.cli.errors import Misused


class Own:
    """A gateway that cuts an export in the middle of a letter."""

    def export_me(self) -> Iterator[bytes]:
        """Give it."""
        whole = "Åsa".encode()
        yield whole[:1]
        yield whole[1:]


def test_an_export_may_be_cut_anywhere(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Pieces end where the network ended them, not where a letter does."""
    monkeypatch.setattr(me, "client", lambda *_: Own())
    me.export(Path("-"))
    assert capfdbinary.readouterr().out == "Åsa".encode()


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that forgot to confirm is told how."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("Anna\n"))
    with pytest.raises(Misused) as told:
        me._confirmed()
    assert "--confirm" in told.value.advice
