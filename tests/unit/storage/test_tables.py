"""Moments are kept in UTC, and nothing is owned by nobody."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import sqlite

from garage_ai.storage import tables

STOCKHOLM = timezone(timedelta(hours=2))


def test_a_moment_goes_in_as_utc() -> None:
    """Another zone's noon is stored as the same moment in UTC."""
    noon = datetime(2026, 7, 1, 12, tzinfo=STOCKHOLM)
    kept = tables.Utc().process_bind_param(noon, sqlite.dialect())
    assert (kept, kept.tzinfo if kept else None) == (noon, UTC)


def test_a_naive_moment_is_refused() -> None:
    """Nobody knows when a moment without a zone was."""
    with pytest.raises(ValueError, match="time zone"):
        tables.Utc().process_bind_param(datetime(2026, 7, 1), sqlite.dialect())  # noqa: DTZ001


def test_a_moment_comes_out_as_utc() -> None:
    """With or without a zone from the driver, the reader gets UTC."""
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    for told in (noon, noon.replace(tzinfo=None), noon.astimezone(STOCKHOLM)):
        kept = tables.Utc().process_result_value(told, sqlite.dialect())
        assert (kept, kept.tzinfo if kept else None) == (noon, UTC)
    assert tables.Utc().process_result_value(None, sqlite.dialect()) is None


@pytest.mark.parametrize(
    "name", ["keys", "enrolment_tokens", "nodes", "external_models", "files", "batches"]
)
def test_everything_has_a_member(name: str) -> None:
    """Each key, token, node, model name, file and batch belongs to a member that exists."""
    column = tables.metadata.tables[name].c.member_id
    assert not column.nullable
    assert [key.target_fullname for key in column.foreign_keys] == ["members.id"]
