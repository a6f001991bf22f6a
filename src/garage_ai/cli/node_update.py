"""`gai node update`: another version of the agent, and back."""

from typing import TYPE_CHECKING, Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.options import AsJson, NodeDir
from garage_ai.cli.update_words import say

if TYPE_CHECKING:
    from garage_ai.node.folder import NodeFolder
    from garage_ai.node.update.service import Standing, Step

Wanted = Annotated[str | None, typer.Option("--to", metavar="VERSION|FILE", help=say("option.to"))]
Releases = Annotated[
    str | None,
    typer.Option("--from", metavar="URL", envvar="GAI_RELEASES", help=say("option.from")),
]
Key = Annotated[
    str | None,
    typer.Option("--release-key", metavar="KEY", envvar="GAI_RELEASE_KEY", help=say("option.key")),
]


def update(
    *,
    check: Annotated[bool, typer.Option("--check", help=say("option.check"))] = False,
    wanted: Wanted = None,
    rollback: Annotated[bool, typer.Option("--rollback", help=say("option.rollback"))] = False,
    within: Annotated[
        float | None,
        typer.Option("--within", min=1, max=86_400, metavar="SECONDS", help=say("option.within")),
    ] = None,
    releases: Releases = None,
    key: Key = None,
    data_dir: NodeDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring a newer version of the agent, try it, and go back by itself if it does not serve."""
    from garage_ai.cli.node_run import folder_at, guarded, run_async
    from garage_ai.node.update.release import release_key
    from garage_ai.node.update.service import SECONDS, bring, look_up, standing
    from garage_ai.node.update.source import Source
    from garage_ai.node.update.versions import Versions

    folder = folder_at(data_dir)
    seconds = within or SECONDS
    if rollback:
        _roll_back(folder, seconds, as_json=as_json)
        return
    trusted = guarded(lambda: release_key(key))
    source = guarded(lambda: Source.of(wanted, releases))
    release = run_async(look_up(source, trusted))
    now = guarded(lambda: standing(Versions(folder.path)))
    if check:
        _show(now, release.version, release.date, as_json=as_json)
        return
    if wanted is None and release.number <= now.version:
        _told(now.version, str(now.version), say("newest", version=now.version), as_json=as_json)
        return

    def tell(step: "Step") -> None:
        output.remark(say(f"step.{step}", version=release.version), style=None)

    run_async(bring(folder, source, release, seconds, tell))
    _begin(folder, release.version, seconds, as_json=as_json)


def _roll_back(folder: "NodeFolder", seconds: float, *, as_json: bool) -> None:
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.update.service import go_back

    _begin(folder, guarded(lambda: go_back(folder)), seconds, as_json=as_json)


def _begin(folder: "NodeFolder", version: str, seconds: float, *, as_json: bool) -> None:
    """Let a running agent change over, and wait for the end of it. Raises: CliError."""
    from garage_ai.cli.node_run import guarded
    from garage_ai.node.update.service import restart, wait_for

    runs = restart(folder)
    if runs:
        output.remark(say("step.restart", version=version), style=None)
        guarded(lambda: wait_for(folder, version, seconds))
    words = say("serves" if runs else "at_next_start", version=version)
    _told(version, version if runs else None, words, as_json=as_json)


def _show(now: "Standing", latest: str, date: str, *, as_json: bool) -> None:
    failed = now.state.failed
    if as_json:
        output.write_json(
            {"version": str(now.version), "latest": latest, "date": date, "failed": failed}
        )
        return
    output.write(say("check", version=now.version, latest=latest, date=date))
    if failed is not None:
        reason = output.harmless(failed.reason)
        output.write(say("check.failed", version=failed.version, why=reason))


def _told(chosen: object, runs: str | None, words: str, *, as_json: bool) -> None:
    if as_json:
        output.write_json({"version": str(chosen), "runs": runs})
    else:
        output.write(words)


__all__ = ["update"]
