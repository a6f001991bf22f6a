"""What is made once and kept in the user's cache, above all environments of programs for tests.

Those want other versions than ours. Where packages lie is for pip's own settings to say
(PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL); the locks have their hashes.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

INSTALL_SECONDS = 600


def kept(name: str, said: bytes, make: Callable[[Path], None]) -> Path:
    """Give a folder that depends on `said` alone, made if it is not there.

    An older one of that name is removed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "garage-ai-tests")
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"{name}-{hashlib.sha256(said).hexdigest()[:16]}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            for older in cache.glob(f"{name}-*"):
                shutil.rmtree(older)
            make(home)
            (home / "ready").touch()
    return home


def install(env: Path, lock: Path) -> None:
    """Make an environment with what stands in a lock."""
    run([sys.executable, "-m", "venv", env], INSTALL_SECONDS)
    pip: list[str | Path] = [env / "bin" / "pip", "install", "--quiet", "--no-cache-dir"]
    pip += ["--no-compile", "--no-deps", "--require-hashes", "-r", lock]
    run(pip, INSTALL_SECONDS)


def run(argv: Sequence[str | Path], seconds: float) -> None:
    """Run a program to its end, which is to be a good one."""
    # A constraint of the machine's own has no hash, and the locks need none.
    quiet = os.environ | {"HF_HUB_OFFLINE": "1", "PIP_CONSTRAINT": os.devnull}
    done = subprocess.run(
        argv, env=quiet, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]}: {(done.stdout + done.stderr)[-3000:]}")


__all__ = ["install", "kept", "run"]
