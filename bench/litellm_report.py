"""Three accounts of each call held against each other: the client's, LiteLLM's, the gateway's.

Read by SQL alone, so that the program that is judged has no say; beside it stands what that
program, `gai usage reconcile`, finds by itself.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.litellm_calls import Call, Fault
from bench.report import Machine, Verdict, console, table

__all__ = ["Accounts", "LiteLlmReport", "Reconciled", "Side", "check", "read", "show", "verdicts"]

ABORT_TOKENS = 64
ABORT_SHARE = 0.5
"""The tolerance that is told to users, written again here: a change there must be one here."""
WINDOW = 2.0
"""Seconds before the gateway's death of which records may be lost: a call's tokens are counted
within one, it is written 50 ms later, and a busy machine takes its time for both."""
LOGGING = 5.0
"""Seconds within which also a busy LiteLLM gives a call that ended to its hooks."""

_TOLD = "SELECT call_id, outcome, prompt_tokens, completion_tokens, ended_at FROM litellm_calls"
# An engine that was stopped has told no tokens: then the gateway's own count stands.
_KEPT = """
SELECT caller_id, outcome, coalesce(prompt_tokens, counted_prompt_tokens),
    coalesce(completion_tokens, counted_completion_tokens)
FROM usage WHERE caller_id IS NOT NULL
"""


class Side(msgspec.Struct, frozen=True):
    """One account of one call."""

    outcome: str
    prompt: int | None
    completion: int | None
    ended: float = 0.0  # by LiteLLM's clock; a client that left did so before


class Accounts(msgspec.Struct, frozen=True):
    """What LiteLLM told of each of its ids, and the gateway's records under each of them."""

    told: Mapping[str, Side]
    kept: Mapping[str, Sequence[Side]]


class Reconciled(msgspec.Struct):
    """What `gai usage reconcile` said: how many calls compared how, and each difference's id."""

    counts: dict[str, int]
    differences: list[tuple[str, str]]  # kind, LiteLLM's id


class LiteLlmReport(msgspec.Struct):
    """Everything `bench.litellm` writes down; counts are of calls."""

    machine: Machine
    calls: int
    ends: dict[str, int]  # as clients saw them
    seconds: float  # of calls, without the time in which a side was down
    faults: list[Fault]
    reconciled: dict[str, int]
    missing: int = 0
    doubled: int = 0
    unequal: int = 0
    wrong_end: int = 0
    beyond_tolerance: int = 0
    of_nobody: int = 0
    differing: int = 0
    spoiled: int = 0
    unnamed: int = 0  # their clients were cut off before LiteLLM said its id
    unserved: int = 0  # they broke on their way to a gateway that was away
    lost_with_gateway: int = 0  # under way when it was killed
    farthest_abort: int = 0  # tokens between both accounts of one
    first_findings: list[str] = []
    verdicts: list[Verdict] = []


