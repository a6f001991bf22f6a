"""Wait for what is about to happen in another process: look again and again, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY = 0.02


class InVain(AssertionError):
    """What was waited for did not happen."""


def eventually(what: str, look: Callable[[], T], seconds: float = 30.0) -> T:
    """Look until there is something true to see, and give it. Raises: InVain after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise InVain(f"{what}: not within {seconds:g} s; seen last: {seen!r}")
        time.sleep(LOOK_EVERY)
    return seen
