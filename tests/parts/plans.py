"""How SQLite would find what is asked of it: a page must not cost as much as the whole table."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import event

from garage_ai.storage import Storage


@contextmanager
def plans_of(storage: Storage, file: Path) -> Iterator[list[str]]:
    """Note the plan of each statement that is read with in the block, step by step."""
    steps: list[str] = []
    engine = storage._reader.sync_engine

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        if not statement.startswith("SELECT"):
            return
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type] # as the driver has them
            steps.extend(str(row[3]) for row in found)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield steps
    finally:
        event.remove(engine, "before_cursor_execute", note)
