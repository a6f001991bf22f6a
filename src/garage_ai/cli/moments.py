"""Moments as they are typed."""

from datetime import datetime

import typer

from garage_ai.cli.misuse_words import say


def moment(text: str) -> datetime:
    """Read a day or a moment; one that names no zone is of this PC's own. Raises: BadParameter."""
    try:
        read = datetime.fromisoformat(text)
        return read if read.tzinfo else read.astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(say("moment", value=repr(text))) from error


__all__ = ["moment"]
