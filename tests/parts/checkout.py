"""A checkout on which start.sh and test.sh run for real, but install a small trial project."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
LOCKS = ["build", "dev", "engine", "model", "node", "up"]
PROJECT = """
[build-system]
requires = []
build-backend = "build_backend"
backend-path = ["."]

[project]
name = "garage-trial"
version = "1"
"""


class Tools:
    """A folder to put first on PATH: what a machine has, has not, or has in a broken way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def link(self, name: str, target: str | Path) -> None:
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).symlink_to(target)

    def script(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(0o755)


class Checkout:
    """The trial checkout at `root`; `uv` says whether the machine has one that works."""

    def __init__(self, root: Path, tools: Tools, *, uv: bool) -> None:
        self.root, self.tools = root, tools
        self.home = tools.folder.parent / "home"
        self.home.mkdir(exist_ok=True)
        self._lay_out()
        tools.link("python3", Path(sys.base_prefix, "bin", "python3"))
        if uv:
            tools.link("uv", Path(sys.executable).with_name("uv"))
        else:
            tools.script("uv", "exit 127")

    def _lay_out(self) -> None:
        self.root.mkdir(parents=True)
        for name in ("start.sh", "test.sh"):
            shutil.copy(ROOT / name, self.root)
        shutil.copy(Path(__file__).with_name("build_backend.py"), self.root)
        (self.root / "pyproject.toml").write_text(PROJECT)
        (self.root / "requirements").mkdir()
        for lock in LOCKS:
            (self.root / f"requirements/{lock}.lock").touch()

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def builds(self) -> int:
        """How many times the trial project was built here."""
        path = self.root / "builds"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def environment(self, **extra: str) -> dict[str, str]:
        path = f"{self.tools.folder}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": str(self.home), "LC_ALL": "C.UTF-8"} | extra

    def run(
        self,
        *arguments: str | Path,
        script: str | Path = "start.sh",
        shell: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout to its end."""
        return subprocess.run(
            [*shell, self.root / script, *arguments],
            env=env or self.environment(),
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def begin(self) -> subprocess.Popen[str]:
        """Start start.sh in a process group of its own."""
        return subprocess.Popen(
            [self.root / "start.sh"],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hold(self) -> None:
        """Make the next builds wait for `release`."""
        os.mkfifo(self.root / "hold")

    def wait_for_build(self, count: int = 1) -> None:
        """Return when that many builds have begun."""
        wait_until(lambda: self.builds >= count)

    def release(self) -> None:
        """Let the build that waits go on, and later ones pass."""
        with (self.root / "hold").open("w"):
            (self.root / "hold").unlink()

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill start.sh and all it started, as a power cut would."""
        # Again and again: one that is looked for may have started another meanwhile.
        while living := [each for each in psutil.process_iter() if self._began(each)]:
            for each in living:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        process.communicate(timeout=60)

    def _began(self, process: psutil.Process) -> bool:
        """Tell a living process of this checkout by its home, which others have not."""
        try:
            return process.environ().get("HOME") == str(self.home)
        except psutil.Error:
            return False


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def said(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Read what the trial `gai` printed; stdout holds that and nothing else."""
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer
