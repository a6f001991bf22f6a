"""From three accounts of each call to verdicts."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from bench.litellm_calls import LONG, MOST_READ, Call, Fault, kinds_of
from bench.litellm_report import Accounts, LiteLlmReport, Reconciled, Side, check, verdicts
from bench.report import Machine

MACHINE = Machine(datetime.now(UTC), "cpu", 2, "3.11", "6", (0.0, 0.0, 0.0))
FAULTS = [
    Fault("proxy", "killed", 100.0, 120.0),
    Fault("gateway", "restarted", 200.0, 205.0),
    Fault("gateway", "killed", 300.0, 305.0),
]
WHOLE = Call("plain", 10.0, 11.0, "c1", "whole", 16, 8)
LEFT = Call("abort", 10.0, 11.0, "c1", "left")
OK = Side("ok", 16, 8, 11.0)


def judged(
    calls: Sequence[Call],
    told: Mapping[str, Side],
    kept: Mapping[str, Sequence[Side]],
    differences: Sequence[tuple[str, str]] = (),
) -> LiteLlmReport:
    report = LiteLlmReport(MACHINE, len(calls), {}, 1.0, FAULTS, {})
    check(report, calls, Accounts(told, kept), Reconciled({}, list(differences)))
    report.verdicts = verdicts(report)
    return report


def missed(report: LiteLlmReport) -> list[str]:
    return [verdict.name for verdict in report.verdicts if not verdict.met]


def test_a_call_in_all_accounts_meets_every_bound() -> None:
    """Once on each side, with the tokens that its client was told."""
    report = judged([WHOLE], {"c1": OK}, {"c1": [OK]})
    assert (missed(report), report.first_findings) == ([], [])


@pytest.mark.parametrize(
    ("told", "kept", "name"),
    [
        ({}, {"c1": [OK]}, "calls missing in an account"),
        ({"c1": OK}, {}, "calls missing in an account"),
        ({"c1": OK}, {"c1": [OK, OK]}, "calls that are double"),
        ({"c1": OK}, {"c1": [Side("ok", 16, 9)]}, "completed calls with unequal tokens"),
        (
            {"c1": Side("ok", 16, 7, 11.0)},
            {"c1": [Side("ok", 16, 7)]},
            "completed calls with unequal tokens",
        ),
        ({"c1": OK}, {"c1": [Side("node_lost", 16, 8)]}, "completed calls with another end"),
        ({"c1": OK, "c2": OK}, {"c1": [OK]}, "calls of nobody"),
    ],
)
def test_what_is_wrong_is_named(
    told: Mapping[str, Side], kept: Mapping[str, Sequence[Side]], name: str
) -> None:
    """Missing, double, other tokens than its client's, another end, and a call nobody made."""
    assert missed(judged([WHOLE], told, kept)) == [name]


@pytest.mark.parametrize(("theirs", "met"), [(69, True), (70, False), (None, True)])
def test_an_abort_has_a_tolerance(theirs: int | None, met: bool) -> None:
    """64 tokens beside a short answer."""
    told = Side("left", 10, theirs, 11.0)
    report = judged([LEFT], {"c1": told}, {"c1": [Side("client_closed", 3, 5)]})
    assert missed(report) == ([] if met else ["aborts beyond the tolerance"])


def test_an_abort_that_the_engine_never_hears_of_is_beyond_the_tolerance() -> None:
    """The answers that clients leave are long enough for that."""
    told = Side("left", 16, MOST_READ, 11.0)
    report = judged([LEFT], {"c1": told}, {"c1": [Side("client_closed", 16, LONG)]})
    assert missed(report) == ["aborts beyond the tolerance"]


@pytest.mark.parametrize(("ended", "lost"), [(297.0, 0), (299.0, 1), (302.0, 1)])
def test_a_killed_gateway_loses_what_it_had_not_written(ended: float, lost: int) -> None:
    """What had ended before that is missing; reconcile's word about the lost is expected."""
    call = Call("plain", ended - 1, ended, "c1", "whole", 16, 8)
    told = {"c1": Side("ok", 16, 8, ended)}
    report = judged([call], told, {}, [("only_litellm", "c1")])
    assert report.lost_with_gateway == lost
    assert (report.missing, report.differing) == (1 - lost, 1 - lost)


def test_nobody_else_may_lose_a_call() -> None:
    """Neither the gateway when it is restarted in order, nor the proxy when it is killed."""
    calls = [
        Call("plain", at, at + 1, name, "whole", 16, 8) for name, at in (("c1", 99.5), ("c2", 199))
    ]
    assert judged(calls, {"c1": OK, "c2": OK}, {}).missing == 2


def test_a_killed_proxy_tells_of_a_call_as_lost() -> None:
    """Of one that it had not logged; of an older one it must know the end."""
    lost = {"c1": Side("lost", None, None)}
    late = Call("plain", 98.0, 99.0, "c1", "whole", 16, 8)
    assert missed(judged([late], lost, {"c1": [OK]})) == []
    assert missed(judged([WHOLE], lost, {"c1": [OK]})) == ["completed calls with another end"]


def test_a_call_that_breaks_without_a_fault_is_a_failure() -> None:
    """In a fault it may break, be unserved, and have no name."""
    broken = Call("plain", 10.0, 11.0, "c1", problem="500")
    failed = {"c1": Side("failed", None, None, 11.0)}
    assert missed(judged([broken], failed, {})) == ["calls that failed while both sides were up"]
    hurt = [Call("plain", 200.5, 201.0, "c1"), Call("plain", 100.5, 101.0)]
    report = judged(hurt, failed, {"c9": [Side("client_closed", 3, 5)]}, [("only_gateway", "c9")])
    assert (missed(report), report.unserved, report.unnamed) == ([], 1, 1)


def test_one_client_in_twenty_leaves() -> None:
    """The rest is streams and plain answers, in a repeatable order."""
    kinds = kinds_of(1000, random.Random(1))
    assert kinds == kinds_of(1000, random.Random(1))
    assert [kinds.count(kind) for kind in ("abort", "stream", "plain")] == [50, 475, 475]
