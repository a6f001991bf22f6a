"""`gai node doctor`: what this PC can do, and what keeps it from more."""

import os

import msgspec
import typer

from garage_ai.cli import output
from garage_ai.cli.node_findings import show_findings
from garage_ai.cli.node_mending import offer
from garage_ai.cli.node_run import guarded, run_async
from garage_ai.cli.node_words import say
from garage_ai.cli.preflight_words import sentence
from garage_ai.node.folder import NodeFolder
from garage_ai.node.group.folder import group_of
from garage_ai.node.group.setup import SetUp, set_up_tunnel
from garage_ai.node.hardware.models import Pc
from garage_ai.node.preflight.mend import mend
from garage_ai.node.preflight.models import EngineKind, Report, State
from garage_ai.node.preflight.service import inspect_all


class Shown(msgspec.Struct, frozen=True):
    """A finding for programs: the case is stable, the sentences are for people."""

    check: str
    state: State
    case: str
    sentence: str
    fix: str
    values: dict[str, str]


class ReportShown(msgspec.Struct, frozen=True):
    """What `gai node doctor --json` prints."""

    ok: bool
    engine: EngineKind
    fixed: tuple[str, ...]
    pc: Pc
    findings: tuple[Shown, ...]
    tunnel: str | None = None
    tunnel_unit: str | None = None


def doctor(folder: NodeFolder, engine: EngineKind | None, *, fix: bool, as_json: bool) -> None:
    """Look at this PC and show the checklist. Raises: typer.Exit with 1 when something fails."""
    fixed = tuple(str(path) for path in mend(folder)) if fix else ()
    tunnel = _tunnel(folder) if fix else None
    report = run_async(inspect_all(folder, engine))
    if as_json:
        output.write_json(_for_programs(report, fixed, tunnel))
    else:
        for path in fixed:
            output.write(say("doctor.fixed", path=path))
        if tunnel is not None:
            output.write(say("doctor.tunnel", name=tunnel.interface))
            unit = tunnel.unit
            output.write(say("doctor.tunnel_unit" if unit else "doctor.tunnel_passing", unit=unit))
        show_findings(report.findings)
        if fix and offer(report.findings):
            output.write(say("doctor.again"))
            report = run_async(inspect_all(folder, engine))
            show_findings(report.findings)
        failed = len(report.failed)
        output.write(
            say("doctor.failed" if failed else "doctor.ok", engine=report.engine, n=failed)
        )
    if report.failed:
        raise typer.Exit(1)


def _tunnel(folder: NodeFolder) -> SetUp | None:
    """Make the network of the node's group, as root. Raises: CliError."""
    if os.geteuid() != 0 or guarded(lambda: group_of(folder)) is None:
        return None
    return guarded(lambda: set_up_tunnel(folder))


def _for_programs(report: Report, fixed: tuple[str, ...], tunnel: SetUp | None) -> ReportShown:
    shown = []
    for each in report.findings:
        text, remedy = sentence(each)
        shown.append(Shown(each.check, each.state, each.case, text, remedy, each.values))
    return ReportShown(
        not report.failed,
        report.engine,
        fixed,
        report.pc,
        tuple(shown),
        tunnel.interface if tunnel else None,
        str(tunnel.unit) if tunnel and tunnel.unit else None,
    )


__all__ = ["ReportShown", "doctor"]
