"""A real vLLM on the CPU with a real small model: made once, kept in the user's cache.

It takes a minute or two to make, and 2.5 GB. Where the CPU build of PyTorch lies is for pip's own
settings to say (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL); the lock has its hash.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.parts.tree import ROOT

from garage_ai.catalog import DEFAULT_MODEL, Catalog, InPackage

LOCK = ROOT / "requirements/vllm.lock"
CONVERT = Path(__file__).with_name("convert_gguf.py")
INSTALL_SECONDS = 600
CONVERT_SECONDS = 300
NAME = "smollm2-135m-bf16"


@dataclass(frozen=True)
class RealVllm:
    """The Python of vLLM's environment, and a folder with a model."""

    python: Path
    model: Path


def real_vllm() -> RealVllm:
    """Give it, made if it is not there; an older one is removed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "garage-ai-tests")
    cache.mkdir(parents=True, exist_ok=True)
    said = LOCK.read_bytes() + CONVERT.read_bytes() + sys.version.encode()
    home = cache / f"vllm-{hashlib.sha256(said).hexdigest()[:16]}"
    found = RealVllm(home / "env" / "bin" / "python", home / NAME)
    with (cache / "vllm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            for older in cache.glob("vllm-*"):
                shutil.rmtree(older)
            _install(home / "env")
            _run([found.python, CONVERT, _gguf(), found.model], CONVERT_SECONDS)
            (home / "ready").touch()
    return found


def _install(env: Path) -> None:
    _run([sys.executable, "-m", "venv", env], 60)
    pip: list[str | Path] = [env / "bin" / "pip", "install", "--quiet", "--no-cache-dir"]
    pip += ["--no-compile", "--no-deps", "--require-hashes", "-r", LOCK]
    _run(pip, INSTALL_SECONDS)


def _run(argv: list[str | Path], seconds: float) -> None:
    # A constraint of the machine's own has no hash, and the lock needs none.
    quiet = os.environ | {"HF_HUB_OFFLINE": "1", "PIP_CONSTRAINT": os.devnull}
    done = subprocess.run(
        argv, env=quiet, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]}: {(done.stdout + done.stderr)[-3000:]}")


def _gguf() -> Path:
    manifest = Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    (source,) = manifest.sources
    assert isinstance(source, InPackage)
    found = source.locate(manifest.weights.path)
    assert found is not None
    return found


__all__ = ["NAME", "RealVllm", "real_vllm"]
