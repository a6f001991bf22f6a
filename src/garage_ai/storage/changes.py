"""Changes whose number of rows is known before: what `Storage.write_exactly` makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Update


@dataclass(frozen=True, slots=True)
class Change:
    """Statements, each with the values for each time it is run, that together write `rows`."""

    rows: int
    runs: tuple[tuple[str, Sequence[Sequence[object]]], ...]


@dataclass(frozen=True, slots=True)
class RowChange:
    """A statement for one row; it takes a row's values in the order of `places`."""

    sql: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, statement: Update, names: Sequence[str], dialect: Dialect) -> Self:
        """Compile an update whose values come in the order of `names`."""
        compiled = statement.compile(dialect=dialect)
        return cls(str(compiled), tuple(map(names.index, compiled.positiontup or ())))

    def change(self, rows: Sequence[Sequence[object]]) -> Change:
        """Bind rows."""
        bound = [[row[place] for place in self.places] for row in rows]
        return Change(len(rows), ((self.sql, bound),))


@dataclass(frozen=True, slots=True)
class RowLock:
    """A statement that locks the rows of some keys in order; None where nobody else writes."""

    sql: str | None

    def change(self, keys: Sequence[str]) -> Change:
        """Bind keys; each must be there."""
        return Change(0, ()) if self.sql is None else Change(len(keys), ((self.sql, ((keys,),)),))


__all__ = ["Change", "RowChange", "RowLock"]
