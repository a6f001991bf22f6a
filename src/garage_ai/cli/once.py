"""What is done once however often it is asked: by a key, which is told where no answer came."""

import contextlib
import secrets
from collections.abc import Iterator

from garage_ai.cli import output
from garage_ai.cli.errors import Unavailable, Unreachable
from garage_ai.cli.exchange_words import say


@contextlib.contextmanager
def once(key: str | None) -> Iterator[str]:
    """Give the key to ask with, a new one if none is given.

    A gateway that did it may be gone before it says so; under another key it would do it again.
    """
    name = key or secrets.token_hex(12)
    try:
        yield name
    except (KeyboardInterrupt, Unreachable, Unavailable) as error:
        if isinstance(error, KeyboardInterrupt):
            output.remark()  # the terminal has just written ^C
        output.remark(say("once", key=name), style=None)
        raise


__all__ = ["once"]
