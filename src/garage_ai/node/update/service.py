"""Bring a release into a node's folder and choose it, or choose the one before."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from garage_ai import __version__
from garage_ai.node.control import ask_agent, glance
from garage_ai.node.errors import NoAgent, NotNewer, TakenBack, UpdateFailed
from garage_ai.node.folder import NodeFolder
from garage_ai.node.update.install import install
from garage_ai.node.update.plan import INSTALLED, State, next_start, rolled_back, updated
from garage_ai.node.update.release import Release, check_wheel, open_release
from garage_ai.node.update.source import Source
from garage_ai.node.update.versions import Versions
from garage_ai.wire.versions import AgentVersion, agent_version

SECONDS: Final = 600.0
"""How long a new version may take to serve: a large model loads for minutes."""

DRAIN_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.3
_FETCHED: Final = ".fetched"

Step = Literal["fetch", "install", "chosen", "restart"]
Tell = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """What runs at the next start, what it could go back to, and what was taken back last."""

    version: AgentVersion
    state: State


def standing(versions: Versions) -> Standing:
    """See which version is chosen. Raises: UpdateFailed for an installed one without a number."""
    installed = agent_version(__version__)
    if installed is None:
        raise UpdateFailed(
            "This version calls itself {name}, which is no release.", name=__version__
        )
    here = installed if versions.runs_installed else None
    state = next_start(versions.load(), here, versions.can_run, time.time())
    return Standing(agent_version(state.current) or installed, state)


async def look_up(source: Source, key: str) -> Release:
    """Read what is released. Raises: BadRelease, ReleaseAway."""
    return open_release(await source.page(), key)


async def bring(
    folder: NodeFolder, source: Source, release: Release, seconds: float, tell: Tell
) -> None:
    """Install a release beside what runs, prove it and choose it.

    Whatever stops it before the choice leaves all as it was. Raises: UpdateFailed and its leaves.
    """
    versions = Versions(folder.path)
    with _disk(versions.path), versions.lock() as lock, versions.trying():
        now = standing(versions)
        if release.number <= now.version:
            raise NotNewer(
                "{new} is not newer than {old}, which runs here. "
                "To go back: gai node update --rollback",
                new=release.version,
                old=now.version,
            )
        fetched = versions.path / _FETCHED
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir(mode=0o700)
        try:
            tell("fetch")
            wheel = await source.wheel(release, fetched)
            locks = check_wheel(wheel, release)
            tell("install")
            install(versions, release, wheel, locks, lock)
        finally:
            shutil.rmtree(fetched, ignore_errors=True)
        installed = sys.executable if versions.runs_installed else now.state.installed
        chosen = updated(now.state, release.version, seconds=seconds, installed=installed)
        versions.save(chosen)
        versions.forget_others(chosen.current, chosen.before)
        tell("chosen")


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Say what the disk says; one that is full names no file. Raises: UpdateFailed."""
    try:
        yield
    except OSError as error:
        raise UpdateFailed(
            "{file} cannot be used: {error}",
            file=error.filename or folder,
            error=error.strerror or str(error),
        ) from error


def go_back(folder: NodeFolder) -> str:
    """Choose the version before, and name it. Raises: NotNewer, UpdateFailed."""
    versions = Versions(folder.path)
    with _disk(versions.path), versions.lock(), versions.trying():
        now = standing(versions)
        before = now.state.before
        if before is None or not (before == INSTALLED or versions.can_run(before)):
            raise NotNewer("There is nothing to go back to from {old}.", old=now.version)
        versions.save(rolled_back(now.state))
    return before or __version__


def restart(folder: NodeFolder) -> bool:
    """Let a running agent finish and start anew; False if none runs."""
    try:
        ask_agent(folder.run, "restart")
    except NoAgent:
        return False
    return True


def wait_for(folder: NodeFolder, version: str, seconds: float) -> None:
    """Wait until a version serves, or is taken back. Raises: TakenBack, UpdateFailed."""
    versions = Versions(folder.path)
    deadline = time.monotonic() + seconds + DRAIN_SECONDS
    while time.monotonic() < deadline:
        state = versions.load()
        failed = state.failed
        if failed is not None and failed.version == version:
            raise TakenBack(
                "{version} was taken back: {why}. The one before runs.",
                version=version,
                why=failed.reason,
            )
        if state.trial is None and glance(folder.run).agent == version:
            return
        time.sleep(_LOOK_SECONDS)
    raise UpdateFailed("{version} does not serve yet; see: gai node status", version=version)


__all__ = [
    "SECONDS",
    "Standing",
    "Step",
    "bring",
    "go_back",
    "look_up",
    "restart",
    "standing",
    "wait_for",
]
