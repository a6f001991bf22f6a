"""A year of a thousand members: does the money hold, and does any trick pay?

    python -m bench.economy [--short] [--seed N] [--plots FOLDER] [--json FILE]

Members with evenings and wishes, PCs that lend and play, and a few who try to get something for
nothing, live a year by the rules that the gateway uses: the same functions, not a model of them.
What is not played is in docs/economy.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.economy_run import STEP_MINUTES, Outcome, Year
from bench.economy_svg import Curve, bars, lines
from bench.economy_world import Member, Plan, Role
from bench.quantiles import quantile
from bench.report import Machine, Verdict, console, machine, print_verdicts, table, write_json
from garage_ai.ledger.models import GAI

__all__ = ["EconomyReport", "main", "measure"]

SHORT = Plan(members=300, days=62, cheats=2)
MONTH = 365 / 12
IDLE_WATTS = 25.0
"""A card with a model in its memory and nothing to do, beside the PC at its desk."""
LOADED = 0.8
"""Share of a card's power that it draws while it makes tokens."""


class RoleReport(msgspec.Struct, frozen=True):
    """What one account of a role had in the mean, GAI in a month."""

    accounts: int
    granted: float
    earned: float
    stipend: float
    used: float
    turned_away: float


class WaitReport(msgspec.Struct, frozen=True):
    """Minutes that sessions begun in the evening had waited."""

    sessions: int
    mean: float
    p95: float
    longest: float


class EconomyReport(msgspec.Struct):
    """Everything `bench.economy` writes down; GAI, but where another unit stands."""

    machine: Machine
    seconds: float
    members: int
    days: int
    capacity: float
    served: float
    supply: list[dict[str, float]]
    roles: dict[str, RoleReport]
    waits: dict[str, WaitReport]
    gave_up: float
    gini_of_use: float
    gini_of_balances: float
    verdicts: list[Verdict] = []


def measure(plan: Plan) -> EconomyReport:
    """Live through the year and hold it to what was promised."""
    began = time.perf_counter()
    year = Year(plan)
    out = year.run()
    roles: Sequence[Role] = ("guest", "lender", "idle", "friends", "self", "split", "twin")
    asked = sum(member.asked - member.poor for member in year.members)
    report = EconomyReport(
        machine=machine(),
        seconds=time.perf_counter() - began,
        members=len(year.members),
        days=plan.days,
        capacity=out.capacity,
        served=out.served / GAI,
        supply=out.supply,
        roles={role: _role(year.by_role(role), plan) for role in roles},
        waits={kind: _waits(waits) for kind, waits in out.evening.items()},
        gave_up=(out.gave_up + out.refused) / max(1, asked),
        gini_of_use=_gini([each.used for each in year.members if each.wish]),
        gini_of_balances=_gini([max(0, year.balance[f"m{n}"]) for n in range(len(year.members))]),
    )
    report.verdicts = [*_money(year, out, report), *_tricks(year, out, report), *_turns(report)]
    return report


def _role(members: Sequence[Member], plan: Plan) -> RoleReport:
    def monthly(amounts: Sequence[int]) -> float:
        return sum(amounts) / len(members) / GAI / (plan.days / MONTH)

    asked = sum(each.asked for each in members)
    away = sum(each.poor + each.gave_up for each in members)
    return RoleReport(
        accounts=len(members),
        granted=monthly([each.granted for each in members]),
        earned=monthly([each.earned for each in members]),
        stipend=monthly([each.stipend for each in members]),
        used=monthly([each.used for each in members]),
        turned_away=away / max(1, asked),
    )


def _waits(steps: Sequence[int]) -> WaitReport:
    ordered = sorted(each * STEP_MINUTES for each in steps) or [0]
    mean = sum(ordered) / len(ordered)
    return WaitReport(len(steps), mean, quantile(ordered, 0.95), ordered[-1])


def _gini(amounts: Sequence[int]) -> float:
    ordered = sorted(amounts)
    total, count = sum(ordered), len(ordered)
    if not total:
        return 0.0
    ranked = sum(rank * amount for rank, amount in enumerate(ordered, start=1))
    return 2 * ranked / (count * total) - (count + 1) / count


# --- what was promised


def _money(year: Year, out: Outcome, report: EconomyReport) -> list[Verdict]:
    months = len(out.supply)
    members = len(year.members)
    last = out.supply[-1]
    owners = {node.owner for node in year.nodes}
    grants = sum(year.members[owner].granted for owner in owners) / GAI
    stipends = out.minted["stipend"] / GAI
    saved = last["lenders"] + last["escrow"] + last["fee"] - grants - stipends
    return [
        Verdict("books: sum of all accounts", out.books, "nGAI", 0, "at most"),
        Verdict(
            "minted as grants, of one for each member and month",
            out.minted["grant"] / (year.rules.grant * members * months),
            "",
            1,
            "at most",
        ),
        Verdict(
            "unspent grants, of one for each member",
            last["others"] / (year.rules.grant * members / GAI),
            "",
            1,
            "at most",
        ),
        Verdict(
            "saved by lenders, per GAI of work served", saved / report.served, "", 1, "at most"
        ),
        Verdict(
            "minted as stipends, of all that is minted",
            stipends / max(1e-9, last["issued"]),
            "",
            0.05,
            "at most",
        ),
    ]


