"""A disk that has much else to do."""

import os
import threading
from typing import Final

import pytest

_PATIENCE: Final = 10.0


class SlowDisk:
    """Have whatever is written wait for the disk, until the test says that it is `done`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Event()
        self.done = threading.Event()
        self.held_all_up = False
        """Whether nobody came to say so for a long time: the test stood still as well."""
        monkeypatch.setattr(os, "fsync", self._wait)

    def _wait(self, _: int) -> None:
        self.asked.set()
        self.held_all_up = not self.done.wait(_PATIENCE) or self.held_all_up


__all__ = ["SlowDisk"]
