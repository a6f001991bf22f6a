"""Moments as they are typed."""

from datetime import datetime


def moment(text: str) -> datetime:
    """Read a day or a moment; one that names no zone is of this PC's own. Raises: ValueError."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.astimezone()


__all__ = ["moment"]
