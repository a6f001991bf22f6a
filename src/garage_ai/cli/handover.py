"""Before any command of `gai node`: is another version of the agent chosen in the node's folder?

The installed `gai` is what the owner, start.sh and the systemd unit call, whatever version serves.
`gai node update` itself is never handed over, so that a version that starts badly can be left.
"""

import contextlib
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from garage_ai import __version__
from garage_ai.cli.target import folder_named
from garage_ai.data_folder import default_data_dir

if TYPE_CHECKING:
    from garage_ai.node.update.plan import State
    from garage_ai.node.update.versions import Versions

_SERVING = ("run", "join")
_HELP = frozenset({"-h", "--help"})
_NEVER = _HELP | {"update"}
_BEFORE = "--debug"
_OPTION = "--data-dir"


def hand_over(words: list[str]) -> None:
    """Become the version that is chosen; return where that is this one."""
    command = list(itertools.dropwhile(_BEFORE.__eq__, words))
    if command[:1] != ["node"] or not command[1:] or command[1] in _NEVER:
        return
    folder = _folder(words)
    if not _is_ours(folder / "versions"):
        return
    from garage_ai.node.update.versions import Versions

    versions = Versions(folder)
    if command[1] in _SERVING and _HELP.isdisjoint(command):
        _serve(versions, words)
    elif versions.load().trial is None:
        _become_chosen(versions, _decided(versions), words)


def become(python: Path, words: list[str]) -> NoReturn:
    """Go on as `gai` in another environment, in this very process. Raises: OSError."""
    for stream in (sys.stdout, sys.stderr):
        # What a full disk did not take, it does not take now either.
        with contextlib.suppress(OSError):
            stream.flush()
    os.execv(python, [str(python), "-P", "-m", "garage_ai.cli", *words])  # noqa: S606


def _is_ours(versions: Path) -> bool:
    """Tell whether this user made the versions: an administrator who looks at another's node does
    not run that other's programs."""
    try:
        return versions.is_dir() and versions.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _serve(versions: "Versions", words: list[str]) -> None:
    from garage_ai.cli.node_trial import Trial
    from garage_ai.node.errors import NodeError
    from garage_ai.node.folder import NodeFolder

    trial = None
    try:
        with versions.trying():
            state = _decided(versions)
            if state != versions.load():
                # What a full disk does not keep, the next start decides again, and the same.
                with contextlib.suppress(OSError):
                    versions.save(state)
            if state.trial is not None and not versions.is_own(state.current, state):
                if NodeFolder(versions.path.parent).held:
                    # A second agent ends whatever its version is: that is no verdict on this one.
                    return
                trial = Trial(versions, state, words)
                state = trial.judge()
    except NodeError:
        # Under way just now: this is the version on trial, or a second start beside it.
        return
    if trial is not None and trial.goes_on:
        sys.exit(trial.wait())
    _become_chosen(versions, state, words)


def _decided(versions: "Versions") -> "State":
    import time

    from garage_ai.node.update.plan import next_start
    from garage_ai.wire.versions import agent_version

    installed = agent_version(__version__) if versions.runs_installed else None
    return next_start(versions.load(), installed, versions.can_run, time.time())


def _become_chosen(versions: "Versions", state: "State", words: list[str]) -> None:
    from garage_ai.node.update.plan import INSTALLED

    if versions.is_own(state.current, state):
        return
    if state.current == INSTALLED and versions.runs_installed:
        return
    become(versions.python(state.current, state), words)


def _folder(words: list[str]) -> Path:
    """Find the node's folder as the command will, from its words."""
    said = os.environ.get("GAI_DATA_DIR", "")
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == _OPTION:
            said = following
        elif word.startswith(f"{_OPTION}="):
            said = word.partition("=")[2]
    return (folder_named(said) if said else default_data_dir()).absolute()


__all__ = ["become", "hand_over"]
