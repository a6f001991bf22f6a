"""Releases of this very code under other version numbers: real wheels, built and signed here.

Their locks are empty, so that nothing is fetched: what they depend on is found where the tests have
it, by a `.pth` file in the wheel.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import aiohttp

from garage_ai import __version__
from garage_ai.node.update.release import make_release, page_name, sign_release
from garage_ai.wire.nkey import KeyPair

ROOT = Path(__file__).parents[2]
LOCKS = ("engine", "lan", "litellm", "model", "node")
CARRIED = """
[tool.hatch.build.targets.wheel.extra-metadata]
"requirements" = "requirements"
"""
INCLUDED = "[tool.hatch.build.targets.wheel.force-include]\n"
Fault = Literal["", "import", "dies", "hangs"]
FAULTS: dict[Fault, tuple[str, str]] = {
    "import": ("src/garage_ai/node/serve.py", 'raise ImportError("no such thing")\n'),
    "dies": ("src/garage_ai/node/serve.py", "async def serve(*_):\n    raise SystemExit(9)\n"),
    "hangs": (
        "src/garage_ai/node/serve.py",
        "import asyncio\n\n\nasync def serve(*_):\n    await asyncio.sleep(3600)\n",
    ),
}


def build_wheel(version: str, folder: Path, fault: Fault = "") -> Path:
    """Build a wheel of this checkout that calls itself `version`, with a fault of its own."""
    tree = folder / f"tree-{version}"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    project = (ROOT / "pyproject.toml").read_text()
    old = f'version = "{__version__}"'
    assert project.count(old) == 1
    project = project.replace(old, f'version = "{version}"')
    if "extra-metadata" not in project:
        project += CARRIED
    assert project.count(INCLUDED) == 1
    project = project.replace(INCLUDED, f'{INCLUDED}"found.pth" = "found.pth"\n')
    (tree / "pyproject.toml").write_text(project)
    (tree / "found.pth").write_text(f"{Path(aiohttp.__file__).parents[1]}\n")
    (tree / "requirements").mkdir()
    for name in (*LOCKS, "up"):
        (tree / f"requirements/{name}.lock").write_text("# nothing\n")
    own = tree / "src/garage_ai/__init__.py"
    own.write_text(own.read_text().replace(f'"{__version__}"', f'"{version}"'))
    if fault:
        path, text = FAULTS[fault]
        with (tree / path).open("a") as file:
            file.write(f"\n\n{text}")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tree)
    return folder / f"garage_ai-{version}-py3-none-any.whl"


def release(wheel: Path, pair: KeyPair) -> Path:
    """Describe a wheel and sign that; give the page beside it."""
    made = make_release(wheel, python="3.11", date="2026-11-25")
    page = wheel.with_name(page_name(made.version))
    page.write_bytes(sign_release(made, pair))
    return page
