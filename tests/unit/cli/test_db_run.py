"""What `gai db` says of a disk that is full."""

import errno
import os

import pytest

from garage_ai.cli.db_run import in_words
from garage_ai.storage import DatabaseUnreachable, DiskFull

NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [NO_ROOM, DiskFull("database or disk is full")])
def test_a_full_disk_is_told_with_what_helps(error: OSError | DiskFull) -> None:
    """A write that fails has no file's name, and no setting is to blame."""
    told = in_words(error)
    assert "None" not in told.message
    assert "Make room" in told.advice


def test_other_errors_name_the_file_or_the_settings() -> None:
    """As before."""
    assert (
        "/etc/x" in in_words(PermissionError(errno.EACCES, "Permission denied", "/etc/x")).message
    )
    assert "GAI_DATABASE_URL" in in_words(DatabaseUnreachable("gone")).advice
