"""Findings of the preflight as people read them."""

import sys
from collections.abc import Sequence
from typing import Final

from garage_ai.cli import output
from garage_ai.cli.preflight_words import name_of, sentence, then_of
from garage_ai.node.preflight.models import Finding, State

_STYLES: Final[dict[State, output.Style]] = {"ok": "green", "warn": "yellow", "fail": "red"}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each finding, and below it how to put it right."""
    for finding in findings:
        text, remedy = sentence(finding)
        mark = output.styled(f"{finding.state:<4}", _STYLES[finding.state], sys.stdout)
        output.write(f"  {mark} {name_of(finding.check)}: {output.harmless(text)}")
        if remedy and finding.state != "ok":
            output.write(f"       → {output.harmless(remedy)}")
            if then := then_of(finding):
                output.write(f"         {then}")


__all__ = ["show_findings"]
