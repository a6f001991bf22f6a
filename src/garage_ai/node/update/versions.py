"""The versions of the agent in a node's folder: where they are, which is chosen, who changes them.

versions/state.json   which one runs, and on what terms; see `plan`
versions/X.Y.Z/       an environment of its own; `.unfinished` in it while it is being made
versions/.lock        held by whoever changes versions, and by its installer, should it be killed
versions/.trial       held by whoever watches a new version on trial
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from garage_ai.node.errors import UpdateFailed
from garage_ai.node.update.plan import INSTALLED, State
from garage_ai.wire.secret_files import (
    SecretFileError,
    SecretMissing,
    make_private_folder,
    read_secret,
    replace_secret,
)

UNFINISHED: Final = ".unfinished"
_FOLDER: Final = "versions"
_STATE: Final = "state.json"

_PYTHON: Final = re.compile(r"python3\.\d+t?")
_states: Final = msgspec.json.Decoder(State)


class Versions:
    """The versions of one node's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute() / _FOLDER

    def load(self) -> State:
        """Read what is chosen; a file that cannot be read chooses nothing."""
        try:
            return _states.decode(read_secret(self.path / _STATE))
        except (SecretMissing, SecretFileError, msgspec.MsgspecError):
            return State()

    def save(self, state: State) -> None:
        """Keep what is chosen, at once and for good."""
        text = json.dumps(msgspec.to_builtins(state), indent=2)
        replace_secret(self.path / _STATE, text + "\n")

    def home(self, version: str) -> Path:
        """Give the folder of a version's environment."""
        return self.path / version

    def python(self, version: str, state: State) -> Path:
        """Give the Python that runs a version."""
        if version == INSTALLED:
            return Path(state.installed or sys.executable)
        return self.home(version) / "bin" / "python"

    def can_run(self, version: str) -> bool:
        """Tell whether an environment is whole, and made for the Python that is there now."""
        home = self.home(version)
        python = home / "bin" / "python"
        if not os.access(python, os.X_OK) or (home / UNFINISHED).exists():
            return False
        # An upgrade of the system may have put another Python where the link leads: that one looks
        # for its packages in a folder of its own.
        name = python.resolve().name
        packages = home / "lib" / name / "site-packages" / "garage_ai"
        return not _PYTHON.fullmatch(name) or packages.is_dir()

    def is_own(self, version: str, state: State) -> bool:
        """Tell whether this process runs in a version's environment."""
        return self.python(version, state).parent.parent == Path(sys.prefix)

    @property
    def runs_installed(self) -> bool:
        """Whether this process is none of these versions."""
        return not Path(sys.prefix).is_relative_to(self.path)

    def forget_others(self, *kept: str | None) -> None:
        """Remove the environments that nothing goes back to."""
        for home in self.path.iterdir():
            if home.is_dir() and home.name not in kept:
                shutil.rmtree(home, ignore_errors=True)

    def lock(self) -> contextlib.AbstractContextManager[int]:
        """Hold the versions for a change. Raises: UpdateFailed when another one does."""
        busy = UpdateFailed("Another `gai node update` is at work in this folder.")
        return self._hold(".lock", busy)

    def trying(self) -> contextlib.AbstractContextManager[int]:
        """Hold the trial. Raises: UpdateFailed when another process does."""
        busy = UpdateFailed("A new version is being tried in this folder just now.")
        return self._hold(".trial", busy)

    @contextlib.contextmanager
    def _hold(self, name: str, busy: UpdateFailed) -> Iterator[int]:
        make_private_folder(self.path)
        handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise busy from error
            yield handle
        finally:
            os.close(handle)


__all__ = ["UNFINISHED", "Versions"]
