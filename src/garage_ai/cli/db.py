"""`gai db`: the database of a gateway, and a network's backup."""

from pathlib import Path
from typing import Annotated

import typer

from garage_ai.cli import output
from garage_ai.cli.db_words import say
from garage_ai.cli.errors import Failed
from garage_ai.cli.options import AsJson, DataDir

app = typer.Typer(help=say("help"), no_args_is_help=True)

Target = Annotated[
    Path | None, typer.Argument(metavar="FILE", help=say("argument.target"), show_default=False)
]
WithFiles = Annotated[bool, typer.Option("--files", help=say("option.files"))]
Source = Annotated[Path, typer.Argument(metavar="FILE", help=say("argument.source"))]


@app.command(help=say("help.upgrade"))
def upgrade(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the database to this version's tables."""
    from garage_ai.cli.db_run import home_of, run
    from garage_ai.storage.upkeep import upgrade_database

    done = run(upgrade_database(home_of(data_dir).database_url))
    if as_json:
        output.write_json({"before": done.before, "after": done.after})
        return
    came = "made" if done.before is None else "current" if done.is_idle else "upgraded"
    output.write(say(came, before=done.before, after=done.after))


@app.command(help=say("help.check"))
def check(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Read all of the database and check its log; exit code 1 if anything is wrong."""
    from garage_ai.cli.db_run import home_of, run
    from garage_ai.local.soundness import examine_network

    found = run(examine_network(home_of(data_dir)))
    if as_json:
        output.write_json(
            {
                "revision": found.revision,
                "newest": found.newest,
                "rows": found.rows,
                "problems": found.problems,
            }
        )
    if found.problems:
        told = say("unsound", count=len(found.problems))
        raise Failed(told, say("unsound.next"), found.problems)
    if not as_json:
        rows, tables = sum(found.rows.values()), len(found.rows)
        output.write(say("sound", revision=found.revision, rows=rows, tables=tables))


@app.command(help=say("help.backup"))
def backup(
    target: Target = None,
    *,
    files: WithFiles = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the database and the network's keys into one file, and files of batches if asked."""
    from garage_ai.cli.db_run import home_of, new_name, run
    from garage_ai.local.archive import FILES
    from garage_ai.local.backup import back_up

    file = (target or new_name()).absolute()
    made = run(back_up(home_of(data_dir), file, with_files=files))
    if as_json:
        output.write_json({"file": str(file), "manifest": made})
        return
    of_batches = sum(each.name.startswith(f"{FILES}/") for each in made.members)
    keys = len(made.members) - 1 - of_batches
    output.write(say("backed_up", file=file, revision=made.revision, keys=keys))
    if files:
        output.write(say("backed_up.files", count=of_batches))


@app.command(help=say("help.restore"))
def restore(source: Source, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Put a backup where nothing is."""
    from garage_ai.cli.db_run import home_of, run
    from garage_ai.local import backup as backups

    home = home_of(data_dir)
    made = run(backups.restore(source, home))
    if as_json:
        output.write_json({"folder": str(home.data), "manifest": made})
        return
    made_at = f"{made.made_at:%Y-%m-%d %H:%M} UTC"
    output.write(say("restored", made_at=made_at, folder=home.data))


__all__ = ["app"]