def _tricks(year: Year, out: Outcome, report: EconomyReport) -> list[Verdict]:
    roles = report.roles
    working = _kwh_per_gai(year, "lender")
    waiting = _kwh_per_gai(year, "friends")
    split, twins = year.by_role("split"), year.by_role("twin")
    more = sum(each.used for each in split) - sum(each.used for each in twins)
    bought = sum(each.granted for each in split) - sum(each.granted for each in twins)
    greedy = max(each.used / max(1, each.granted) for each in year.by_role("guest"))
    return [
        Verdict(
            "idle node that nobody asks: earned in a month",
            roles["idle"].stipend,
            "GAI",
            0,
            "at most",
        ),
        Verdict(
            "idle node with two friends: of what a lender earns",
            roles["friends"].stipend / max(1e-9, roles["lender"].earned),
            "",
            0.2,
            "at most",
        ),
        Verdict(
            "idle node with two friends: kWh per GAI, over a lender's",
            waiting / max(1e-9, working),
            "",
            2,
            "at least",
        ),
        Verdict(
            "self-dealing: what comes back of a GAI",
            out.came_back / max(1, out.self_dealt),
            "GAI",
            1 - year.rules.fee / 1000,
            "at most",
        ),
        Verdict("free riding: used, per GAI granted", greedy, "", 1, "at most"),
        Verdict(
            "split accounts: gained, per GAI granted to the others (bounded, not prevented)",
            more / max(1, bought),
            "",
            1,
            "at most",
        ),
    ]


def _kwh_per_gai(year: Year, role: Role) -> float:
    """Give the kWh that a GAI took: at work, and warm without work."""
    energy = income = 0.0
    for node in year.nodes:
        owner = year.members[node.owner]
        if owner.role != role:
            continue
        work = node.busy_slots * STEP_MINUTES / 60 / 4
        energy += work * LOADED * node.card.power + max(0.0, node.hours_on - work) * IDLE_WATTS
        income += (owner.earned + owner.stipend) / GAI
    return energy / 1000 / max(1e-9, income)


def _turns(report: EconomyReport) -> list[Verdict]:
    lender, guest = report.waits["lender"], report.waits["guest"]
    return [
        Verdict(
            "evenings: a lender's mean wait, over a guest's",
            lender.mean / guest.mean if guest.mean else 0.0,
            "",
            1,
            "at most",
        ),
        Verdict("evenings: a guest's p95", guest.p95, "min", 60, "at most"),
        Verdict("sessions that were given up or refused", report.gave_up, "", 0.2, "at most"),
    ]


# --- telling


def show(report: EconomyReport) -> None:
    """Print what was found."""
    rows = [
        (
            name,
            str(role.accounts),
            *(f"{each:.2f}" for each in (role.granted, role.earned, role.stipend, role.used)),
            f"{role.turned_away:.0%}",
        )
        for name, role in report.roles.items()
    ]
    columns = ("role", "accounts", "granted", "earned", "stipend", "used", "turned away")
    table("An account in the mean, GAI a month", columns, rows)
    waits = [
        (kind, str(each.sessions), *(f"{v:.1f}" for v in (each.mean, each.p95, each.longest)))
        for kind, each in report.waits.items()
    ]
    table("Evening sessions, minutes waited", ("who", "sessions", "mean", "p95", "longest"), waits)
    console.print(
        f"{report.members} accounts, {report.days} days: {report.served:,.0f} GAI served of "
        f"{report.capacity:,.0f} there were; Gini of use {report.gini_of_use:.2f}, of balances "
        f"{report.gini_of_balances:.2f}; took {report.seconds:.0f} s"
    )


def draw(report: EconomyReport, folder: Path) -> None:
    """Draw three pictures into a folder."""
    names = {"lenders": "lenders hold", "others": "others hold", "fee": "the network's fee"}
    curves = [
        Curve(said, [(each["day"] + 1, each[name]) for each in report.supply])
        for name, said in (("issued", "all there is"), *names.items(), ("served", "work served"))
    ]
    lines("GAI in the network", "day", "GAI", curves, folder / "economy-money.svg")
    waits = [(f"{kind}s", each.mean) for kind, each in report.waits.items()]
    bars("Mean wait in the evening", "minutes", waits, folder / "economy-waits.svg")
    roles = report.roles
    income = [
        ("lender", roles["lender"].earned),
        ("idle, two friends", roles["friends"].stipend),
        ("idle", roles["idle"].stipend),
        ("self-dealing", roles["self"].earned),
    ]
    bars("What a node brings in a month", "GAI", income, folder / "economy-income.svg")


def main(argv: list[str] | None = None) -> int:
    """Live a year, print tables and verdicts, write JSON; status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="bench.economy", description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="two months of 300 members")
    parser.add_argument("--seed", type=int, default=1, help="another chance")
    parser.add_argument("--plots", type=Path, help="draw into this folder; docs has seed 1")
    parser.add_argument("--json", type=Path, help="where to write (bench/results/…)")
    arguments = parser.parse_args(argv)
    plan = SHORT if arguments.short else Plan()
    report = measure(replace(plan, seed=arguments.seed))
    show(report)
    print_verdicts(report.verdicts)
    if arguments.plots:
        draw(report, arguments.plots)
    write_json("economy", report, arguments.json)
    return 0 if all(verdict.met for verdict in report.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
