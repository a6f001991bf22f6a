"""LiteLLM's own environment: made on first use from exact versions and hashes, then proved.

Nothing of ours is in it: LiteLLM wants other versions of what we use. As in start.sh, `uv` is used
where there is one, and whoever installs chooses the package index.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from garage_ai.integrations.litellm.errors import BadVersion, EnvironmentFailed, LockMissing

FLOOR: Final = (1, 83, 14)
"""The oldest version that is let run; CVE-2026-42208, an SQL injection before the login, ended with
1.83.7."""

KNOWN_BAD: Final[Mapping[str, str]] = {
    "1.82.7": "it was published by a thief of secrets (2026-03-24)",
    "1.82.8": "it was published by a thief of secrets (2026-03-24)",
}
"""Versions that must never run, each with its reason."""

INSTALL_SECONDS: Final = 1800.0
PROOF_SECONDS: Final = 60.0
LOCK: Final = "litellm.lock"

OnInstalled = Callable[[int, int], None]
"""Told how many of the packages are there."""

_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_UNWANTED: Final = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"})
_PROOF: Final = "import importlib.metadata as m; print(m.version('litellm'))"


def judge(version: str) -> None:
    """Refuse a version that must not run. Raises: BadVersion."""
    if version in KNOWN_BAD:
        raise BadVersion(f"LiteLLM {version} must not be used: {KNOWN_BAD[version]}")
    found = _VERSION.match(version)
    if found is None or tuple(map(int, found.groups())) < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise BadVersion(f"LiteLLM {version[:40]} must not be used: {floor} or newer is needed")


def find_lock() -> Path:
    """Find the list of LiteLLM's packages: in the wheel, or in a checkout. Raises: LockMissing."""
    here = Path(__file__)
    for path in (here.with_name(LOCK), here.parents[4] / "requirements" / LOCK):
        if path.is_file():
            return path
    raise LockMissing("this installation has no list of LiteLLM's packages")


class Environment:
    """The environment for one list of packages, in a folder beside those for others."""

    def __init__(self, folder: Path, lock: Path | None = None) -> None:
        """Name it; nothing is made yet. Raises: LockMissing, BadVersion."""
        self.lock = lock or find_lock()
        text = self.lock.read_text("utf-8")
        self.packages = dict(_PIN.findall(text))
        self.version = self.packages.get("litellm", "")
        judge(self.version)
        self._folder = folder
        said = text.encode() + sys.version.encode()
        self.home = folder / f"litellm-{hashlib.sha256(said).hexdigest()[:16]}"

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.home / "bin" / "python"

    @property
    def is_ready(self) -> bool:
        """Whether it was made to its end."""
        return (self.home / "ready").exists()

    def make(self, on_installed: OnInstalled) -> None:
        """Make it if it is not there, and remove others; blocks for minutes.

        Raises: EnvironmentFailed, BadVersion.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_ready:
                return
            shutil.rmtree(self.home, ignore_errors=True)
            for argv in self._commands():
                self._run(argv, on_installed)
            judge(self._installed())
            (self.home / "ready").touch()
            for other in self._folder.glob("litellm-*"):
                if other.is_dir() and other != self.home:
                    shutil.rmtree(other, ignore_errors=True)

    def _commands(self) -> Iterator[list[str]]:
        what = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(self.lock)]
        uv = shutil.which("uv")
        if uv is not None:
            base = str(Path(sys.executable).resolve())
            yield [uv, "venv", "--quiet", "--no-project", "--python", base, str(self.home)]
            # Compiled now: without it each start takes half a minute more.
            fill = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
            yield [*fill, "--python", str(self.python), *what]
        else:
            yield [sys.executable, "-m", "venv", str(self.home)]
            fill = [str(self.python), "-m", "pip", "install", "--quiet", "--no-input"]
            yield [*fill, "--progress-bar", "off", *what]

    def _run(self, argv: list[str], on_installed: OnInstalled) -> None:
        log = self._folder / "install.log"
        deadline = time.monotonic() + INSTALL_SECONDS
        try:
            with log.open("ab") as out:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment()
                )
            with _ended(process):
                while process.poll() is None:
                    if time.monotonic() > deadline:
                        raise EnvironmentFailed(f"no end after {INSTALL_SECONDS:.0f} s", _tail(log))
                    on_installed(self._count(), len(self.packages))
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.5)
        except OSError as error:
            raise EnvironmentFailed(f"{argv[0]}: {error.strerror}") from error
        if process.returncode:
            raise EnvironmentFailed(f"the installer ended with {process.returncode}", _tail(log))

    def _count(self) -> int:
        return sum(1 for _ in self.home.glob("lib/python3*/site-packages/*.dist-info/METADATA"))

    def _installed(self) -> str:
        """Ask the environment itself which version it has, without running any of it."""
        try:
            said = subprocess.run(
                [
                    self.python,
                    "-I",
                    "-S",
                    "-c",
                    f"import sys; sys.path.append({self._site!r}); {_PROOF}",
                ],
                capture_output=True,
                text=True,
                timeout=PROOF_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentFailed(f"{self.python} does not run: {error}") from error
        return said.stdout.strip()

    @property
    def _site(self) -> str:
        return str(next(iter(self.home.glob("lib/python3*/site-packages")), self.home))


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _tail(log: Path) -> tuple[str, ...]:
    return tuple(log.read_text("utf-8", "replace").strip().splitlines()[-8:])


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    # A constraint of the machine's own has no hash, and the lock needs none.
    return kept | {
        "PIP_USER": "0",
        "PIP_CONSTRAINT": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


__all__ = [
    "FLOOR",
    "KNOWN_BAD",
    "Environment",
    "OnInstalled",
    "find_lock",
    "judge",
]
