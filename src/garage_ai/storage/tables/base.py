"""What all tables are made of: moments in UTC, numbered rows, one metadata.

A table's module imports these, and `tables/__init__.py` imports the module.
"""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, MetaData, String
from sqlalchemy.types import TypeDecorator


class Utc(TypeDecorator[datetime]):
    """Keep an aware moment in UTC; a naive one is refused, since nobody knows when it was."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Turn a moment into UTC on its way in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Give a moment back in UTC; SQLite keeps no zone, so it is put back here."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    # Named constraints, so that a later migration can change them on either database.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def member_column(*, index: bool = True) -> Column[str]:
    """Make the column of the member that a row belongs to."""
    return Column("member_id", String(64), ForeignKey("members.id"), nullable=False, index=index)


def seq_column() -> Column[int]:
    """Make the key of a table whose rows the database numbers in the order of their coming.

    SQLite numbers rows by itself only in a column of exactly the type INTEGER.
    """
    return Column(
        "seq",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=True,
    )


__all__ = ["Utc", "member_column", "metadata", "seq_column"]
