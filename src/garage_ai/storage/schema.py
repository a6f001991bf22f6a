"""The shape of the database: which it has, and how it gets the one this version needs."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from garage_ai.storage.errors import ForeignDatabase, SchemaTooNew

HEAD: Final = "0020"
"""The newest revision in `migrations/versions`; known without loading Alembic (0.3 s)."""

MIGRATIONS: Final = Path(__file__).with_name("migrations")


def is_current(connection: Connection) -> bool:
    """Tell whether nothing needs to be done."""
    return revision_of(connection) == HEAD


def revision_of(connection: Connection) -> str | None:
    """Give the revision of a database; None for one without tables of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).one_or_none()
    return None if row is None else str(row[0])


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations that are missing, forward only, in the caller's transaction.

    Raises: SchemaTooNew, ForeignDatabase.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = revision_of(connection)
    if revision is None:
        _refuse_foreign(connection)
    elif revision not in known:
        raise SchemaTooNew(
            f"the database is of revision {revision!r}, newer than {HEAD!r}, the last one this "
            "version knows: run the version that wrote it, or restore a backup made before it"
        )
    command.upgrade(config, to)


def _refuse_foreign(connection: Connection) -> None:
    strangers = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
    if strangers:
        raise ForeignDatabase(
            f"the database holds tables of another program ({', '.join(strangers[:5])}); "
            "give Garage AI one of its own"
        )