def read(database: Path) -> Accounts:
    """Read both accounts from the gateway's database."""
    told: dict[str, Side] = {}
    kept: dict[str, list[Side]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for name, outcome, prompt, completion, ended in connection.execute(_TOLD):
            told[name] = Side(outcome, prompt, completion, _seconds(ended))
        for name, outcome, prompt, completion in connection.execute(_KEPT):
            kept.setdefault(name, []).append(Side(outcome, prompt, completion))
    return Accounts(told, kept)


def _seconds(moment: str | None) -> float:
    if moment is None:
        return 0.0
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def check(
    report: LiteLlmReport, calls: Sequence[Call], accounts: Accounts, reconciled: Reconciled
) -> None:
    """Hold all accounts against each other and write down what is wrong."""
    lost = _lost_with_gateway(report, calls, accounts)
    for call in calls:
        hurt = any(each.touches(call.began, call.ended) for each in report.faults)
        if call.end == "broken" and not hurt:
            report.spoiled += 1
            _find(report, call, call.problem)
        elif call.id:
            _check_call(report, call, accounts, may_be_lost=call.id in lost)
    known = {call.id for call in calls}
    strangers = (accounts.told.keys() | accounts.kept.keys()) - known
    # Who was cut off before the head came cannot name the call; nobody else's may be there.
    report.unnamed = sum(not call.id for call in calls)
    report.of_nobody = max(0, len(strangers) - report.unnamed)
    for kind, name in reconciled.differences:
        if name not in lost | strangers:
            report.differing += 1
            report.first_findings.append(f"reconcile: {kind} {name}")
    report.first_findings = report.first_findings[:10]


def _lost_with_gateway(
    report: LiteLlmReport, calls: Sequence[Call], accounts: Accounts
) -> set[str]:
    """Give the calls that the gateway may have lost when it was killed."""
    deaths = [each for each in report.faults if (each.side, each.how) == ("gateway", "killed")]
    found: set[str] = set()
    for call in calls:
        told = accounts.told.get(call.id)
        ended = max(call.ended, told.ended) if told is not None else call.ended
        if call.id and any(each.touches(call.began, ended, WINDOW) for each in deaths):
            found.add(call.id)
    return found


def _check_call(
    report: LiteLlmReport, call: Call, accounts: Accounts, *, may_be_lost: bool
) -> None:
    told, kept = accounts.told.get(call.id), accounts.kept.get(call.id, [])
    if len(kept) > 1:
        report.doubled += 1
        _find(report, call, f"{len(kept)} records")
    elif told is not None and not kept and may_be_lost:
        report.lost_with_gateway += 1
    elif told is not None and not kept and _is_unserved(call, told):
        report.unserved += 1
    elif told is None or not kept:
        report.missing += 1
        _find(report, call, f"LiteLLM: {told}, gateway: {kept}")
    elif call.end == "whole":
        _check_whole(report, call, told, kept[0])
    elif call.end == "left":
        _check_left(report, call, told, kept[0])


def _is_unserved(call: Call, told: Side) -> bool:
    """Tell whether a call broke on its way to the gateway, so that only LiteLLM knows of it."""
    return call.end == "broken" and told.outcome in ("failed", "left") and not told.completion


def _check_whole(report: LiteLlmReport, call: Call, told: Side, kept: Side) -> None:
    # A killed proxy's next start tells of what it had not logged yet as lost, without tokens.
    lost = told.outcome == "lost" and any(
        each.touches(call.began, call.ended, LOGGING) for each in report.faults
    )
    ours, theirs = (kept.prompt, kept.completion), (told.prompt, told.completion)
    if kept.outcome != "ok" or (told.outcome != "ok" and not lost):
        report.wrong_end += 1
        _find(report, call, f"LiteLLM: {told}, gateway: {kept}")
    elif ours != (call.prompt, call.completion) or (ours != theirs and not lost):
        report.unequal += 1
        _find(report, call, f"LiteLLM: {told}, gateway: {kept}")


def _check_left(report: LiteLlmReport, call: Call, told: Side, kept: Side) -> None:
    if told.completion is None or kept.completion is None:
        return
    apart = abs(told.completion - kept.completion)
    report.farthest_abort = max(report.farthest_abort, apart)
    if apart > max(ABORT_TOKENS, ABORT_SHARE * max(told.completion, kept.completion)):
        report.beyond_tolerance += 1
        _find(report, call, f"LiteLLM: {told}, gateway: {kept}")


def _find(report: LiteLlmReport, call: Call, what: str) -> None:
    report.first_findings.append(f"{call.kind} {call.id or '-'} {call.end}: {what}")


def verdicts(report: LiteLlmReport) -> list[Verdict]:
    """Hold what was found against nothing at all."""
    bounds = {
        "calls missing in an account": report.missing,
        "calls that are double": report.doubled,
        "calls of nobody": report.of_nobody,
        "completed calls with another end": report.wrong_end,
        "completed calls with unequal tokens": report.unequal,
        "aborts beyond the tolerance": report.beyond_tolerance,
        "differences that reconcile shows": report.differing,
        "calls that failed while both sides were up": report.spoiled,
    }
    return [Verdict(name, value, "", 0, "at most") for name, value in bounds.items()]


def show(report: LiteLlmReport) -> None:
    """Print the tables."""
    rate = report.calls / report.seconds if report.seconds else 0.0
    title = f"{report.calls:,} calls, {rate:.0f}/s"
    table(title, ["as clients saw them", "calls"], _rows(report.ends))
    table("as `gai usage reconcile` compares them", ["", "calls"], _rows(report.reconciled))
    for fault in report.faults:
        console.print(f"{fault.side} {fault.how}, serves again after {fault.back - fault.at:.1f} s")
    console.print(
        f"{report.lost_with_gateway} calls that the gateway's death took out of its account; "
        f"aborts at most {report.farthest_abort} tokens apart"
    )
    for finding in report.first_findings:
        console.print(finding, style="red", markup=False)


def _rows(counts: Mapping[str, int]) -> list[list[str]]:
    return [[name, f"{count:,}"] for name, count in Counter(counts).most_common()]
