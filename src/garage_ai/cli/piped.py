"""Text that comes on stdin."""

from collections.abc import Callable

from garage_ai.cli.errors import Failed
from garage_ai.cli.misuse_words import say


def read_piped(read: Callable[[], str]) -> str:
    """Read text from stdin with one of its methods. Raises: Failed for what is no UTF-8."""
    try:
        text = read()
        # Where no locale is set, Python keeps a byte that it cannot read, in a letter of its own.
        text.encode()
    except UnicodeError as error:
        raise Failed(say("not_utf8"), say("not_utf8.next")) from error
    return text


__all__ = ["read_piped"]
