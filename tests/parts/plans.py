"""How a database would find what is asked of it: a page must not cost as much as a whole table."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event
from tests.parts.postgresql import in_a_loop_of_its_own

from garage_ai.storage import Storage


@contextmanager
def statements_of(storage: Storage) -> Iterator[list[str]]:
    """Note each statement of the block, of those who read and those who write."""
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    engines = (storage._reader.sync_engine, storage._writer.sync_engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


@contextmanager
def plans_of(storage: Storage, database: Path | str) -> Iterator[list[str]]:
    """Note the plan of each statement that is read with in the block, step by step.

    `database` is SQLite's file or PostgreSQL's URL.
    """
    steps: list[str] = []
    engine = storage._reader.sync_engine

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if not statement.startswith("SELECT"):
            return
        if isinstance(database, Path):
            steps.extend(_in_a_file(database, statement, parameters))
        else:
            in_a_loop_of_its_own(_at_a_server(database, statement, parameters, steps))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield steps
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _in_a_file(file: Path, statement: str, parameters: Sequence[Any]) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [str(row[3]) for row in found]


async def _at_a_server(
    url: str, statement: str, parameters: Sequence[Any], steps: list[str]
) -> None:
    connection = await asyncpg.connect(url)
    try:
        for row in await connection.fetch(f"EXPLAIN (COSTS OFF) {statement}", *parameters):
            steps.append(str(row[0]).strip())
    finally:
        await connection.close()
